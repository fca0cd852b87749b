internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// What an operator looks at before and after doing something.
    @Suite("Plans, incidents, findings")
    struct Operation {}
}

extension Scenarios.Operation {
    private func epoch(_ edged: Edged) throws -> String {
        let line = try edged.edgectl("status").output.split(separator: "\n").first {
            $0.hasPrefix("config")
        }
        return line?.components(separatedBy: ", ").last ?? ""
    }

    @Test("a plan says what a reload would do, and does nothing")
    func plan() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let body = oneSite(upstream.server)
        let edged = try Edged(body)
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }
        #expect(try client.get("/", host: "app.test").status == 200)
        let before = try epoch(edged)

        let same = try edged.edgectl("reload", "--plan")
        #expect(same.code == 0 && same.output == "unchanged: a reload changes nothing\n")

        try edged.configure(body + "\ntimeouts: { body: 33s }")
        let plan = try edged.edgectl("reload", "--plan")
        #expect(plan.code == 0, "\(plan)")
        #expect(plan.output.contains("~ setting timeouts"), "\(plan.output)")
        #expect(plan.output.contains("timeouts.body: "), "\(plan.output)")
        #expect(plan.output.contains("1 changed; nothing has been done"), "\(plan.output)")
        #expect(try edged.edgectl("doctor").output.contains("are not in use yet"))
        #expect(try epoch(edged) == before)

        try edged.configure(body + "\ntimeouts: { bodi: 33s }")
        let wrong = try edged.edgectl("reload", "--plan")
        #expect(wrong.code == 4 && wrong.errors.contains("unknown key 'bodi'"), "\(wrong)")
        #expect(wrong.errors.contains("edged.yaml:"))
        #expect(try edged.edgectl("doctor").output.contains("problem  configuration"))

        try edged.reload(body + "\ntimeouts: { body: 33s }")
        #expect(try epoch(edged) != before)
        #expect(try client.get("/", host: "app.test").status == 200)
    }

    @Test("a plan says how many requests of a site are under way")
    func planOfSite() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .pause(.seconds(5)), .respond(200, "ok"),
        ])
        defer { upstream.stop() }
        let body = oneSite(upstream.server)
        let edged = try Edged(body)
        defer { edged.stop() }
        let clients = try (0..<3).map { _ in try edged.connect() }
        defer { for client in clients { client.close() } }
        for client in clients { try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n") }
        #expect(eventually { upstream.requests.count == 3 })

        try edged.configure(body.replacing("hosts: app.test", with: "hosts: [app.test, b.test]"))
        let plan = try edged.edgectl("reload", "--plan")

        #expect(plan.output.contains("~ site app.test"), "\(plan.output)")
        #expect(plan.output.contains(" 3 requests, "), "\(plan.output)")
    }

    @Test("a plan is as JSON what it is as text")
    func json() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let body = oneSite(upstream.server)
        let edged = try Edged(body)
        defer { edged.stop() }
        try edged.configure(body.replacingOccurrences(of: "app.test", with: "other.test"))

        let plan = try edged.edgectl("--json", "reload", "--plan")
        let value = try JSONSerialization.jsonObject(with: Data(plan.output.utf8))
        let reply = try #require(value as? [String: Any])
        let changes = try #require(reply["changes"] as? [[String: Any]])

        #expect(plan.code == 0 && reply["outcome"] as? String == "planned")
        let shown = changes.map { "\($0["action"] ?? "") \($0["kind"] ?? "") \($0["name"] ?? "")" }
        #expect(
            shown.sorted() == ["added site other.test", "removed site app.test"], "\(shown)")
    }

    @Test("incidents have a beginning and an end, and outlive what caused them")
    func incidents() throws {
        let dead = try freePort()
        let body = """
            sites:
              - { hosts: app.test, upstream: app }
            upstreams:
              app:
                servers: ["127.0.0.1:\(dead)"]
                health: { interval: 200ms, fast_interval: 100ms, fall: 1, rise: 1 }
            """
        let edged = try Edged(body)
        defer { edged.stop() }
        func shown() throws -> [[String: Any]] {
            let output = try edged.edgectl("incidents", "--json").output
            let value = try JSONSerialization.jsonObject(with: Data(output.utf8))
            return (value as? [String: Any])?["incidents"] as? [[String: Any]] ?? []
        }
        func ended(_ kind: String) -> Bool? {
            (try? shown())?.last { $0["kind"] as? String == kind }.map { $0["ended"] is NSNumber }
        }

        #expect(eventually { ended("member_down") == false })
        try edged.configure("sites: nonsense")
        #expect(try edged.edgectl("reload").code == 4)
        #expect(ended("reload_refused") == true)
        let upstream = try ScriptedUpstream(on: .loopback(dead), answering: "ok")
        defer { upstream.stop() }
        #expect(eventually { ended("member_down") == true })

        let table = try edged.edgectl("incidents", "--markdown").output
        #expect(table.contains("| member down | app 127.0.0.1:\(dead) | down: "), "\(table)")
        let old = try edged.proxyPID()
        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)
        #expect(eventually { ended("proxy_restarted") == true })
    }
}
