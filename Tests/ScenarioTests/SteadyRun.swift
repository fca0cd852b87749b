internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A daemon with clients of every kind at work, for whom any reset, refusal, timeout or wrong
/// answer is a failure; and what operators do to it meanwhile.
///
/// `EDGED_STEADY=long` does it as often as operators do in months, under full load;
/// `EDGED_FIGURES=1` prints what came out.
final class SteadyRun {
    static let isLong = ProcessInfo.processInfo.environment["EDGED_STEADY"] == "long"
    static let content = "steady as she goes\n"

    let edged: Edged
    private let upstreams: [Nginx]
    private let webSocketServer: PeerServer
    private let grpcServer: PeerServer
    private let tcp: SocketAddress
    /// Comes and goes.
    private let extra: SocketAddress

    /// New connections and kept ones, each request on its schedule.
    private var lanes: [HTTPLane] = []
    /// Opened at the start.
    private(set) var streams: [SteadyStream] = []
    private var idle: [RawClient] = []
    private var flood: RunningProcess?

    init() throws {
        raiseDescriptorLimit()
        upstreams = try (0..<3).map { _ in
            // nginx ends connections after a thousand requests by default.
            let nginx = try Nginx(
                settings: "keepalive_requests 100000000; keepalive_timeout 600s;")
            try Data(Self.content.utf8).write(to: URL(fileURLWithPath: nginx.file("file")))
            return nginx
        }
        webSocketServer = try PeerServer("websocket_server")
        grpcServer = try PeerServer("grpc_server")
        tcp = .loopback(try freePort())
        extra = .loopback(try freePort())
        var options = Edged.Options()
        options.certificates = ["app": ["app.test", "ws.test", "grpc.test"]]
        let body = Self.body(upstreams[0], webSocketServer, grpcServer, round: 0)
        options.listeners = [Self.listener("raw", tcp, "protocol: tcp, upstream: raw")]
        edged = try Edged(body, options)
    }

    deinit { end() }

    func end() {
        _ = stopLanes()
        for stream in streams { stream.stop() }
        closeIdle()
        flood?.stop()
        edged.stop()
        webSocketServer.stop()
        grpcServer.stop()
        for nginx in upstreams { nginx.stop() }
    }

    // MARK: - Configuration

    private static func listener(_ name: String, _ at: SocketAddress, _ rest: String) -> String {
        "{ name: \(name), address: 127.0.0.1, port: \(at.port), \(rest) }"
    }

    /// Half of the rounds change where requests go, the others something else.
    private static func body(
        _ nginx: Nginx, _ webSocket: PeerServer, _ grpc: PeerServer, round: Int
    ) -> String {
        """
        sites:
          - { hosts: app.test, upstream: app }
          - { hosts: ws.test, upstream: ws }
          - { hosts: grpc.test, upstream: grpc }
        upstreams:
          app: { servers: [\(nginx.server)], health: { interval: 1s } }
          ws: { servers: [\(webSocket.server)], health: off }
          grpc: { servers: [\(grpc.server)], protocol: h2, health: off }
          raw: { servers: [\(nginx.server)], health: off }
        limits: { header_fields: \(100 + round % 2) }
        timeouts: { drain: \(Int(drain.seconds))s }
        """
    }

    // MARK: - Clients

    private func tls() throws -> ClientTLS {
        try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
    }

    private func lane(
        _ name: String, _ address: SocketAddress, _ rate: Double, tls: ClientTLS? = nil,
        keepsAlive: Bool
    ) -> HTTPLane {
        var options = LaneOptions(
            address, host: "app.test", target: "/file", tls: tls, pace: .perSecond(rate),
            keepsAlive: keepsAlive, expectedBody: Self.content)
        options.name = name
        return HTTPLane(options)
    }

    /// Open loops, which say how long nobody was answered.
    func startLanes() throws {
        lanes = [
            lane("h1 kept", edged.http, 200, keepsAlive: true),
            lane("h1 new", edged.http, 100, keepsAlive: false),
            lane("tls kept", edged.https, 100, tls: try tls(), keepsAlive: true),
            lane("tls new", edged.https, 30, tls: try tls(), keepsAlive: false),
        ]
    }

    func stopLanes() -> [LaneReport] {
        defer { lanes = [] }
        return lanes.map { $0.stop() }
    }

    /// Connections that have to outlive everything but a restart of their process.
    ///
    /// - Parameter mayEnd: that is what happens; each is opened anew then.
    func startStreams(mayEnd: Bool = false) throws {
        let (https, http, tcp) = (edged.https, edged.http, tcp)
        let root = edged.mint.rootPEM
        let content = Self.content
        @Sendable func tls(_ name: String, _ alpn: String) throws -> ClientTLS {
            try ClientTLS(serverName: name, trusting: root, alpn: [alpn])
        }
        streams = [
            SteadyStream("h1", every: .milliseconds(5), mayEnd: mayEnd) {
                SteadyRequests(try RawClient(http), expecting: content)
            },
            SteadyStream("h2", every: .milliseconds(5), mayEnd: mayEnd) {
                SteadyHTTP2(
                    try HTTP2Client(https, tls: tls("app.test", "h2")), expecting: content)
            },
            SteadyStream("tcp", mayEnd: mayEnd) {
                SteadyRequests(try RawClient(tcp), expecting: content)
            },
            SteadyStream("websocket", mayEnd: mayEnd) {
                try SteadyWebSocket(try RawClient(https, tls: tls("ws.test", "http/1.1")))
            },
            SteadyStream("grpc", mayEnd: mayEnd) {
                try SteadyCall(
                    try HTTP2Client(https, tls: tls("grpc.test", "h2")), mayLeave: mayEnd)
            },
        ]
        guard eventually(within: .seconds(5), { self.streams.allSatisfy { $0.now.rounds > 2 } })
        else { throw KitError("not all streams began: \(streams.map(\.now))") }
    }

    func startIdle(_ count: Int) throws {
        idle = try (0..<count).map { index in
            index % 2 == 0 ? try RawClient(edged.http) : try edged.connectTLS()
        }
        for client in idle { _ = try client.get("/file", host: "app.test") }
    }

    /// How many of the idle connections still answer.
    func liveIdle() -> Int {
        idle.count { (try? $0.get("/file", host: "app.test"))?.text == Self.content }
    }

    var idleCount: Int { idle.count }

    func closeIdle() {
        for client in idle { client.close() }
        idle = []
    }

    /// As many requests as one program can make, on connections that are kept.
    func startFlood(seconds: Int) throws {
        flood = try RunningProcess(
            "wrk",
            [
                "-t1", "-c32", "-d\(seconds)s", "-H", "Host: app.test",
                "http://127.0.0.1:\(edged.http.port)/file",
            ])
    }

    /// What it has to say about failures; nil: there were none.
    func stopFlood() -> (requests: Int, trouble: String?) {
        guard let flood else { return (0, nil) }
        // INT makes it say what it has seen so far.
        flood.signal(SIGINT)
        _ = flood.waitForExit(within: .seconds(10))
        let lines = flood.standardOutput.split(separator: "\n").map(String.init)
        let trouble = lines.first { $0.contains("Socket errors") || $0.contains("Non-2xx") }
        let count = lines.first { $0.contains(" requests in ") }?.split(separator: " ").first
        self.flood = nil
        return (count.flatMap { Int($0) } ?? 0, trouble)
    }

    // MARK: - What operators do

    /// Another configuration: every second one sends requests elsewhere, and every second one adds
    /// a listener or takes it away.
    func reload(_ round: Int) throws {
        let nginx = upstreams[round / 2 % upstreams.count]
        let body = Self.body(nginx, webSocketServer, grpcServer, round: round)
        let more = round % 2 == 1 ? Self.listener("extra", extra, "protocol: http") : nil
        let prelude = edged.prelude.split(separator: "\n", omittingEmptySubsequences: false)
        let text = prelude.flatMap { line -> [String] in
            let isLast = line.hasPrefix("  - { name: raw,")
            return [String(line)] + (isLast ? more.map { ["  - " + $0] } ?? [] : [])
        }
        try edged.directory.write("edged.yaml", text.joined(separator: "\n") + body + "\n")
        try edged.reload()
        guard more != nil else { return }
        let answer = try RawClient(extra).get("/file", host: "app.test")
        guard answer.text == Self.content else { throw KitError("extra: \(answer.status)") }
    }

    /// A new certificate by dropping its file: ECDSA and RSA in turn, every fifth one damaged
    /// first.
    ///
    /// - Returns: how long it took until it was served.
    func rotate(_ round: Int) throws -> Duration {
        let names = ["app.test", "ws.test", "grpc.test"]
        let fresh = try edged.mint.leaf(names: names, key: round % 2 == 0 ? .ecdsaP256 : .rsa2048)
        if round % 5 == 4 {
            let kept = try servedFingerprint()
            let path = edged.directory.file("certs/app.pem")
            try Data(fresh.bundlePEM.utf8.prefix(700)).write(to: URL(fileURLWithPath: path))
            try edged.hand(over: path)
            pass(.milliseconds(1200))
            guard try servedFingerprint() == kept else {
                throw KitError("a damaged certificate has replaced a good one")
            }
        }
        try edged.writeCertificate("app", fresh)
        let begin = Instant.now()
        let isServed = eventually(within: .seconds(5)) {
            (try? self.servedFingerprint()) == fresh.fingerprint
        }
        guard isServed else { throw KitError("rotation \(round): it is not served") }
        return Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
    }

    private func servedFingerprint() throws -> String? {
        let client = try edged.connectTLS()
        defer { client.close() }
        return client.serverFingerprint
    }

    /// What the configuration has.
    static let drain = Duration.seconds(5)

    /// The program that is installed takes over from itself, by edgectl or by signal.
    func upgrade(_ round: Int) throws {
        let mark = edged.process.mark
        if round % 2 == 0 {
            let result = try edged.edgectl("upgrade")
            guard result.code == 0 else { throw KitError("upgrade: \(result.errors)") }
        } else {
            edged.process.signal(SIGUSR2)
        }
        try edged.process.waitForLine(
            containing: "the guardian is another program now", within: .seconds(20), after: mark)
    }

    /// Kills the proxy without a word.
    func killProxy() throws {
        let old = try edged.proxyPID()
        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)
    }

    // MARK: - Figures

    static func show(_ title: String, _ lines: [String]) {
        guard ProcessInfo.processInfo.environment["EDGED_FIGURES"] != nil else { return }
        let text = lines.map { "figure: \(title): \($0)\n" }.joined()
        FileHandle.standardError.write(Data(text.utf8))
    }
}
