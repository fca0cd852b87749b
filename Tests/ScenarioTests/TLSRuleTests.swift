internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Bytes of our own making against the TLS port, and openssl's client where it can ask.
    @Suite("TLS to the letter")
    struct TLSRules {}
}

extension Scenarios.TLSRules {
    private func edged(_ body: String? = nil, fallback: String? = "app.test") throws -> Edged {
        var options = Edged.Options()
        options.fallback = fallback
        return try Edged(body ?? oneSite("\"127.0.0.1:9\""), options)
    }

    /// Sends `bytes` and reads what comes until the server has spoken or ended.
    private func reply(_ edged: Edged, _ bytes: [UInt8], piece: Int = .max) throws -> HelloReply {
        let client = try RawClient(edged.https)
        defer { client.close() }
        for start in stride(from: 0, to: bytes.count, by: min(piece, bytes.count)) {
            // It may have had enough before all is sent.
            try? client.send(bytes: Array(bytes[start..<min(start + piece, bytes.count)]))
        }
        let deadline = Instant.now().advanced(by: .seconds(3))
        while client.ending == nil, Instant.now() < deadline {
            _ = client.read(within: .milliseconds(20))
            let reply = HelloReply(client.received)
            if reply.alert != nil || reply.serverHello != nil { return reply }
        }
        return HelloReply(client.received)
    }

    private func openssl(_ edged: Edged, _ words: String) throws -> String {
        let command =
            "timeout 5 openssl s_client -connect 127.0.0.1:\(edged.https.port)"
            + " -servername app.test \(words) </dev/null 2>&1"
        return try RunningProcess.run("sh", ["-c", command]).output
    }

    @Test("a ClientHello may come in records and segments of any size")
    func fragments() throws {
        let edged = try edged()
        defer { edged.stop() }

        for hello in [HelloBytes(), .old] {
            let named = hello.with(name: "app.test")
            for (record, segment) in [(16_384, 1), (7, 1), (1, 1), (1, Int.max), (50, 3)] {
                let reply = try reply(edged, named.records(record), piece: segment)
                #expect(reply.serverHello != nil, "records of \(record), segments of \(segment)")
            }
        }
    }

    @Test("a ClientHello beyond every need is refused before it is complete")
    func oversized() throws {
        let edged = try edged()
        defer { edged.stop() }
        let announced = HelloBytes.records([1, 4, 0, 0] + [UInt8](repeating: 0, count: 1000))

        let reply = try reply(edged, announced)

        #expect(reply.alert != nil && reply.serverHello == nil)
        #expect(eventually { (try? edged.failures("client_handshake_failed")) == 1 })
    }

    /// Rule 39: what must not pass for a name.
    private static let badNames: [(String, [UInt8])] = [
        ("NUL inside", HelloBytes.serverName(Array("app.test\0evil".utf8))),
        ("NUL behind", HelloBytes.serverName(Array("app.test\0".utf8))),
        ("empty", HelloBytes.serverName([])),
        ("no list", []), ("empty list", [0, 0]), ("half a length", [0]),
        ("list too long", [0, 20, 0, 0, 3, 97, 98, 99]),
        ("list too short", [0, 4, 0, 0, 3, 97, 98, 99]),
        ("name too long", [0, 6, 0, 0, 9, 97, 98, 99]),
        ("bytes behind the list", HelloBytes.serverName(Array("app.test".utf8)) + [0]),
        ("over 255 bytes", HelloBytes.serverName([UInt8](repeating: 97, count: 256))),
        ("a blank", HelloBytes.serverName(Array("app test".utf8))),
        ("a control byte", HelloBytes.serverName(Array("app.test\u{1}".utf8))),
        ("8-bit", HelloBytes.serverName(Array("äpp.test".utf8))),
        ("a port", HelloBytes.serverName(Array("app.test:443".utf8))),
        ("an empty label", HelloBytes.serverName(Array("app..test".utf8))),
        ("a wildcard", HelloBytes.serverName(Array("*.test".utf8))),
    ]

    @Test("malformed server names are refused, with or without a default certificate")
    func badServerNames() throws {
        for fallback in ["app.test", nil] {
            let edged = try edged(fallback: fallback)
            defer { edged.stop() }
            for hello in [HelloBytes(), .old] {
                for (what, content) in Self.badNames {
                    let reply = try reply(edged, hello.with(0, content).records())
                    #expect(reply.alert != nil && reply.serverHello == nil, "\(what)")
                }
            }
        }
    }

    @Test(
        "an unknown name, and none, gets the default certificate, or unrecognized_name without one")
    func unknownNames() throws {
        for fallback in ["app.test", nil] {
            let edged = try edged(fallback: fallback)
            defer { edged.stop() }
            for hello in [HelloBytes(), .old] {
                let unknown = try reply(edged, hello.with(name: "nobody.test").records())
                let silent = try reply(edged, hello.records())
                let known = try reply(edged, hello.with(name: "APP.test").records())

                #expect(known.serverHello != nil)
                if fallback == nil {
                    #expect(unknown.alert == 112 && unknown.serverHello == nil)
                    #expect(silent.alert != nil && silent.serverHello == nil)
                } else {
                    #expect(unknown.serverHello != nil && silent.serverHello != nil)
                }
            }
        }
    }

    /// A list for ALPN from its names.
    private static func protocols(_ names: String...) -> [UInt8] {
        let list = names.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        return [0, UInt8(list.count)] + list
    }

    @Test("ALPN without overlap is no_application_protocol, malformed ALPN is refused")
    func alpn() throws {
        let edged = try edged()
        defer { edged.stop() }
        let hello = HelloBytes().with(name: "app.test")

        for list in [
            Self.protocols("spdy/3"), Self.protocols("HTTP/1.1"), Self.protocols("http/1.0"),
        ] {
            #expect(try reply(edged, hello.with(16, list).records()).alert == 120)
        }
        for list: [UInt8] in [[], [0, 0], [0, 1, 0], [0, 9, 8, 104], [0, 3, 2, 104, 50, 0]] {
            let reply = try reply(edged, hello.with(16, list).records())
            #expect(reply.alert != nil && reply.serverHello == nil, "\(list)")
        }
        #expect(
            try reply(edged, hello.with(16, Self.protocols("x", "http/1.1")).records())
                .serverHello != nil)
        #expect(try reply(edged, hello.records()).serverHello != nil)
    }

    @Test("versions before 1.2, and what is no TLS, get their alert")
    func versions() throws {
        let edged = try edged()
        defer { edged.stop() }
        for version: UInt16 in [0x0300, 0x0301, 0x0302] {
            var hello = HelloBytes.old.with(name: "app.test")
            hello.version = version
            let alert = try reply(edged, hello.records()).alert
            // OpenSSL has no word of its own for SSL 3.0: handshake_failure.
            #expect(alert == 70 || version == 0x0300 && alert == 40, "\(version)")
        }
        var only = HelloBytes().with(name: "app.test")
        only.extensions.removeAll { $0.0 == 43 }
        #expect(try reply(edged, only.with(43, [2, 3, 2]).records()).alert == 70)
        // Records that cannot come first: data, an alert, a change of cipher, SSLv2.
        for bytes: [UInt8] in [
            [23, 3, 3, 0, 1, 0], [21, 3, 3, 0, 2, 2, 40], [20, 3, 3, 0, 1, 1],
            [0x80, 0x2E, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10], [22, 3, 1, 0xFF, 0xFF, 1, 0],
        ] {
            #expect(try reply(edged, bytes).serverHello == nil)
        }
        #expect(try reply(edged, HelloBytes().with(name: "app.test").records()).serverHello != nil)
    }

    @Test("compression, heartbeat and suites without forward secrecy are never agreed on")
    func features() throws {
        let edged = try edged()
        defer { edged.stop() }
        var hello = HelloBytes.old.with(name: "app.test").with(15, [1])
        hello.compressions = [1, 0]
        let reply = try reply(edged, hello.records())
        #expect(reply.compression == 0)
        #expect(reply.serverHello.map { !$0.contains(15) } == true)

        // TLS 1.3 has only the null compression (RFC 8446 §4.1.2): illegal_parameter.
        var modern = HelloBytes().with(name: "app.test")
        modern.compressions = [1, 0]
        #expect(try self.reply(edged, modern.records()).alert == 47)

        // RSA key exchange, CBC, RC4, NULL, anonymous, DHE.
        for suite: UInt16 in [0x009C, 0xC023, 0xC009, 0x0005, 0x0002, 0xC018, 0x009E, 0x006D] {
            var weak = HelloBytes.old.with(name: "app.test")
            weak.suites = [suite]
            #expect(try self.reply(edged, weak.records()).alert == 40, "\(suite)")
        }
    }

    @Test("a fallback that is none is refused (RFC 7507), an honest TLS 1.2 client is not")
    func fallbackSignal() throws {
        let edged = try edged()
        defer { edged.stop() }
        var hello = HelloBytes.old.with(name: "app.test")
        hello.suites.append(0x5600)

        #expect(try reply(edged, hello.records()).alert == 86)
        #expect(
            try openssl(edged, "-tls1_2 -fallback_scsv").contains("inappropriate fallback"))
        #expect(try openssl(edged, "-tls1_2").contains("Secure Renegotiation IS supported"))
    }

    @Test("the server's order of suites counts, and who prefers ChaCha20 gets it")
    func preference() throws {
        let edged = try edged()
        defer { edged.stop() }

        for (words, suite) in [
            (
                "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
                "TLS_AES_128_GCM_SHA256"
            ),
            (
                "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES128-GCM-SHA256"
            ),
            (
                "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256"
            ),
        ] {
            let output = try openssl(edged, words)
            #expect(output.contains("Cipher is \(suite)"), "\(output)")
        }
    }

    @Test("a renegotiation is answered by no_renegotiation or an end, and by no handshake")
    func renegotiation() throws {
        let edged = try edged()
        defer { edged.stop() }
        let before = try edged.metric("edged_handshakes_completed_total")
        let command =
            "(sleep 0.3; echo R; sleep 0.7) | timeout 5 openssl s_client -tls1_2 -msg"
            + " -connect 127.0.0.1:\(edged.https.port) -servername app.test 2>&1"

        let output = try RunningProcess.run("sh", ["-c", command]).output

        let hellos = output.components(separatedBy: ", ServerHello\n").count - 1
        #expect(output.contains("RENEGOTIATING") && hellos == 1, "\(output)")
        #expect(try edged.metric("edged_handshakes_completed_total") == before + 1)
    }

    @Test("a ClientHello that takes too long, however it drips, ends without a word")
    func slowHello() throws {
        let edged = try edged(
            oneSite("\"127.0.0.1:9\"", more: "timeouts: { client_hello: 300ms, handshake: 300ms }"))
        defer { edged.stop() }
        let bytes = HelloBytes().with(name: "app.test").records()
        let begin = Instant.now()
        let client = try RawClient(edged.https)
        defer { client.close() }

        for byte in bytes {
            guard (try? client.send(bytes: [byte])) != nil else { break }
            if case .end = client.read(within: .milliseconds(20)) { break }
        }
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))

        #expect(client.ending != nil && client.received.isEmpty)
        #expect(span > .milliseconds(250) && span < .milliseconds(900), "\(span)")
        #expect(eventually { (try? edged.failures("client_hello_timeout")) == 1 })

        // A whole ClientHello, and then nothing: the handshake's own time.
        let late = try RawClient(edged.https)
        defer { late.close() }
        try late.send(bytes: bytes)
        _ = late.read()
        #expect(HelloReply(late.received).serverHello != nil)
        #expect(late.readToEnd(within: .seconds(2)) != nil)
        #expect(eventually { (try? edged.failures("client_handshake_timeout")) == 1 })
    }

    @Test("2,000 mutated ClientHellos end no process, and each connection")
    func mutated() throws {
        let edged = try edged(
            oneSite("\"127.0.0.1:9\"", more: "timeouts: { client_hello: 300ms, handshake: 300ms }"))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        var random = SeededRandom(seed: 39)
        let names = Self.badNames + [("good", HelloBytes.serverName(Array("app.test".utf8)))]

        for _ in 0..<2_000 {
            let hello = random.chance(1, of: 2) ? HelloBytes() : .old
            let name = names[Int(random.next() % UInt64(names.count))].1
            var message = hello.with(0, name).with(16, Self.protocols("http/1.1")).message
            for _ in 0..<(1 + random.next() % 4) {
                let index = Int(random.next() % UInt64(message.count))
                switch random.next() % 3 {
                case 0: message[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: message.remove(at: index)
                default: message.insert(UInt8(truncatingIfNeeded: random.next()), at: index)
                }
            }
            let client = try RawClient(edged.https)
            try? client.send(bytes: HelloBytes.records(message, 1 + Int(random.next() % 300)))
            client.finishSending()
            client.close()
        }

        #expect(try edged.proxyPID() == pid)
        #expect(
            eventually {
                (try? edged.metric("edged_connections_open")) == 0
            })
        #expect(try reply(edged, HelloBytes().with(name: "app.test").records()).serverHello != nil)
    }
}
