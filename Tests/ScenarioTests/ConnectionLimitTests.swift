internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// `rate_limits` on what comes before a request, by two workers that count together.
    @Suite("Connection limits")
    struct ConnectionLimits {}
}

extension Scenarios.ConnectionLimits {
    private func body(
        _ server: String, _ policy: String, view: String = "", more: String = ""
    ) -> String {
        """
        views:
          local: { sources: [127.0.0.0/8], rate_limits: public\(view) }
        sites:
          - { hosts: app.test, upstream: app }
        upstreams:
          app: { servers: [\(server)], health: off }
        \(more)
        rate_limits:
          public: { \(policy) }
        """
    }

    /// Connections of which the daemon keeps some: it says so by an answer, or by a reset.
    private func kept(_ edged: Edged, _ count: Int) -> [RawClient] {
        (0..<count).compactMap { _ in
            // The reset may come before the connection is seen.
            guard let client = try? edged.connect() else { return nil }
            do {
                _ = try client.get("/", host: "app.test")
                return client
            } catch {
                #expect(client.ending == .reset)
                return nil
            }
        }
    }

    @Test("Three connections at a time, whichever worker takes them, over reloads")
    func concurrent() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(body(upstream.server, "connections: 3"))
        defer { edged.stop() }

        let first = kept(edged, 8)
        #expect(first.count == 3)
        // Another client of the same node has his own.
        let other = try RawClient(edged.http, from: SocketAddress(ipv4: 0x7F00_0002, port: 0))
        #expect(try other.get("/", host: "app.test").status == 200)

        try edged.reload(body(upstream.server, "connections: 4"))
        let second = kept(edged, 4)
        #expect(second.count == 1)

        for client in first + second { client.close() }
        #expect(
            eventually(within: .seconds(3)) {
                (try? edged.metric("edged_connections_open")) == 1
            })
        #expect(kept(edged, 6).count == 4)
        #expect(try edged.metric("edged_connections_refused_total") == 5 + 3 + 2)
        #expect(try edged.failures("rate_limited") == 5 + 3 + 2)
    }

    @Test("Full handshakes beyond the rate are reset; a resumed one is not one of them")
    func handshakes() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(body(upstream.server, "full_handshakes: 2 per 1h"))
        defer { edged.stop() }
        for _ in 0..<2 { #expect(try edged.curl("https://app.test/").output == "ok") }

        let refused = try edged.curl("https://app.test/")

        #expect(refused.code != 0)
        #expect(throws: RawClient.Refusal.handshake(.reset)) { try edged.connectTLS() }
        #expect(try edged.metric("edged_handshakes_refused_total") == 2)
        #expect(try edged.metric("edged_handshakes_completed_total") == 2)
        // In the clear nothing is limited.
        #expect(try edged.get().status == 200)
    }

    @Test("Behind a PROXY header the client that it names is counted, and the forwarder is not")
    func proxied() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            body(
                upstream.server,
                "new_connections: 2 per 1h, deny: [127.0.0.1, 203.0.113.9]",
                view: ", proxy_protocol: required, trusted_proxies: [127.0.0.1]"))
        defer { edged.stop() }
        func status(_ client: String) throws -> Int? {
            let connection = try edged.connect()
            defer { connection.close() }
            try connection.send("PROXY TCP4 \(client) 192.0.2.1 5000 80\r\n")
            return try? connection.get("/", host: "app.test").status
        }

        #expect(try (0..<4).map { _ in try status("203.0.113.7") } == [200, 200, nil, nil])
        #expect(try status("203.0.113.8") == 200)
        #expect(try status("203.0.113.9") == nil)
        #expect(try edged.failures("client_forbidden") == 1)
    }

    @Test("Sites limit who asks for them by name, passed on or not")
    func sites() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            """
            sites:
              - { hosts: app.test, upstream: app, rate_limits: own }
              - { hosts: raw.test, passthrough: app, rate_limits: few }
            upstreams:
              app: { servers: [\(upstream.server)], health: off }
            rate_limits:
              own: { full_handshakes: 1 per 1h }
              few: { connections: 1 }
            """)
        defer { edged.stop() }
        #expect(try edged.curl("https://app.test/").output == "ok")
        #expect(try edged.curl("https://app.test/").code != 0)
        /// A connection that asks for the site; nil if it was reset.
        func begin(_ host: UInt32) throws -> RawClient? {
            let client = try RawClient(
                edged.https, from: SocketAddress(ipv4: 0x7F00_0000 + host, port: 0))
            try client.send(bytes: HelloBytes().with(name: "raw.test").records())
            return client.readToEnd(within: .milliseconds(300)) == .reset ? nil : client
        }

        let first = try #require(try begin(1))
        #expect(try begin(1) == nil)
        #expect(try begin(2) != nil)
        first.reset()
        #expect(eventually(within: .seconds(3)) { (try? begin(1)) != nil })
    }

    @Test("A tcp listener has policies of its own")
    func relayed() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let address = SocketAddress.loopback(try freePort())
        var options = Edged.Options()
        options.listeners = [
            "{ name: raw, address: 127.0.0.1, port: \(address.port), protocol: tcp, "
                + "upstream: app, rate_limits: few }"
        ]
        let edged = try Edged(
            body(upstream.server, "connections: 100")
                + "\n  few: { new_connections: 1 per 1h }", options)
        defer { edged.stop() }

        let first = try RawClient(address)
        #expect(try first.get("/", host: "app.test").status == 200)
        let second = try? RawClient(address)
        #expect(second == nil || second?.readToEnd() == .reset)
        #expect(try edged.get().status == 200)
    }
}
