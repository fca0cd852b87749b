internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// What the running daemon says about itself, compared with what it does.
    @Suite("Explained")
    struct Explained {}
}

extension Scenarios.Explained {
    private static let body = """
        sites:
          - hosts: app.test
            upstream: app
            headers: { response: { set: { X-Site: "${host}" } } }
            hsts: 1h
            paths:
              - { prefix: /closed, deny: ["0.0.0.0/0"] }
              - { prefix: /read, methods: [GET] }
              - { prefix: /paused, maintenance: yes }
              - { prefix: /moved, redirect: "https://new.test${path}" }
              - { prefix: /other, upstream: other, rewrite: /echo }
          - { hosts: old.test, redirect: { to: "https://app.test${path}${query}", status: 308 } }
          - { hosts: "*.wild.test", upstream: other }
        upstreams:
          app: { servers: [APP], health: off }
          other: { servers: [OTHER], health: off }
        """

    private static let targets = [
        ("app.test", "/"), ("app.test", "/closed"), ("app.test", "/closed/x"),
        ("app.test", "/closedness"), ("app.test", "/read"), ("app.test", "/paused/today"),
        ("app.test", "/moved/a?b"), ("app.test", "/other/x"), ("old.test", "/p?q=1"),
        ("a.wild.test", "/"), ("a.b.wild.test", "/"), ("nobody.test", "/"),
    ]

    /// The parts of an answer that are told beforehand.
    private struct Seen: Equatable, CustomStringConvertible {
        var status: Int
        var location: String?
        var upstream: String?

        var description: String { "\(status) \(location ?? "") \(upstream ?? "")" }
    }

    private func explained(
        _ edged: Edged, _ url: String, _ alpn: String, _ method: String
    ) throws -> Seen {
        let result = try edged.edgectl(
            "explain", url, "--from", "127.0.0.1", "--alpn", alpn, "--method", method, "--json")
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        let reply = try #require(object as? [String: Any], "\(result.errors)")
        let outcome = try #require(reply["outcome"] as? String)
        #expect(
            (result.code == 0) == ["forwarded", "redirected", "passthrough"].contains(outcome),
            "\(url)")
        let own = (reply["status"] as? Int).flatMap { $0 == 0 ? nil : $0 }
        return Seen(
            status: outcome == "forwarded" ? 200 : own ?? 0,
            location: reply["location"] as? String,
            upstream: outcome == "forwarded" ? reply["upstream"] as? String : nil)
    }

    private func seen(
        _ edged: Edged, _ host: String, _ target: String, isHTTP2: Bool, method: String
    ) throws -> (Seen, fields: (String) -> String?) {
        let authority = "\(host):\(edged.https.port)"
        let tls = try ClientTLS(
            serverName: host, trusting: edged.mint.rootPEM, alpn: [isHTTP2 ? "h2" : "http/1.1"])
        if isHTTP2 {
            let client = try HTTP2Client(edged.https, tls: tls)
            defer { client.close() }
            let stream = try client.request(HTTP2Client.fields(method, target, host: authority))
            let answer = try client.response(stream)
            return (
                Seen(
                    status: answer.status, location: answer["location"],
                    upstream: answer["x-upstream"]), { answer[$0] }
            )
        }
        let client = try RawClient(edged.https, tls: tls)
        defer { client.close() }
        let answer = try client.get(target, host: authority, method: method)
        return (
            Seen(
                status: answer.status, location: answer["location"],
                upstream: answer["x-upstream"]), { answer[$0] }
        )
    }

    @Test(
        "explain says of each URL what a client of either version gets", arguments: [false, true])
    func explain(isHTTP2: Bool) throws {
        let app = try ScriptedUpstream(answering: "a", fields: ["X-Upstream: app"])
        let other = try ScriptedUpstream(answering: "o", fields: ["X-Upstream: other"])
        defer {
            app.stop()
            other.stop()
        }
        var options = Edged.Options()
        options.certificates = [
            "app": ["app.test", "old.test", "*.wild.test", "*.b.wild.test", "nobody.test"]
        ]
        let edged = try Edged(
            Self.body.replacing("APP", with: app.server).replacing("OTHER", with: other.server),
            options)
        defer { edged.stop() }
        #expect(try edged.edgectl("status").code == 0)

        for (host, target) in Self.targets {
            for method in ["GET", "POST"] {
                let url = "https://\(host):\(edged.https.port)\(target)"
                let said = try explained(edged, url, isHTTP2 ? "h2" : "http/1.1", method)
                let (found, fields) = try seen(
                    edged, host, target, isHTTP2: isHTTP2, method: method)
                #expect(said == found, "\(method) \(url)")
                // Answers of our own carry what rules add, over TLS its promise, too.
                guard host == "app.test" else { continue }
                #expect(fields("x-site") == "app.test", "\(method) \(url)")
                #expect(fields("strict-transport-security") == "max-age=3600", "\(method) \(url)")
            }
        }
        let plain = try edged.get("/closed", host: "app.test")
        #expect(plain.status == 403 && plain["x-site"] == "app.test")
        #expect(plain["strict-transport-security"] == nil, "only over TLS")
    }

    @Test("a reload changes what explain and the effective configuration say")
    func reloaded() throws {
        let app = try ScriptedUpstream(answering: "a", fields: ["X-Upstream: app"])
        defer { app.stop() }
        let edged = try Edged(oneSite(app.server))
        defer { edged.stop() }
        let url = "https://app.test:\(edged.https.port)/"
        #expect(try explained(edged, url, "h2", "GET").status == 200)
        #expect(try edged.edgectl("config", "show", "--effective").output.contains("app.test"))

        try edged.reload(
            """
            sites:
              - { hosts: app.test, redirect: "https://new.test/" }
            limits: { header_fields: 77 }
            """)

        #expect(try explained(edged, url, "h2", "GET").location == "https://new.test/")
        let text = try edged.edgectl("config", "show", "--effective").output
        #expect(text.contains("header_fields: 77"), "what is written")
        #expect(text.contains("trailers: 16KiB"), "what is assumed")
    }
}
