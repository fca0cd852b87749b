internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// `edgectl node drain` and `undrain`.
    @Suite("A drained node")
    struct Node {}
}

extension Scenarios.Node {
    private func readiness(_ edged: Edged) throws -> (Int, String) {
        let answer = try edged.get(edged.admin, "/readyz")
        return (answer.status, answer.text)
    }

    @Test("clients go with their next answer, those that come are served, nobody is cut")
    func http1() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let body = oneSite(upstream.server)
        let edged = try Edged(body)
        defer { edged.stop() }
        let (idle, other) = (try edged.connect(), try edged.connect())
        defer { idle.close() }
        defer { other.close() }
        for client in [idle, other] {
            #expect(try client.get("/", host: "app.test")["connection"] == nil)
        }

        let result = try edged.edgectl("node", "drain")
        #expect(result.code == 0 && result.output.hasPrefix("clients are told to go"))
        #expect(try readiness(edged) == (503, "draining\n"))

        // An unused connection is not closed under a client that is just about to ask.
        let last = try idle.get("/", host: "app.test")
        #expect(last.status == 200 && last["connection"] == "close")
        #expect(idle.readToEnd() == .closed)
        let new = try edged.get()
        #expect(new.status == 200 && new["connection"] == "close")
        let status = try edged.edgectl("status")
        #expect(status.code == 5 && status.output.contains("clients are told to go"))
        try edged.reload(body + "\ntimeouts: { body: 31s }")
        #expect(try edged.get()["connection"] == "close")

        #expect(try edged.edgectl("node", "undrain").output.hasPrefix("clients are welcome"))
        #expect(try readiness(edged) == (200, "serving\n"))
        let again = try other.get("/", host: "app.test")
        #expect(again.status == 200 && again["connection"] == nil)
        #expect(edged.log.contains("audit: node drain by uid "))
    }

    @Test("over HTTP/2 they are told by GOAWAY, and their streams end well")
    func http2() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        #expect(try client.get().status == 200)
        #expect(client.goAway == nil)

        #expect(try edged.edgectl("node", "drain").code == 0)
        #expect(client.wait { client.goAway != nil })
        #expect(client.goAway?.lastStream == 0x7FFF_FFFF)
        // What is on its way still counts.
        #expect(try client.get().status == 200)
        #expect(client.wait { client.ending != nil })

        let new = try edged.connectHTTP2()
        #expect(new.goAway == nil)
        #expect(try new.get().status == 200)
        #expect(new.wait { new.goAway != nil })
        #expect(try new.get().status == 200)
        #expect(new.wait { new.ending != nil })

        #expect(try edged.edgectl("node", "undrain").code == 0)
        let welcome = try edged.connectHTTP2()
        #expect(try welcome.get().status == 200)
        #expect(welcome.isAlive() && welcome.goAway == nil)
    }

    @Test("a WebSocket is opened all the same, and stays")
    func webSocket() throws {
        let upstream = try ScriptedUpstream([
            .readHead,
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    + "Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"),
            .pause(.milliseconds(1500)), .send([0x81, 0x02, 0x68, 0x69]), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        #expect(try edged.edgectl("node", "drain").code == 0)
        let client = try edged.connect()
        defer { client.close() }

        let answer = try client.get(
            "/chat", host: "app.test",
            extra: [
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ])

        #expect(answer.status == 101 && answer["connection"]?.lowercased() == "upgrade")
        #expect(client.readToEnd() == .closed)
        #expect(client.received == [0x81, 0x02, 0x68, 0x69])
    }
}
