internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("What clients may, and are told")
    struct ClientPolicies {}
}

extension Scenarios.ClientPolicies {
    /// A daemon whose folder `pages` is used for error pages; `more`: further top-level lines.
    private func edged(
        _ upstream: ScriptedUpstream, pages: [String: String] = [:], more: String = ""
    ) throws -> Edged {
        let edged = try Edged(oneSite(upstream.server))
        _ = try edged.directory.makeDirectory("pages")
        for (name, text) in pages { try edged.directory.write("pages/\(name)", text) }
        let section = pages.isEmpty ? "" : "error_pages: { directory: pages }\n"
        try edged.configure(oneSite(upstream.server, more: section + more))
        return edged
    }

    @Test("an error page is the operator's, an upstream's own error is the upstream's")
    func errorPages() throws {
        let upstream = try ScriptedUpstream([.readRequest, .respond(404, "theirs"), .again])
        defer { upstream.stop() }
        let edged = try edged(
            upstream,
            pages: ["404.html": "<p>{{status}} {{reason}}</p>", "4xx.json": "{\"s\":{{status}}}"])
        defer { edged.stop() }
        try edged.reload()

        let ours = try edged.get(host: "nobody.test")
        let toHead = try edged.get(host: "nobody.test", method: "HEAD")
        let refused = try edged.get(extra: ["A : b"])
        let theirs = try edged.get()

        #expect(ours.status == 404 && ours.text == "<p>404 no_route</p>")
        #expect(ours["content-type"] == "text/html; charset=utf-8")
        #expect(ours["cache-control"] == "no-store")
        #expect(toHead.body.isEmpty && toHead["content-length"] == ours["content-length"])
        #expect(refused.text == "{\"s\":400}" && refused["content-type"] == "application/json")
        #expect(theirs.status == 404 && theirs.text == "theirs")

        // Pages are read anew by every reload.
        try edged.directory.write("pages/404.html", "new")
        try edged.reload()
        #expect(try edged.get(host: "nobody.test").text == "new")
    }

    @Test("a page of the largest size reaches a client over TLS whole")
    func largePage() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let text = String(repeating: "0123456789abcdef", count: 16 << 10)
        let edged = try edged(upstream, pages: ["4xx.txt": text])
        defer { edged.stop() }
        try edged.reload()
        let client = try edged.connectTLS()
        defer { client.close() }

        for _ in 0..<2 { #expect(try client.get("/", host: "nobody.test").text == text) }
    }

    static let badPages: [(String, String, String)] = [
        ("404.htm", "x", "is not named STATUS.html"), ("399.html", "x", "is not named"),
        ("600.html", "x", "is not named"), ("3xx.html", "x", "is not named"),
        ("README", "x", "is not named"),
        ("503.html", String(repeating: "x", count: 262_145), "is larger than 256 KiB"),
    ]

    @Test("a page that cannot be used is refused with its file and reason, and the old ones stay")
    func badPages() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try edged(upstream, pages: ["404.txt": "good"])
        defer { edged.stop() }
        try edged.reload()

        for (name, text, reason) in Self.badPages {
            try edged.directory.write("pages/\(name)", text)
            let result = try edged.edgectl("reload")
            #expect(result.code != 0)
            #expect(
                result.errors.contains("pages/\(name) \(reason)"), "\(name): \(result.errors)")
            try FileManager.default.removeItem(atPath: edged.directory.file("pages/\(name)"))
        }
        try edged.directory.write("pages/404.html", "second")
        #expect(try edged.edgectl("reload").errors.contains("are for the same status"))
        #expect(try edged.get(host: "nobody.test").text == "good")
    }

    @Test("limits of line and body have their own statuses, and nothing too long is completed")
    func limits() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, more: "limits: { request_line: 8000B, request_body: 10B }"))
        defer { edged.stop() }

        // `GET / HTTP/1.1` is 14 bytes of the 8,000.
        let fits = String(repeating: "a", count: 7_986)
        #expect(try edged.get("/" + fits).status == 200)
        #expect(try edged.get("/" + fits + "a").status == 414)
        #expect(try edged.get(method: "POST", body: "0123456789").status == 200)
        #expect(try edged.get(method: "POST", body: "0123456789a").status == 413)
        #expect(upstream.requests.count == 2)
        for (chunks, status) in [
            ("a\r\n0123456789\r\n", 200), ("a\r\n0123456789\r\n1\r\na\r\n", 413),
        ] {
            let client = try edged.connect()
            try client.send(
                "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "\(chunks)0\r\n\r\n")
            #expect(try client.readResponse().status == status)
            client.close()
        }
        #expect(upstream.requests.count == 3)
        #expect(try edged.failures("client_body_too_large") == 2)
        // Told before the body is sent: no 100 comes.
        let client = try edged.connect()
        defer { client.close() }
        try client.send(
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        )
        #expect(client.readToEnd() == .closed)
        #expect(String(decoding: client.received, as: UTF8.self).hasPrefix("HTTP/1.1 413 "))
    }

    @Test("a trusted proxy's word is kept and continued, an untrusted one's is not")
    func trusted() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let claims = [
            "X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 10.0.0.9",
            "X-Forwarded-Proto: https", "X-Forwarded-Host: pub.test", "X-Forwarded-Port: 444",
            "X-Real-IP: 198.51.100.7", "X-Request-ID: theirs", "Forwarded: for=198.51.100.7",
            "X_Name: 1", "X_Forwarded_For: 6.6.6.6",
        ]
        let edged = try Edged(
            oneSite(
                upstream.server,
                more: "forwarding: { trusted: [127.0.0.0/8], forwarded: yes, underscores: pass }"))
        defer { edged.stop() }

        _ = try edged.get(extra: claims)
        try edged.reload(
            oneSite(upstream.server, more: "forwarding: { trusted: 10.0.0.0/8, forwarded: yes }"))
        _ = try edged.get(extra: claims)

        let requests = upstream.requests
        try #require(requests.count == 2)
        let kept = requests[0]
        #expect(kept.all("X-Forwarded-For") == ["198.51.100.7, 10.0.0.9, 127.0.0.1"])
        #expect(kept.all("X-Forwarded-Proto") == ["https"])
        #expect(kept.all("X-Forwarded-Host") == ["pub.test"])
        #expect(kept.all("X-Forwarded-Port") == ["444"])
        #expect(kept.all("X-Real-IP") == ["198.51.100.7"])
        #expect(kept.all("X-Request-ID") == ["theirs"])
        let ours = "for=127.0.0.1;host=\"app.test\";proto=http"
        #expect(kept.all("Forwarded") == ["for=198.51.100.7", ours])
        #expect(kept["X_Name"] == "1" && kept["X_Forwarded_For"] == nil)
        let replaced = requests[1]
        #expect(replaced.all("X-Forwarded-For") == ["127.0.0.1"])
        #expect(replaced.all("X-Forwarded-Proto") == ["http"])
        #expect(replaced.all("X-Forwarded-Host") == ["app.test"])
        #expect(replaced.all("X-Forwarded-Port") == ["\(edged.http.port)"])
        #expect(replaced.all("X-Real-IP") == ["127.0.0.1"])
        #expect(replaced.all("X-Request-ID").count == 1 && replaced["X-Request-ID"] != "theirs")
        #expect(replaced.all("Forwarded") == [ours])
        #expect(replaced["X_Name"] == nil && replaced["X_Forwarded_For"] == nil)
    }

    @Test("a site's listed protocol is a tunnel, h2c never")
    func upgrades() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhi"),
            .pause(.milliseconds(300)), .close,
        ])
        defer { upstream.stop() }
        let site = """
            sites:
              - { hosts: app.test, upstream: app, upgrade: SPDY/3.1 }
            upstreams:
              app: { servers: [\(upstream.server)], health: off }
            """
        let edged = try Edged(site)
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        let answer = try client.get(
            "/exec", host: "app.test", method: "POST",
            extra: ["Connection: Upgrade", "Upgrade: h2c, spdy/3.1", "Content-Length: 0"])
        #expect(answer.status == 101 && answer["upgrade"] == "SPDY/3.1")
        #expect(upstream.requests.first?.all("upgrade") == ["spdy/3.1"])
        while client.received.count < 2, client.ending == nil { _ = client.read() }
        #expect(client.received == Array("hi".utf8))

        // The upstream would switch: nobody asked it to.
        for name in ["h2c", "spdy/3", "TLS/1.0"] {
            let refused = try edged.get(
                method: "POST", extra: ["Connection: Upgrade", "Upgrade: \(name)"])
            #expect(refused.status == 502, "\(name)")
        }
    }
}
