internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// `tcp` listeners: bytes as they are, each direction by itself.
    @Suite("TCP listeners")
    struct Relay {}
}

extension Scenarios.Relay {
    private func start(
        _ upstream: String, _ settings: String = ""
    ) throws -> (edged: Edged, address: SocketAddress) {
        let address = SocketAddress.loopback(try freePort())
        var options = Edged.Options()
        options.listeners = [
            "{ name: raw, address: 127.0.0.1, port: \(address.port), protocol: tcp, upstream: raw }"
        ]
        let body = """
            upstreams:
              raw: { servers: [\(upstream)], health: off\(settings) }
            """
        return (try Edged(body, options), address)
    }

    @Test("16 MiB go down and up whole and in order")
    func bulk() throws {
        let content = (0..<(16 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ $0 >> 10) }
        let nginx = try Nginx()
        try Data(content).write(to: URL(fileURLWithPath: nginx.file("big")))
        let (edged, address) = try start(nginx.server)
        defer { edged.stop() }
        let client = try RawClient(address)
        defer { client.close() }

        try client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        let down = try client.readResponse(within: .seconds(20)).body
        try client.send("PUT /new HTTP/1.1\r\nHost: a\r\nContent-Length: \(content.count)\r\n\r\n")
        try client.send(bytes: content, within: .seconds(20))
        let status = try client.readResponse(within: .seconds(20)).status
        let up = try Data(contentsOf: URL(fileURLWithPath: nginx.file("new")))

        #expect(status == 201)
        let isSame = (down == content, Array(up) == content)
        #expect(isSame == (true, true))
    }

    @Test("the server may speak first, and a half-closed client still hears it")
    func serverFirst() throws {
        let upstream = try ScriptedUpstream([
            .send("220 ready\r\n"), .readHead, .pause(.milliseconds(100)), .send("late"), .close,
        ])
        defer { upstream.stop() }
        let (edged, address) = try start(upstream.server)
        defer { edged.stop() }
        let client = try RawClient(address)
        defer { client.close() }

        guard case .bytes(let greeting) = client.read() else {
            Issue.record("no greeting")
            return
        }
        try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.finishSending()
        var rest: [UInt8] = []
        while case .bytes(let bytes) = client.read() { rest += bytes }

        #expect(String(decoding: greeting, as: UTF8.self) == "220 ready\r\n")
        #expect(String(decoding: rest, as: UTF8.self) == "late")
    }

    @Test("nginx understands the PROXY header and sees the client")
    func proxyHeader() throws {
        let nginx = try Nginx(expectsProxyHeader: true)
        let (edged, address) = try start(nginx.server, ", proxy_protocol: v2")
        defer { edged.stop() }
        let client = try RawClient(address)
        defer { client.close() }

        try client.send("GET /client HTTP/1.1\r\nHost: a\r\n\r\n")
        let text = try client.readResponse().text

        #expect(text == client.localAddress.map { "\($0)" })
    }

    @Test("a refused server resets the client at once")
    func refused() throws {
        let (edged, address) = try start("\"127.0.0.1:\(try freePort())\"")
        defer { edged.stop() }
        // The reset may come before the connect has been looked at.
        do {
            let client = try RawClient(address)
            defer { client.close() }
            #expect(client.readToEnd() == .reset)
        } catch let refusal as RawClient.Refusal {
            #expect(refusal == .unreachable(ECONNRESET))
        }
    }
}
