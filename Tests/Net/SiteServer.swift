internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A real nginx on a host of its own, whose behaviour can be changed from one request to the next:
/// it looks for files, so nothing is reloaded and no connection is closed by a change.
package final class SiteServer: @unchecked Sendable {
    // Sendable: `process`, `currentAddress` and `listeners` are guarded by `lock`; the rest is
    // constant.
    package let name: String
    package let host: VirtualHost
    package let link: VirtualLink
    package let port: UInt16
    /// What its answers contain.
    package let body: String
    private let directory: TemporaryDirectory
    private let configuration: String
    private let lock = NSLock()
    private var process: RunningProcess?
    private var currentAddress: String
    private var silentListener: Int32 = -1

    /// How requests and health checks are answered.
    package enum Mode: CaseIterable, Sendable {
        case normal
        /// Everything is answered with 500, health checks too.
        case failing
        /// Requests are answered with 500, health checks are not: only traffic can tell.
        case failingRequests
        /// Requests are never answered, health checks are.
        case hanging
        /// Another one has the traffic: 503.
        case standby
        /// The same, told by a redirect.
        case redirecting

        var flag: String { "\(self)" }
    }

    /// - Parameters:
    ///   - address: without prefix length; the network is a /24.
    ///   - tls: given, it speaks TLS with this certificate.
    ///   - otherPort: the same there.
    ///   - healthPaths: answered with `ok` as long as the server is healthy.
    init(
        _ name: String, host: VirtualHost, link: VirtualLink, address: String, port: UInt16,
        otherPort: UInt16? = nil, tls: MintedCertificate?, body: String, healthPaths: [String]
    ) throws {
        self.name = name
        self.host = host
        self.link = link
        self.port = port
        self.body = body
        currentAddress = address
        directory = try TemporaryDirectory("site-server", othersMayEnter: true)
        let text = try Self.directives(
            name, in: directory, ports: [port] + (otherPort.map { [$0] } ?? []), tls: tls,
            body: body, healthPaths: healthPaths)
        configuration = try directory.write("nginx.conf", text)
        try start()
    }

    deinit { stop() }

    /// Where it is now, with its port.
    package var address: String { lock.withLock { "\(currentAddress):\(port)" } }

    /// Where it is now, without its port.
    package var ip: String { lock.withLock { currentAddress } }

    // MARK: Life

    /// Starts nginx; returns when it listens.
    package func start() throws {
        let listener = try TestSocket.listen(
            on: .loopback(9), namespace: host.namespace, backlog: 1024)
        let made = try host.run("nginx", ["-p", directory.path, "-c", configuration])
        lock.withLock {
            silentListener = listener
            process = made
        }
        let target = SocketAddress(address: "127.0.0.1", port: port) ?? .loopback(port)
        for _ in 0..<500 where made.isRunning {
            if let client = try? RawClient(
                target, namespace: host.namespace, within: .milliseconds(200))
            {
                client.close()
                return
            }
            usleep(4000)
        }
        throw KitError("\(name) does not listen: \(made.standardError)")
    }

    /// Ends nginx: connects are refused from then on. Harmless when called again.
    package func stop() {
        let (running, listener) = lock.withLock {
            defer {
                process = nil
                silentListener = -1
            }
            return (process, silentListener)
        }
        running?.stop()
        if listener >= 0 { close(listener) }
    }

    /// The whole program stands still: connections are accepted by the kernel, and that is all.
    package func freeze() { lock.withLock { process }?.signal(SIGSTOP) }

    package func thaw() { lock.withLock { process }?.signal(SIGCONT) }

    /// What it does from the next request on.
    package func set(_ mode: Mode) throws {
        for other in Mode.allCases { unlink(directory.file(other.flag)) }
        if mode != .normal { try directory.write(mode.flag, "") }
    }

    // MARK: Its place in the network

    /// The plug is pulled: what is sent to it gets no answer, not even a RST.
    package func vanish() throws { try link.cut() }

    package func reappear() throws { try link.restore() }

    /// Its host has another address from now on, and the old one is nobody's.
    package func renumber(to address: String) throws {
        let old = ip
        // In this order: with its first address an interface loses the others of that network.
        try host.ip("address delete \(old)/24 dev \(link.interface)")
        try host.ip("address add \(address)/24 dev \(link.interface)")
        lock.withLock { currentAddress = address }
    }
}

// MARK: - Configuration

extension SiteServer {
    /// nginx's directives: which answer is given depends on which of the modes' files are there.
    private static func directives(
        _ name: String, in directory: TemporaryDirectory, ports: [UInt16],
        tls: MintedCertificate?, body: String, healthPaths: [String]
    ) throws -> String {
        var lines = head(work: try directory.makeDirectory("work"))
        let listen = ports.map { "listen \($0)\(tls == nil ? "" : " ssl") backlog=1024;" }
        lines.append("server { " + listen.joined(separator: " "))
        if let tls {
            let (certificate, key) = try tls.writePair("server", in: directory.path)
            lines.append("ssl_certificate \(certificate); ssl_certificate_key \(key);")
        }
        lines.append("add_header X-Server \(name) always;")
        // What it was told; without a value nothing is added.
        lines.append("add_header X-Client $http_x_forwarded_for always;")
        lines.append("add_header X-Host $http_host always;")
        func when(_ mode: Mode, _ answer: String) -> String {
            "if (-f \(directory.file(mode.flag))) { \(answer); }"
        }
        let away = [
            when(.failing, "return 500 \"failing\\n\""),
            when(.standby, "return 503 \"standby\\n\""),
            when(.redirecting, "return 302 https://active.home.example/"),
        ]
        for path in healthPaths where path != "/" {
            lines += ["location = \(path) {"] + away + ["return 200 \"ok\\n\"; }"]
        }
        lines += ["location / {"] + away
        lines += [
            when(.failingRequests, "return 500 \"failing\\n\""),
            when(.hanging, "rewrite ^ /.hang last"),
            "return 200 \"\(body.replacing("\n", with: "\\n"))\"; }",
            "location = /.hang { internal; proxy_pass http://127.0.0.1:9;",
            "proxy_read_timeout 1h; } } }",
        ]
        return lines.joined(separator: "\n")
    }

    private static func head(work: String) -> [String] {
        [
            "daemon off; master_process off; pid \(work)/pid; error_log stderr;",
            geteuid() == 0 ? "user root;" : "", "worker_rlimit_nofile 8192;",
            "events { worker_connections 4096; }",
            "http { access_log off; default_type text/plain; keepalive_requests 1000000;",
            "client_body_temp_path \(work)/body; proxy_temp_path \(work)/proxy;",
            "fastcgi_temp_path \(work)/f; uwsgi_temp_path \(work)/u; scgi_temp_path \(work)/s;",
        ]
    }
}
