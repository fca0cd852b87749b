internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("TLS with clients")
    struct Handshakes {}
}

extension Scenarios.Handshakes {
    /// What a handshake failed with, as text; empty if it did not.
    private func refusal(
        _ edged: Edged, _ name: String?, alpn: [String] = []
    ) throws -> String {
        do {
            try RawClient(edged.https, tls: ClientTLS(serverName: name, alpn: alpn)).close()
            return ""
        } catch let refusal as RawClient.Refusal {
            return "\(refusal)".lowercased()
        }
    }

    /// openssl s_client, with HTTP requests to send.
    private func openssl(
        _ edged: Edged, _ words: String, request: String = ""
    ) throws -> String {
        let command =
            "printf '\(request)' | timeout 5 openssl s_client -ign_eof"
            + " -connect 127.0.0.1:\(edged.https.port) \(words) 2>&1"
        return try RunningProcess.run("sh", ["-c", command]).output
    }

    @Test("the certificate follows SNI: the exact name, then the wildcard, then the default")
    func serverName() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let exact = try edged.mint.leaf("a.wild.test")
        let wildcard = try edged.mint.leaf("*.wild.test")
        let fallback = try edged.mint.leaf("app.test")
        try edged.writeCertificate("exact", exact)
        try edged.writeCertificate("wild", wildcard)
        try edged.writeCertificate("app", fallback)
        try edged.reload()
        let expected: [(String?, MintedCertificate)] = [
            ("a.wild.test", exact), ("A.Wild.Test", exact), ("b.wild.test", wildcard),
            ("a.b.wild.test", fallback), ("wild.test", fallback), ("app.test", fallback),
            ("nobody.test", fallback), (nil, fallback),
        ]

        for (name, certificate) in expected {
            let client = try RawClient(edged.https, tls: ClientTLS(serverName: name))
            #expect(client.serverFingerprint == certificate.fingerprint, "\(name ?? "none")")
            client.close()
        }
    }

    @Test("without a default an unknown name, and none at all, is refused by name")
    func unknownName() throws {
        var options = Edged.Options()
        options.fallback = nil
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }

        #expect(try refusal(edged, "nobody.test").contains("unrecognized name"))
        #expect(try refusal(edged, nil) != "")
        #expect(try refusal(edged, "app.test") == "")
        #expect(eventually { (try? edged.failures("client_handshake_failed")) == 2 })
    }

    @Test("ALPN prefers h2, then http/1.1; without a word of the client's nothing is said")
    func alpn() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        func chosen(_ offer: [String]) throws -> String? {
            let client = try RawClient(
                edged.https, tls: ClientTLS(serverName: "app.test", alpn: offer))
            defer { client.close() }
            if client.alpn != "h2" {
                #expect(try client.get("/", host: "app.test").text == "ok")
            }
            return client.alpn
        }

        #expect(try chosen(["h2", "http/1.1"]) == "h2")
        #expect(try chosen(["http/1.1", "h2"]) == "h2")
        #expect(try chosen(["h2"]) == "h2")
        #expect(try chosen(["spdy/3", "http/1.1"]) == "http/1.1")
        #expect(try chosen([]) == nil)

        try edged.reload(oneSite(upstream.server, more: "http2: { enabled: no }"))
        #expect(try chosen(["h2", "http/1.1"]) == "http/1.1")
        #expect(try refusal(edged, "app.test", alpn: ["h2"]).contains("no application protocol"))
    }

    @Test("a client that offers only what we don't speak is told so")
    func noProtocol() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        for offer in [["spdy/3"], ["h2c"], ["h3", "http/1.0"]] {
            #expect(
                try refusal(edged, "app.test", alpn: offer).contains("no application protocol"))
        }
    }

    @Test(
        "old versions and weak suites are refused",
        arguments: [
            ("-tls1_1 -cipher ALL@SECLEVEL=0", "alert protocol version"),
            ("-tls1 -cipher ALL@SECLEVEL=0", "alert protocol version"),
            ("-tls1_2 -cipher AES128-GCM-SHA256", "handshake failure"),
            ("-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", "handshake failure"),
        ])
    func weak(words: String, alert: String) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let output = try openssl(edged, "-servername app.test \(words)")

        #expect(output.contains(alert), "\(output)")
    }

    @Test("an answer that ends the connection ends the TLS session in order")
    func closeNotify() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        for version in [TLSVersion.v12, .v13] {
            let client = try edged.connectTLS(versions: version...version)
            _ = try client.get("/", host: "app.test", extra: ["Connection: close"])
            #expect(client.readToEnd() == .closed)
            client.close()
        }
    }

    @Test("a session is resumed whichever worker gets the client", arguments: ["1_2", "1_3"])
    func resumption(version: String) throws {
        var options = Edged.Options()
        options.workers = 4
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let file = edged.directory.file("session")
        let request = #"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"#
        let words = "-servername app.test -tls\(version)"

        let first = try openssl(edged, "\(words) -sess_out \(file)", request: request)
        let outputs = try (0..<10).map { _ in
            try openssl(edged, "\(words) -sess_in \(file)", request: request)
        }

        #expect(first.contains("New, TLSv1."), "\(first)")
        #expect(outputs.filter { $0.contains("Reused, TLSv1.") }.count == 10)
        #expect(outputs.filter { $0.contains("200 ") }.count == 10)
    }

    @Test("a session of one name is not resumed for another", arguments: ["1_2", "1_3"])
    func foreignResumption(version: String) throws {
        var options = Edged.Options()
        options.certificates = ["app": ["app.test"], "other": ["other.test"]]
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let file = edged.directory.file("session")
        let request = #"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"#

        _ = try openssl(
            edged, "-servername app.test -tls\(version) -sess_out \(file)", request: request)
        let output = try openssl(
            edged, "-servername other.test -tls\(version) -sess_in \(file)", request: request)

        let words = ["New, ", "Reused, ", "subject=", "HTTP/1.1 "]
        let summary = output.split(separator: "\n").filter { line in
            words.contains { line.hasPrefix($0) }
        }
        #expect(summary.contains { $0.hasPrefix("New, TLSv1.") })
        #expect(summary.contains("subject=CN = other.test"))
    }

    @Test("of an RSA and an ECDSA certificate each client gets what it can verify")
    func twoKeys() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        try edged.writeCertificate("rsa", edged.mint.leaf("app.test", key: .rsa2048))
        try edged.reload()

        let request = #"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"#
        let rsa = try openssl(
            edged, "-servername app.test -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256",
            request: request)
        let ecdsa = try openssl(
            edged, "-servername app.test -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
            request: request)

        #expect(rsa.contains("Server public key is 2048 bit"), "\(rsa)")
        #expect(ecdsa.contains("Server public key is 256 bit"), "\(ecdsa)")
    }

    @Test("a client that asks for renegotiation is not obeyed")
    func renegotiation() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let command =
            "(sleep 0.2; echo R; sleep 0.3) | timeout 3 openssl s_client -tls1_2"
            + " -connect 127.0.0.1:\(edged.https.port) -servername app.test 2>&1"
        let output = try RunningProcess.run("sh", ["-c", command]).output

        #expect(output.contains("RENEGOTIATING"), "\(output)")
        #expect(output.contains("no renegotiation") || output.contains("error"), "\(output)")
    }

    @Test("plaintext on the TLS port is no request")
    func plaintext() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try RawClient(edged.https)
        defer { client.close() }

        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")

        #expect(client.readToEnd() != nil)
        #expect(!String(decoding: client.received, as: UTF8.self).contains("200"))
        #expect(upstream.connectionCount == 0)
    }
}
