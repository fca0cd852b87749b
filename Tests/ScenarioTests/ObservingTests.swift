internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Observing it")
    struct Observing {}
}

extension Scenarios.Observing {
    /// HAProxy itself, before the same upstream, with its own `httplog` on standard output.
    private final class HAProxy {
        let address: SocketAddress
        private let folder: TemporaryDirectory
        private let process: RunningProcess

        init(server: SocketAddress) throws {
            folder = try TemporaryDirectory("haproxy")
            address = .loopback(try freePort())
            let path = try folder.write(
                "haproxy.cfg",
                """
                global
                    log stdout format raw local0
                defaults
                    mode http
                    log global
                    option httplog
                    retries 0
                    timeout connect 2s
                    timeout client 2s
                    timeout server 2s
                frontend http
                    bind \(address)
                    http-request redirect location /new if { path /old }
                    use_backend gone if { path /gone }
                    default_backend app
                backend app
                    server \(server) \(server)
                backend gone
                    server 127.0.0.1:1 127.0.0.1:1

                """)
            process = try RunningProcess("haproxy", ["-db", "-f", path])
            let isUp = eventually { [address] in
                (try? RawClient(address))?.close() != nil
            }
            guard isUp else { throw KitError("haproxy is not up: \(process.standardError)") }
        }

        deinit { process.stop() }

        var lines: [String] {
            process.standardOutput.split(separator: "\n").map(String.init)
        }
    }

    /// A line's words; of those that are numbers, how many there are.
    private static func shape(_ line: String) -> [String] {
        line.split(separator: " ").map { word in
            let isNumbers =
                word.contains(where: \.isNumber)
                && word.allSatisfy { $0.isNumber || "-/".contains($0) }
            guard isNumbers else { return String(word) }
            return word.split(separator: "/").map { _ in "N" }.joined(separator: "/")
        }
    }

    private static func ask(_ address: SocketAddress, _ target: String) throws {
        let client = try RawClient(address)
        defer { client.close() }
        _ = try client.get(target, host: "app.test")
    }

    private static func body(_ server: String, _ more: String) -> String {
        """
        sites:
          - hosts: app.test
            upstream: app
            paths:
              - { prefix: /gone, upstream: gone }
              - { prefix: /old, redirect: { to: /new, status: 302 } }
        upstreams:
          app: { servers: [\(server)], health: off }
          gone: { servers: ["127.0.0.1:1"], health: off }
        \(more)
        """
    }

    @Test("lines of `httplog` have the shape of HAProxy's own for the same requests")
    func httplog() throws {
        let upstream = try ScriptedUpstream(answering: "hello")
        defer { upstream.stop() }
        let haproxy = try HAProxy(server: upstream.address)
        let edged = try Edged(
            Self.body(upstream.server, "access_log: { path: stdout, format: httplog }"))
        defer { edged.stop() }
        let targets = ["/", "/a/b", "/old", "/gone"]
        for target in targets {
            try Self.ask(edged.http, target)
            try Self.ask(haproxy.address, target)
        }
        let rude = try edged.connect()
        try rude.send("GET / HT")
        rude.close()
        let rudeThere = try RawClient(haproxy.address)
        try rudeThere.send("GET / HT")
        rudeThere.close()

        func own() -> [String] {
            edged.process.standardOutput.split(separator: "\n").map(String.init)
        }
        // A connection that says nothing is none of HAProxy's requests.
        func theirs() -> [String] { haproxy.lines.filter { $0.contains("\"") } }
        #expect(eventually { own().count == 5 && theirs().count >= 5 })

        func find(_ target: String, _ lines: [String]) throws -> String {
            let found = lines.first {
                $0.contains(" \(target) ") || $0.contains("\"\(target)\"")
            }
            return try #require(found, "\(target): \(lines)")
        }
        for target in targets + ["<BADREQ>"] {
            let (line, other) = try (find(target, own()), find(target, theirs()))
            let (mine, its) = (Self.shape(line), Self.shape(other))
            #expect(mine.count == its.count, "\(line) and \(other)")
            for (index, word) in mine.enumerated() where index < its.count {
                switch index {
                // Client and date.
                case 0, 1: continue
                default: #expect(word == its[index], "\(line) and \(other)")
                }
            }
            let statuses = [line, other].map { $0.split(separator: " ")[5] }
            switch target {
            // Whom we cannot reach is a bad gateway, and who leaves is told nothing.
            case "/gone": #expect(statuses == ["502", "503"])
            case "<BADREQ>": #expect(statuses == ["-1", "400"])
            default: #expect(statuses[0] == statuses[1], "\(line) and \(other)")
            }
            let date = #/\[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d\.\d{3}\]/#
            #expect(line.contains(date) && other.contains(date))
        }
    }

    @Test("probes are answered on their own address, once it can be had, and nothing else is")
    func probes() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let (now, late) = (
            SocketAddress.loopback(try freePort()), SocketAddress.loopback(try freePort())
        )
        let other = try TestSocket.listen(on: late)
        var options = Edged.Options()
        options.admin = ", probes: [\"\(now)\", \"\(late)\"]"
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }

        // They come with the first client that may, not before.
        #expect(eventually { (try? edged.get(now, "/livez").status) == 200 })
        #expect(try edged.get(now, "/readyz").text == "serving\n")
        for target in ["/metrics", "/status", "/", "/readyz/"] {
            #expect(try edged.get(now, target).status == 404, "\(target)")
        }
        try edged.process.waitForLine(containing: "admin.probes: bind \(late)")
        close(other)
        #expect(
            eventually(within: .seconds(8)) {
                (try? edged.get(late, "/livez").status) == 200
            })

        // A reload takes them away.
        let file = edged.prelude.replacing(options.admin, with: "") + oneSite(upstream.server)
        try edged.directory.write("edged.yaml", file)
        try edged.reload()
        #expect(
            eventually {
                (try? RawClient(now)) == nil && (try? RawClient(late)) == nil
            })
        #expect(try edged.get().text == "ok")
    }

    @Test("readiness is asked per view: one whose interface is not there is not ready")
    func views() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            """
            views:
              lan: { interfaces: lo }
              tunnel: { interfaces: wg-none }
            sites:
              - { hosts: { lan: app.test, tunnel: app.example }, upstream: app }
            upstreams:
              app: { servers: [\(upstream.server)], health: off }
            """)
        defer { edged.stop() }
        #expect(try edged.get().text == "ok")
        #expect(try edged.get(host: "nobody.test").status == 404)

        #expect(try edged.get(edged.admin, "/readyz?view=lan").status == 200)
        let tunnel = try edged.get(edged.admin, "/readyz?view=tunnel")
        #expect(tunnel.status == 503 && tunnel.text.contains("no interface of view 'tunnel'"))
        #expect(try edged.get(edged.admin, "/readyz?view=none").status == 404)
        #expect(try edged.get(edged.admin, "/readyz?nothing").status == 400)
        #expect(try edged.get(edged.admin, "/readyz").status == 200)
        // And what was counted is counted with its site and view.
        let text = try edged.get(edged.admin, "/metrics").text
        for line in [
            "edged_site_requests_total{site=\"app.test\",view=\"lan\",class=\"2xx\"} 1",
            "edged_site_requests_total{site=\"other\",class=\"4xx\"} 1",
            "edged_upstream_attempts_total{upstream=\"app\"} 1",
            "edged_view_connections{view=\"lan\"} 0", "edged_view_connections{view=\"tunnel\"} 0",
        ] {
            #expect(text.contains("\n\(line)\n"), "\(line)")
        }
        #expect(!text.contains("app.example"))
    }

    @Test("figures of a site are kept over reloads, and gone with the site")
    func figures() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let two = """
            sites:
              - { hosts: app.test, upstream: app }
              - { hosts: other.test, upstream: app }
            upstreams:
              app: { servers: [\(upstream.server)], health: off }
            """
        let edged = try Edged(two)
        defer { edged.stop() }
        for host in ["app.test", "other.test", "app.test"] { _ = try edged.get(host: host) }
        #expect(try edged.metric("edged_site_requests_total", "app.test") == 2)
        #expect(try edged.metric("edged_site_requests_total", "other.test") == 1)

        try edged.reload(oneSite(upstream.server))
        _ = try edged.get()

        #expect(try edged.metric("edged_site_requests_total", "app.test") == 3)
        #expect(throws: KitError.self) {
            try edged.metric("edged_site_requests_total", "other.test")
        }
        #expect(try edged.metric("edged_upstream_attempts_total", "app") == 4)
        let upstreams = try edged.metric("edged_upstream_first_byte_seconds_count", "app")
        #expect(upstreams == 4)
        // A second may pass until workers tell what members have done.
        #expect(
            eventually {
                (try? edged.metric("edged_upstream_member_requests_total", "app")) == 4
            })
    }

    @Test("a trace is begun where none comes, and one that comes goes on, over HTTP/1.1 and HTTP/2")
    func traces() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "forwarding: { trace: start }"))
        defer { edged.stop() }
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

        for version in ["--http1.1", "--http2"] {
            for extra in [[], ["-H", "traceparent: \(sound)", "-H", "tracestate: a=1"]] {
                let words = [version, "https://app.test/"] + extra
                let result = try RunningProcess.run(
                    "curl",
                    [
                        "-sS", "--cacert", edged.directory.file("root.pem"), "--connect-to",
                        "::127.0.0.1:\(edged.https.port)",
                    ] + words)
                #expect(result.1 == "ok", "\(result)")
            }
        }

        let requests = upstream.requests
        #expect(requests.count == 4)
        // Each connection has its own list: which came first is not known.
        let passed = requests.filter { $0.all("tracestate") == ["a=1"] }
        #expect(passed.count == 2 && passed.allSatisfy { $0.all("traceparent") == [sound] })
        let begun = requests.filter { $0.all("tracestate").isEmpty }
        #expect(begun.count == 2)
        for request in begun {
            let fields = request.all("traceparent")
            #expect(fields.count == 1)
            #expect(fields[0].wholeMatch(of: #/00-[0-9a-f]{32}-[0-9a-f]{16}-01/#) != nil)
        }
        #expect(Set(requests.flatMap { $0.all("traceparent") }).count == 3)
    }
}
