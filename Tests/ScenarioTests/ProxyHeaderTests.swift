internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// proxy-protocol.txt, as a live daemon reads it: what is right, what is not, and who the
    /// client is from then on.
    @Suite("PROXY headers")
    struct ProxyHeaders {}
}

extension Scenarios.ProxyHeaders {
    /// A daemon whose clients come through forwarders at 127.0.0.2 and .3, of which it trusts one,
    /// and by themselves from 127.0.0.1; 127.0.0.9 is nobody's.
    private final class Stage {
        static let forwarder = SocketAddress(ipv4: 0x7F00_0002, port: 0)
        static let impostor = SocketAddress(ipv4: 0x7F00_0003, port: 0)
        static let stranger = SocketAddress(ipv4: 0x7F00_0009, port: 0)
        static let client = SocketAddress(ipv4: 0xCB00_7107, port: 4711)

        let upstreams: [ScriptedUpstream]
        let edged: Edged
        let relay: SocketAddress
        private let logs: TemporaryDirectory

        init() throws {
            upstreams = try (0..<2).map { try ScriptedUpstream(answering: "\($0)") }
            logs = try TemporaryDirectory("logs", othersMayEnter: true)
            if geteuid() == 0, let entry = getpwnam(Edged.user) {
                guard chown(logs.path, entry.pointee.pw_uid, entry.pointee.pw_gid) == 0 else {
                    throw KitError.system("chown \(logs.path)")
                }
            }
            relay = .loopback(try freePort())
            var options = Edged.Options()
            options.listeners = [
                "{ name: relay, address: 127.0.0.1, port: \(relay.port), protocol: tcp, "
                    + "upstream: app }"
            ]
            let servers = upstreams.map(\.server).joined(separator: ", ")
            edged = try Edged(
                """
                views:
                  own: { sources: 127.0.0.1 }
                  forwarded:
                    sources: 127.0.0.2/31
                    proxy_protocol: required
                    trusted_proxies: 127.0.0.2
                sites:
                  - { hosts: app.test, upstream: app }
                upstreams:
                  app: { servers: [\(servers)], balance: hash, hash: client, health: off }
                access_log: { path: \(logs.file("access.log")) }
                """, options)
        }

        func stop() {
            edged.stop()
            for upstream in upstreams { upstream.stop() }
        }

        /// Where connections of a kind go.
        func address(_ kind: Kind) -> SocketAddress {
            switch kind {
            case .tls: edged.https
            case .plain: edged.http
            case .tcp: relay
            }
        }

        func requests() -> [HTTPMessage] { upstreams.flatMap(\.requests) }

        func logLines() throws -> [[String: Any]] {
            try logs.read("access.log").split(separator: "\n").compactMap {
                try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            }
        }

        func tls() throws -> ClientTLS {
            try ClientTLS(
                serverName: "app.test", trusting: edged.mint.rootPEM, alpn: ["http/1.1"])
        }

        func connect(_ kind: Kind, _ preamble: [UInt8]) throws -> RawClient {
            try RawClient(
                address(kind), tls: kind == .tls ? tls() : nil, from: Self.forwarder,
                before: preamble)
        }

        var descriptors: Int {
            ((try? edged.proxyPID()).flatMap { ProcessFigures(of: $0) })?.descriptorCount ?? -1
        }
    }

    enum Kind: CaseIterable { case tls, plain, tcp }

    // MARK: - What is right

    private static let version6 = SocketAddress(
        ipv6High: 0x2001_0DB8_0000_0000, low: 0x77, port: 999)

    /// A header, and who the client is then.
    private static var headers: [(bytes: [UInt8], client: String)] {
        let destination = SocketAddress(ipv4: 0xCB00_710A, port: 443)
        let destination6 = SocketAddress(ipv6High: 0x2001_0DB8_0000_0000, low: 0x10, port: 443)
        let noise: [(UInt8, [UInt8])] = [
            (0x01, Array("h2".utf8)), (0x02, Array("other.test".utf8)),
            (0x04, [UInt8](repeating: 0, count: 900)), (0xE0, []),
        ]
        return [
            (ProxyHeaderBytes.version1(Stage.client, destination), "203.0.113.7"),
            (ProxyHeaderBytes.version2(Stage.client, destination), "203.0.113.7"),
            (
                ProxyHeaderBytes.version2(Stage.client, destination, extensions: noise),
                "203.0.113.7"
            ),
            (ProxyHeaderBytes.version1(version6, destination6), "2001:db8::77"),
            (ProxyHeaderBytes.version2(version6, destination6), "2001:db8::77"),
            // The forwarder speaks for itself.
            (ProxyHeaderBytes.local, "127.0.0.2"),
            (
                ProxyHeaderBytes.version2(Stage.client, destination, command: .local), "127.0.0.2"
            ),
            (Array("PROXY UNKNOWN\r\n".utf8), "127.0.0.2"),
            // A client who would be in the other view, if the header decided it.
            (ProxyHeaderBytes.version2(.loopback(5), destination), "127.0.0.1"),
            // v4-mapped: the same client as without the prefix.
            (
                ProxyHeaderBytes.head(0x21, family: 0x21, count: 36)
                    + [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 203, 0, 113, 7]
                    + [UInt8](repeating: 1, count: 16) + [0, 1, 1, 187],
                "203.0.113.7"
            ),
        ]
    }

    @Test(
        "the header's client is whom X-Forwarded-For and the access log name",
        arguments: [Kind.tls, .plain])
    func clients(kind: Kind) throws {
        let stage = try Stage()
        defer { stage.stop() }

        for (index, header) in Self.headers.enumerated() {
            let client = try stage.connect(kind, header.bytes)
            defer { client.close() }
            // The second request of a connection is the same client's.
            for _ in 0..<2 {
                let answer = try client.get(
                    "/\(index)", host: "app.test", extra: ["X-Forwarded-For: 6.6.6.6"])
                #expect(answer.status == 200, "\(index)")
            }
            let seen = stage.requests().filter { $0.target == "/\(index)" }
            #expect(seen.count == 2)
            for request in seen {
                #expect(request.all("x-forwarded-for") == [header.client], "\(index)")
            }
        }
        let isWritten = eventually {
            ((try? stage.logLines()) ?? []).filter { $0["path"] != nil }.count
                == Self.headers.count * 2
        }
        #expect(isWritten)

        for line in try stage.logLines() {
            guard let path = line["path"] as? String, let index = Int(path.dropFirst()) else {
                continue
            }
            #expect(line["client"] as? String == Self.headers[index].client, "\(index)")
        }
    }

    @Test("balance: hash goes by the header's client", arguments: Kind.allCases)
    func hash(kind: Kind) throws {
        let stage = try Stage()
        defer { stage.stop() }
        var servers: [UInt32: Set<String>] = [:]

        for round in 0..<3 {
            for number in UInt32(0)..<12 {
                let source = SocketAddress(
                    ipv4: 0xC633_6400 + number, port: UInt16(1000 + round))
                let client = try stage.connect(
                    kind, ProxyHeaderBytes.version2(source, Stage.client))
                defer { client.close() }
                let answer = try client.get("/", host: "app.test")
                servers[number, default: []].insert(answer.text)
            }
        }

        // Each client has one server, and not all the same.
        #expect(servers.values.allSatisfy { $0.count == 1 })
        #expect(servers.values.reduce(into: Set<String>()) { $0.formUnion($1) }.count == 2)
    }

    @Test(
        "header and ClientHello in one segment or byte by byte: the same", arguments: [false, true])
    func segments(isSplit: Bool) throws {
        let stage = try Stage()
        defer { stage.stop() }

        for header in Self.headers {
            for kind in Kind.allCases {
                var options = PieceRelay.Options()
                options.source = Stage.forwarder
                options.preamble = header.bytes
                options.piece = isSplit ? 1 : Int.max
                // Nine hundred bytes in much less than a second.
                options.pause = .microseconds(60)
                let relay = try PieceRelay(to: stage.address(kind), options)
                defer { relay.stop() }
                let client = try RawClient(relay.address, tls: kind == .tls ? stage.tls() : nil)
                defer { client.close() }
                let answer = try client.get("/", host: "app.test")
                #expect(answer.status == 200, "\(kind) \(header.client)")
                guard kind != .tcp else { continue }
                #expect(
                    stage.requests().contains { $0.all("x-forwarded-for") == [header.client] },
                    "\(kind) \(header.client)")
            }
        }
        #expect(try stage.edged.failures("client_proxy_header_invalid") == 0)
        #expect(try stage.edged.failures("client_proxy_header_timeout") == 0)
    }

    // MARK: - What is not

    private static var malformed: [(name: String, bytes: [UInt8])] {
        let right = ProxyHeaderBytes.version2(Stage.client, Stage.client)
        func with(_ index: Int, _ byte: UInt8) -> [UInt8] {
            var copy = right
            copy[index] = byte
            return copy
        }
        func line(_ text: String) -> [UInt8] { Array(text.utf8) }
        return [
            ("a request", line("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")),
            ("a ClientHello", HelloBytes().with(name: "app.test").records()),
            ("SSH", line("SSH-2.0-OpenSSH_9.2\r\n")),
            ("lower case", line("proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n")),
            ("no second address", line("PROXY TCP4 1.2.3.4 1 1\r\n")),
            ("another family's", line("PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n")),
            ("a name", line("PROXY TCP4 localhost 1.2.3.4 1 1\r\n")),
            ("leading zero", line("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n")),
            ("port 65536", line("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n")),
            ("bare LF", line("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n")),
            ("108 bytes", line("PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n")),
            ("no end", line("PROXY UNKNOWN " + String(repeating: "x", count: 4000))),
            ("version 3", with(12, 0x31)), ("command 2", with(12, 0x22)),
            ("UDP", with(13, 0x12)), ("a family of its own", with(13, 0x41)),
            ("too short for IPv4", with(15, 11)), ("64 KiB", with(14, 0xFF)),
            (
                "one byte too many",
                ProxyHeaderBytes.version2(
                    Stage.client, Stage.client,
                    extra: [4] + [0x0F, 0xF1] + [UInt8](repeating: 0, count: 0xFF1))
            ),
            (
                "an extension beyond the end",
                ProxyHeaderBytes.version2(Stage.client, Stage.client, extra: [4, 0, 9, 1])
            ),
            (
                "a wrong checksum",
                ProxyHeaderBytes.version2(
                    Stage.client, Stage.client, extensions: [(3, [1, 2, 3, 4])])
            ),
        ]
    }

    @Test(
        "whatever is no header ends the connection without an answer, and is counted",
        arguments: Kind.allCases)
    func malformed(kind: Kind) throws {
        let stage = try Stage()
        defer { stage.stop() }
        #expect(try stage.edged.get().status == 200)
        let base = stage.descriptors

        for (index, header) in Self.malformed.enumerated() {
            let client = try RawClient(stage.address(kind), from: Stage.forwarder)
            defer { client.close() }
            try client.send(bytes: header.bytes)
            #expect(client.readToEnd(within: .milliseconds(700)) != nil, "\(header.name)")
            #expect(client.received.isEmpty, "\(header.name): \(client.received)")
            #expect(
                try stage.edged.failures("client_proxy_header_invalid") == index + 1,
                "\(header.name)")
        }

        // Only what came by itself has been served.
        #expect(stage.requests().count == 1)
        #expect(eventually { stage.descriptors <= base })
        let lines = try stage.edged.edgectl("status").output
        #expect(lines.contains("client_proxy_header_invalid"), "\(lines)")
    }

    @Test("a header that is late, or never whole, ends the connection after a second")
    func late() throws {
        let stage = try Stage()
        defer { stage.stop() }
        #expect(try stage.edged.get().status == 200)
        let base = stage.descriptors
        let header = ProxyHeaderBytes.version2(Stage.client, Stage.client)
        let begin = Instant.now()
        // Nothing, half, all but the last byte; on each kind of listener.
        let clients = try Kind.allCases.flatMap { kind in
            try [0, header.count / 2, header.count - 1].map { count in
                let client = try RawClient(stage.address(kind), from: Stage.forwarder)
                if count > 0 { try client.send(bytes: Array(header[..<count])) }
                return client
            }
        }
        let dripping = try RawClient(stage.edged.https, from: Stage.forwarder)
        // A byte now and then buys no time.
        for index in 0..<header.count - 1 where dripping.ending == nil {
            guard (try? dripping.send(bytes: [header[index]])) != nil else { break }
            _ = dripping.read(within: .milliseconds(100))
        }

        #expect(dripping.readToEnd(within: .seconds(1)) != nil)
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
        #expect(span > .milliseconds(900) && span < .milliseconds(2500), "\(span)")
        for client in clients + [dripping] {
            #expect(client.readToEnd(within: .milliseconds(500)) != nil)
            #expect(client.received.isEmpty)
            client.close()
        }
        #expect(
            try stage.edged.failures("client_proxy_header_timeout") == clients.count + 1)
        #expect(eventually { stage.descriptors <= base })
    }

    @Test("who is not trusted, or from nowhere, is closed whatever he says")
    func untrusted() throws {
        let stage = try Stage()
        defer { stage.stop() }
        #expect(try stage.edged.get().status == 200)
        let base = stage.descriptors
        let header = ProxyHeaderBytes.version2(Stage.client, Stage.client)

        for kind in Kind.allCases {
            for source in [Stage.impostor, Stage.stranger] {
                // The RST may come before the connection is used.
                guard let client = try? RawClient(stage.address(kind), from: source) else {
                    continue
                }
                defer { client.close() }
                _ = try? client.send(
                    bytes: header + Array("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n".utf8))
                #expect(client.readToEnd(within: .seconds(1)) != nil)
                #expect(client.received.isEmpty)
            }
        }

        // Counted right behind the RST, which may be here first.
        #expect(try eventually { try stage.edged.failures("client_not_trusted") >= 3 })
        #expect(try eventually { try stage.edged.failures("no_view") >= 3 })
        #expect(try stage.edged.failures("client_not_trusted") == 3)
        #expect(try stage.edged.failures("no_view") == 3)
        #expect(stage.requests().count == 1)
        #expect(eventually { stage.descriptors <= base })
        // A header where none is required is what it looks like: no request.
        let own = try stage.edged.connect()
        defer { own.close() }
        try own.send(
            bytes: ProxyHeaderBytes.version1(Stage.client, Stage.client)
                + Array("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n".utf8))
        #expect(try own.readResponse().status == 400)
    }

    @Test("a TLS connection's time for its ClientHello begins behind the header")
    func helloDeadline() throws {
        let stage = try Stage()
        defer { stage.stop() }
        try stage.edged.reload(
            stage.edged.directory.read("edged.yaml").components(separatedBy: "\nviews:\n").last
                .map { "views:\n" + $0 + "timeouts: { client_hello: 1s }\n" })
        let client = try RawClient(stage.edged.https, from: Stage.forwarder)
        defer { client.close() }
        let header = ProxyHeaderBytes.version2(Stage.client, Stage.client)

        #expect(client.read(within: .milliseconds(600)) == .timeout)
        let begin = Instant.now()
        try client.send(bytes: header)
        #expect(client.readToEnd(within: .seconds(3)) != nil)

        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
        #expect(span > .milliseconds(850) && span < .milliseconds(2200), "\(span)")
        #expect(try stage.edged.failures("client_hello_timeout") == 1)
        #expect(try stage.edged.failures("client_proxy_header_timeout") == 0)
    }
}
