import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("Explanations over the admin socket") struct ExplainRouteTests {
    @Test("A question arrives as it was asked, whatever is in it")
    func question() throws {
        let site = AdminSite()
        defer { site.stop() }
        var question = ExplainQuestion(url: "https://a.example:8443/x%20y?a=b&c=d")
        question.view = "lan"
        question.from = "2001:db8::1"
        question.serverName = "none"
        question.protocols = []

        let reply = try ControlClient(path: site.path).explain(question)

        #expect(reply.steps == question.parameters.map { ExplainStep($0.name, $0.value) })
        #expect(reply.isServed)
        let text = reply.text
        #expect(text.contains("members") && text.contains("10.0.0.1:80 up"), "\(text)")
        #expect(text.hasSuffix("sent to upstream app\n"))
    }

    @Test("Without a URL, and where there is no such view, it says so; there is nothing over TCP")
    func refused() throws {
        let site = AdminSite()
        defer { site.stop() }
        func get(_ target: String) throws -> String {
            try talk(
                site.path, "GET \(target) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        }

        #expect(try get("/explain").hasPrefix("HTTP/1.1 400 "))
        #expect(try get("/explain?url=http://a/&view=none").hasPrefix("HTTP/1.1 404 "))
        #expect(try get("/config").hasPrefix("HTTP/1.1 400 "))
        for path in ["explain?url=http://a/", "config?effective=yes"] {
            let overTCP = shell(
                "curl -s -m 10 -o /dev/null -w '%{http_code}' "
                    + "'http://127.0.0.1:\(site.port)/\(path)'")
            #expect(overTCP.output == "404", "\(path)")
        }
    }

    @Test("The configuration comes as it is in use, or not at all")
    func configuration() throws {
        let site = AdminSite()
        defer { site.stop() }
        let idle = AdminSite { $0.isReady = (false, "starting") }
        defer { idle.stop() }

        #expect(
            try ControlClient(path: site.path).effectiveConfiguration()
                == ConfigurationReply(path: "/etc/edged.yaml", text: "version: 1  # default\n"))
        #expect(throws: ControlFailure.refused(status: 503, "no configuration is in use yet")) {
            try ControlClient(path: idle.path).effectiveConfiguration()
        }
    }

    @Test("An explanation is the same after its way as JSON")
    func json() throws {
        var reply = ExplainReply(outcome: .refused, status: 403, verdict: "403: no")
        reply.host = "a.example"
        reply.head = ["GET / HTTP/1.1"]
        reply.members = [ExplainMember(address: "a:1", state: "down", reason: "refused")]

        #expect(try ExplainReply(json: reply.json) == reply)
        #expect(!reply.isServed)
    }
}
