internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A running `edged` as it is deployed: as root the guardian keeps its rights and the proxy is
/// `nobody`. A TLS listener `https` and a plain one `http` on 127.0.0.1, certificates, an admin
/// socket and an admin port come with it; sites, upstreams and the rest are the test's.
final class Edged {
    static let user = "nobody"
    static let group = "nogroup"

    let directory: TemporaryDirectory
    let mint: CertificateMint
    let https: SocketAddress
    let http: SocketAddress
    let admin: SocketAddress
    let options: Options
    // Set by the last step of init; nothing reads it before.
    private(set) var process: RunningProcess!
    /// What was in the folder of certificates at the start, by name.
    private(set) var certificates: [String: MintedCertificate] = [:]

    struct Options {
        var workers = 2
        /// Certificate files and the names in them; `VIEW/name` is in a view's folder.
        var certificates = ["app": ["app.test"]]
        /// Further files beside the configuration, with their text.
        var files: [String: String] = [:]
        /// `certificates.default`.
        var fallback: String? = "app.test"
        /// Further keys of `admin:`, with a comma in front.
        var admin = ""
        /// Further keys of `certificates:`.
        var certificateKeys: [String] = []
        /// Further lines under `listeners:`.
        var listeners: [String] = []
        /// Another program than the one that this package builds.
        var program: String?
        /// What is to stay for as long as it runs.
        var keeps: [AnyObject] = []
        /// What runs it, before the program and its arguments.
        var wrapper: [String] = []
        var process = ProcessOptions()
        /// False: the configuration names no user to change to.
        var changesUser = geteuid() == 0
        /// False: `start` returns at once, for what does not come up.
        var waitsForServing = true
    }

    /// - Parameter body: the configuration from `sites:` on, at the first column.
    init(_ body: String, _ options: Options = .init(), mint: CertificateMint? = nil) throws {
        self.options = options
        directory = try TemporaryDirectory("edged", othersMayEnter: true)
        self.mint = try mint ?? CertificateMint()
        https = .loopback(try freePort())
        http = .loopback(try freePort())
        admin = .loopback(try freePort())
        try hand(over: directory.makeDirectory("certs", mode: 0o750))
        // An ordinary user makes the admin socket itself.
        if let user = options.process.user { try give(directory.path, to: user) }
        for folder in Set(options.certificates.keys.compactMap(Self.folder)) {
            try hand(over: directory.makeDirectory("certs/" + folder, mode: 0o750))
        }
        for (name, hosts) in options.certificates {
            let leaf = try self.mint.leaf(names: hosts)
            certificates[name] = leaf
            try writeCertificate(name, leaf)
        }
        try directory.write("root.pem", self.mint.rootPEM)
        for (name, text) in options.files { try directory.write(name, text) }
        try configure(body)
        try start()
    }

    deinit { stop() }

    private func start() throws {
        let program = try options.program ?? Self.program("edged")
        let line = options.wrapper + [program, "-c", configPath]
        let process = try RunningProcess(line[0], Array(line.dropFirst()), options.process)
        self.process = process
        LogBook.shared.add(self) {
            let lines = process.standardError.split(separator: "\n").suffix(60)
            return "edged (pid \(process.pid)):\n" + lines.joined(separator: "\n")
        }
        guard options.waitsForServing else { return }
        try process.waitForLine(containing: "serving, proxy")
    }

    /// Begins it again where it was, as after a power failure.
    func restart() throws {
        stop()
        try start()
    }

    /// Ends it at once. Harmless when called again.
    func stop() {
        defer { LogBook.shared.close(self) }
        guard let process else { return }
        // INT, so that the proxy goes too: it is not in the guardian's process group.
        process.signal(SIGINT)
        _ = process.waitForExit(within: .seconds(3))
        process.stop()
    }

    // MARK: - Files

    var configPath: String { directory.file("edged.yaml") }

    /// Writes the configuration; `reload` makes it count.
    func configure(_ body: String) throws {
        try directory.write("edged.yaml", prelude + body + "\n")
    }

    /// What stands before the test's part.
    var prelude: String {
        var lines = ["version: 1", "workers: \(options.workers)"]
        if options.changesUser { lines.append("user: \(Self.user)") }
        lines += [
            "listeners:",
            "  - { name: https, address: 127.0.0.1, port: \(https.port), protocol: tls }",
            "  - { name: http, address: 127.0.0.1, port: \(http.port), protocol: http }",
        ]
        lines += options.listeners.map { "  - " + $0 }
        let fallback = options.fallback.map { ", default: \($0)" } ?? ""
        let keys = options.certificateKeys.map { ", " + $0 }.joined()
        lines.append("certificates: { directory: certs\(fallback)\(keys) }")
        lines.append(
            "admin: { socket: admin.sock, http: \"127.0.0.1:\(admin.port)\"\(options.admin) }")
        return lines.joined(separator: "\n") + "\n"
    }

    func writeCertificate(_ name: String, _ certificate: MintedCertificate) throws {
        let path = try certificate.writeBundle(name, in: directory.file("certs"), mode: 0o640)
        try hand(over: path)
    }

    /// `lan` of `lan/app`.
    private static func folder(_ name: String) -> String? {
        name.firstIndex(of: "/").map { String(name[..<$0]) }
    }

    /// To the group that the proxy runs as, and to nobody else.
    func hand(over path: String) throws {
        guard geteuid() == 0, let group = getgrnam(Self.group) else { return }
        guard chown(path, 0, group.pointee.gr_gid) == 0 else {
            throw KitError.system("chown \(path)")
        }
    }

    private func give(_ path: String, to user: String) throws {
        guard let entry = getpwnam(user), chown(path, entry.pointee.pw_uid, 0) == 0 else {
            throw KitError.system("chown \(path)")
        }
    }

    // MARK: - Operating

    struct CommandResult {
        let code: Int32
        let output: String
        let errors: String
    }

    /// Runs edgectl against this daemon.
    func edgectl(_ words: String...) throws -> CommandResult {
        let arguments = ["--socket", directory.file("admin.sock")] + words
        let (exit, output, errors) = try RunningProcess.run(
            Self.program("edgectl"), arguments, within: .seconds(20))
        guard case .code(let code) = exit else { throw KitError("edgectl ended by \(exit)") }
        return CommandResult(code: code, output: output, errors: errors)
    }

    /// New configuration, in use when this returns.
    func reload(_ body: String? = nil) throws {
        if let body { try configure(body) }
        let result = try edgectl("reload")
        guard result.code == 0 else { throw KitError("reload: \(result.errors)") }
    }

    /// The current proxy, by the log's last word about it.
    func proxyPID() throws -> Int32 {
        let lines = log.split(separator: "\n").filter { $0.contains("serving, proxy ") }
        guard let word = lines.last?.split(separator: " ").last, let pid = Int32(word) else {
            throw KitError("no proxy serves")
        }
        return pid
    }

    /// Waits for another proxy than `old` to serve.
    func waitForProxy(otherThan old: Int32, within span: Duration = patience) throws -> Int32 {
        var found: Int32?
        _ = eventually(within: span) {
            found = try? proxyPID()
            return found != nil && found != old
        }
        guard let found, found != old else { throw KitError("no new proxy within \(span)") }
        return found
    }

    var log: String { process.standardError }

    /// Sum of a metric's samples whose labels contain `label`.
    func metric(_ name: String, _ label: String = "") throws -> Int {
        let text = try get(admin, "/metrics").text
        var sum: Int?
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let head = line.prefix { $0 != "{" && $0 != " " }
            guard head == name, label.isEmpty || line.contains("\"\(label)\""),
                let value = line.split(separator: " ").last.flatMap({ Int($0) })
            else { continue }
            sum = (sum ?? 0) + value
        }
        guard let sum else { throw KitError("no metric \(name) \(label)") }
        return sum
    }

    /// How often requests or connections have failed for this reason.
    func failures(_ reason: String) throws -> Int {
        try metric("edged_failures_total", reason)
    }

    func get(_ address: SocketAddress, _ target: String) throws -> HTTPMessage {
        let client = try RawClient(address)
        defer { client.close() }
        return try client.get(target, host: "127.0.0.1")
    }

    // MARK: - Clients

    /// A connection in the clear.
    func connect() throws -> RawClient { try RawClient(http) }

    /// A TLS connection that verifies the certificate.
    func connectTLS(
        _ name: String? = "app.test", versions: ClosedRange<TLSVersion> = .v12 ... .v13
    ) throws -> RawClient {
        try RawClient(
            https,
            tls: ClientTLS(
                serverName: name, trusting: mint.rootPEM, alpn: ["http/1.1"], versions: versions))
    }

    /// One request on a plain connection of its own.
    func get(
        _ target: String = "/", host: String = "app.test", method: String = "GET",
        extra: [String] = [], body: String = ""
    ) throws -> HTTPMessage {
        let client = try connect()
        defer { client.close() }
        return try client.get(target, host: host, method: method, extra: extra, body: body)
    }

    /// curl with this daemon's addresses for every host name: `https://any.name/` and `http://`.
    func curl(_ words: String...) throws -> CommandResult {
        let arguments =
            [
                "-sS", "--max-time", "15", "--cacert", directory.file("root.pem"),
                "--connect-to", "::127.0.0.1:\(https.port)",
            ] + words
        let (exit, output, errors) = try RunningProcess.run("curl", arguments)
        guard case .code(let code) = exit else { throw KitError("curl ended by \(exit)") }
        return CommandResult(code: code, output: output, errors: errors)
    }

    /// A program that this package builds, beside the test bundle, or in the folder that
    /// EDGED_PROGRAMS names: those of another build, such as a release.
    static func program(_ name: String) throws -> String {
        if let folder = ProcessInfo.processInfo.environment["EDGED_PROGRAMS"] {
            return folder + "/" + name
        }
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(
            decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) },
            as: UTF8.self)
        let candidates = [CommandLine.arguments[0], own].map {
            ($0 as NSString).deletingLastPathComponent + "/" + name
        }
        for path in candidates where access(path, X_OK) == 0 { return path }
        throw KitError("\(name) is not built: looked for \(candidates.joined(separator: ", "))")
    }
}

/// The usual configuration: `app.test`, served by `servers` (entries as in the file). Without
/// health checks unless `settings` has them: tests count connections.
///
/// - Parameters:
///   - settings: more keys of the upstream, such as `tls: {}`.
///   - more: further top-level lines.
func oneSite(_ servers: String..., settings: String = "", more: String = "") -> String {
    let checks = settings.contains("health:") ? "" : ", health: off"
    let rest = checks + (settings.isEmpty ? "" : ", " + settings)
    return """
        sites:
          - { hosts: app.test, upstream: app }
        upstreams:
          app: { servers: [\(servers.joined(separator: ", "))]\(rest) }
        \(more)
        """
}
