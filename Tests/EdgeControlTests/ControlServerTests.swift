import EdgeCore
import Glibc
import Synchronization
import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("The admin server", .serialized) struct ControlServerTests {
    /// Status code and body, by curl over the Unix socket.
    private static func curl(
        _ site: AdminSite, _ path: String, _ options: String = ""
    ) -> (code: String, body: String) {
        let (_, output) = shell(
            "curl -s -m 10 --unix-socket \(site.path) \(options) -w '\\n%{http_code}' "
                + "'http://edged\(path)'")
        let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
        return (String(lines.last ?? ""), lines.dropLast().joined(separator: "\n"))
    }

    @Test("curl gets the status as JSON")
    func status() throws {
        let site = AdminSite()
        defer { site.stop() }

        let (code, body) = Self.curl(site, "/status")

        #expect(code == "200")
        #expect(try StatusReply(json: JSONValue(parsing: Array(body.utf8))) == Samples.status)
    }

    @Test(
        "the read-only paths",
        arguments: [("/metrics", "edged_up 1\nedged_more 2\n"), ("/livez?v=1", "ok\n")])
    func reads(path: String, text: String) {
        let site = AdminSite()
        defer { site.stop() }

        #expect(Self.curl(site, path) == ("200", text))
        let (code, body) = shell("curl -s -m 10 http://127.0.0.1:\(site.port)\(path)")
        #expect(code == 0 && body == text)
    }

    @Test("readyz says why not")
    func ready() {
        let site = AdminSite { $0.isReady = (false, "draining") }
        defer { site.stop() }

        #expect(Self.curl(site, "/readyz") == ("503", "draining\n"))
    }

    @Test("readyz about a view says whether it is served, and 404 if there is none")
    func readyViews() {
        let site = AdminSite {
            $0.views = ["lan": (true, "serving"), "public": (false, "no interface is there")]
        }
        defer { site.stop() }

        #expect(Self.curl(site, "/readyz?view=lan") == ("200", "serving\n"))
        #expect(Self.curl(site, "/readyz?view=public") == ("503", "no interface is there\n"))
        #expect(Self.curl(site, "/readyz?view=other").code == "404")
        #expect(Self.curl(site, "/readyz?veiw=lan").code == "400")
        let leaving = AdminSite { $0.isReady = (false, "draining") }
        defer { leaving.stop() }
        #expect(Self.curl(leaving, "/readyz?view=other") == ("503", "draining\n"))
    }

    @Test("probes get livez and readyz, and nothing else")
    func probes() {
        let site = AdminSite { $0.views = ["lan": (true, "")] }
        defer { site.stop() }
        let url = "http://127.0.0.1:\(site.probePort)"
        func status(_ path: String, _ more: String = "") -> String {
            shell("curl -s -m 10 -o /dev/null -w '%{http_code}' \(more) '\(url)\(path)'").output
        }

        #expect(status("/livez") == "200")
        #expect(status("/readyz") == "200" && status("/readyz?view=lan") == "200")
        for path in ["/metrics", "/status", "/upstreams", "/config?effective=yes", "/dns", "/"] {
            #expect(status(path) == "404", "\(path)")
        }
        #expect(status("/reload", "-X POST") == "404")
        #expect(status("/livez", "-X POST") == "405")
        #expect(site.read(\.reloads).isEmpty)
    }

    @Test("over TCP there is neither status nor reload")
    func tcp() {
        let site = AdminSite()
        defer { site.stop() }
        let url = "http://127.0.0.1:\(site.port)"

        #expect(shell("curl -s -o /dev/null -w '%{http_code}' \(url)/status").output == "404")
        #expect(
            shell("curl -s -o /dev/null -w '%{http_code}' -X POST \(url)/reload").output == "404")
        #expect(site.read(\.reloads).isEmpty)
    }

    @Test("unknown paths are 404, wrong methods 405 with Allow")
    func wrong() {
        let site = AdminSite()
        defer { site.stop() }

        #expect(Self.curl(site, "/nothing").code == "404")
        #expect(Self.curl(site, "/reload", "-i").body.contains("\r\nAllow: POST\r\n".dropLast()))
        #expect(Self.curl(site, "/reload").code == "405")
        #expect(Self.curl(site, "/status", "-X DELETE").code == "405")
        #expect(Self.curl(site, "/status", "-X POST -d x=1").code == "405")
    }

    @Test("HEAD has the length and no body")
    func head() {
        let site = AdminSite()
        defer { site.stop() }

        let body = Self.curl(site, "/livez", "-I").body

        #expect(body.contains("Content-Length: 3\r\n"))
        #expect(!body.contains("ok"))
    }

    @Test("a connection is kept for the next request")
    func keepAlive() {
        let site = AdminSite()
        defer { site.stop() }

        let (_, output) = shell(
            "curl -s -m 10 --unix-socket \(site.path) -o /dev/null -o /dev/null "
                + "-w '%{num_connects} %{http_code};' http://a/livez http://a/status")

        #expect(output == "1 200;0 200;")
    }

    @Test("pipelined requests are answered in order all the same")
    func pipelined() throws {
        let site = AdminSite()
        defer { site.stop() }
        let one = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

        let text = try talk(
            site.path,
            String(repeating: one, count: 1000)
                + "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        let statuses = text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("HTTP/1.1 ") }
        let codes = statuses.map { $0.dropFirst(9).prefix(3) }
        #expect(codes == Array(repeating: "200", count: 1000) + ["404"])
    }

    @Test(
        "a reload is logged with who asked and answers when it is done",
        arguments: [
            (ReloadOutcome.reloaded, Duration.zero, "200"), (.unchanged, .zero, "200"),
            (.refused, .zero, "422"), (.reloaded, .milliseconds(150), "200"),
        ])
    func reload(outcome: ReloadOutcome, delay: Duration, code: String) throws {
        let reply = ReloadReply(
            outcome: outcome, diagnostics: ["a:1:1: error"], epoch: 4, milliseconds: 1)
        let site = AdminSite {
            $0.reload = reply
            $0.reloadDelay = delay
        }
        defer { site.stop() }
        let lines = Mutex<[String]>([])
        let tap = Log.addTap { line in lines.withLock { $0.append(line) } }
        defer { Log.removeTap(tap) }

        let answer = Self.curl(site, "/reload", "-X POST")

        #expect(answer.code == code)
        #expect(try ReloadReply(json: JSONValue(parsing: Array(answer.body.utf8))) == reply)
        let peer = try #require(site.read(\.reloads).first)
        #expect(peer.uid == getuid() && peer.pid > 0)
        let log = lines.withLock { $0 }
        #expect(
            log.contains { $0.hasSuffix("audit: reload by uid \(peer.uid) pid \(peer.pid)") })
    }

    @Test("a client that leaves during a reload harms nobody")
    func leaves() throws {
        let site = AdminSite { $0.reloadDelay = .milliseconds(100) }
        defer { site.stop() }
        do {
            let socket = try rawSocket(site.path)
            try socket.send(
                Array("POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".utf8))
            while site.read(\.reloads).isEmpty { usleep(1000) }
        }
        usleep(150_000)

        #expect(Self.curl(site, "/livez").code == "200")
    }

    static let bad: [(String, String)] = [
        ("GET / HTTP/1.1\n\n", "400"), ("\u{16}\u{3}\u{1}\u{0}\r\n\r\n", "400"),
        ("GET /" + String(repeating: "a", count: 20_000), "431"),
        ("POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n", "413"),
    ]

    @Test("malformed and oversized requests are answered and the connection closed", arguments: bad)
    func malformed(text: String, code: String) throws {
        let site = AdminSite()
        defer { site.stop() }

        let socket = try rawSocket(site.path)
        try socket.send(Array(text.utf8))
        var answer = Array(try socket.receive())
        while String(decoding: answer, as: UTF8.self).contains("\"}") == false {
            let more = try socket.receive()
            if more.isEmpty { break }
            answer += more
        }

        let head = String(decoding: answer, as: UTF8.self)
        #expect(head.hasPrefix("HTTP/1.1 \(code) "))
        #expect(head.contains("Connection: close\r\n"))
        #expect(try socket.receive().isEmpty)
    }

    @Test("a request that does not come in time is told so; a silent client is dropped")
    func slow() throws {
        let site = AdminSite(stageDeadline: .milliseconds(150))
        defer { site.stop() }

        #expect(try talk(site.path, "GET /li").hasPrefix("HTTP/1.1 408 "))
        #expect(try talk(site.path, "") == "")
    }

    @Test("a client that never reads its answer is dropped")
    func neverReads() throws {
        let site = AdminSite(stageDeadline: .milliseconds(150)) {
            $0.status.log = (0..<50_000).map { "line \($0) of a long log" }
        }
        defer { site.stop() }
        let socket = try rawSocket(site.path)
        try socket.send(Array("GET /status HTTP/1.1\r\nHost: a\r\n\r\n".utf8))

        #expect(waitForHangUp(socket))
        let text = try drain(socket)
        #expect(text.hasPrefix("HTTP/1.1 200 "))
        #expect(!text.hasSuffix("}\n"))
    }

    @Test("one connection too many is told 503, and there is room again afterwards")
    func full() throws {
        let site = AdminSite()
        defer { site.stop() }
        var held: [RawSocket] = []
        for _ in 0..<ControlServer.connectionsMax {
            let socket = try rawSocket(site.path)
            try socket.send(Array("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            _ = try socket.receive()
            held.append(socket)
        }

        #expect(try talk(site.path, "").hasPrefix("HTTP/1.1 503 "))
        held = []
        usleep(50_000)
        #expect(Self.curl(site, "/livez").code == "200")
    }
}

@Suite("The admin client", .serialized) struct ControlClientTests {
    @Test("a large status comes through whole")
    func large() throws {
        let site = AdminSite { $0.status.log = (0..<50_000).map { "line \($0) of a long log" } }
        defer { site.stop() }

        let reply = try ControlClient(path: site.path).status()

        #expect(reply == site.read(\.status))
    }

    @Test("a refused reload is a reply")
    func refused() throws {
        let site = AdminSite {
            $0.reload = ReloadReply(
                outcome: .refused, diagnostics: ["x"], epoch: 1, milliseconds: 2)
        }
        defer { site.stop() }

        #expect(try ControlClient(path: site.path).reload().outcome == .refused)
    }

    @Test(
        "nobody there, nowhere to go",
        arguments: ["/nonexistent/admin.sock", "", String(repeating: "a", count: 200), "/dev/null"])
    func unreachable(path: String) {
        #expect {
            try ControlClient(path: path).status()
        } throws: { error in
            if case ControlFailure.unreachable = error { true } else { false }
        }
    }

    @Test("no answer in time is as good as nobody there")
    func silent() {
        let site = AdminSite { $0.reloadDelay = nil }
        defer { site.stop() }

        #expect(throws: ControlFailure.unreachable("no answer in time")) {
            try ControlClient(path: site.path, timeout: .milliseconds(100)).reload()
        }
    }
}
