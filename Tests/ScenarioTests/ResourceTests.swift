internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Whatever clients do, nothing is left of it, and nobody else notices.
    @Suite("Resources")
    struct Resources {}
}

extension Scenarios.Resources {
    /// A peer that keeps no connection, so that the proxy's descriptors have one base.
    private static func upstream() throws -> ScriptedUpstream {
        try ScriptedUpstream([
            .readRequest, .respond(200, "ok", fields: ["Connection: close"]), .close,
        ])
    }

    private func descriptors(_ pid: Int32) -> Int { ProcessFigures(of: pid)?.descriptorCount ?? -1 }

    enum Stage: CaseIterable { case silent, inHello, inHandshake, idle, inHead, inBody, inAnswer }

    @Test("500 clients that leave at any stage leave nothing behind", arguments: Stage.allCases)
    func dropped(stage: Stage) throws {
        raiseDescriptorLimit()
        let upstream =
            stage == .inAnswer
            ? try ScriptedUpstream([.readRequest, .hold]) : try Self.upstream()
        defer { upstream.stop() }
        // A client that has only shut its sending side still gets its answer, so that one which is
        // gone is known for it only when the answer comes, or is late.
        let edged = try Edged(
            oneSite(upstream.server, settings: "timeouts: { response: 1500ms }"))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        let hello = try Mutation.recordHello()
        // A look at the certificates may have a folder open for a moment.
        var base = descriptors(pid)
        for _ in 0..<10 {
            usleep(30_000)
            base = min(base, descriptors(pid))
        }
        let head = "Host: app.test\r\n"

        var clients: [RawClient] = []
        for _ in 0..<500 {
            let client: RawClient
            switch stage {
            case .silent, .inHello, .inHandshake: client = try RawClient(edged.https)
            case .idle, .inHead, .inBody, .inAnswer: client = try edged.connect()
            }
            switch stage {
            case .silent: break
            case .inHello: try client.send(bytes: Array(hello.prefix(hello.count / 2)))
            case .inHandshake: try client.send(bytes: hello)
            case .idle: _ = try client.get("/", host: "app.test")
            case .inHead: try client.send("GET / HTTP/1.1\r\nHo")
            case .inBody:
                try client.send("POST / HTTP/1.1\r\n\(head)Content-Length: 9\r\n\r\nabc")
            case .inAnswer: try client.send("GET / HTTP/1.1\r\n\(head)\r\n")
            }
            clients.append(client)
        }
        let areOpen = eventually { descriptors(pid) >= base + 500 }
        for (index, client) in clients.enumerated() {
            if index.isMultiple(of: 2) { client.reset() } else { client.close() }
        }

        #expect(areOpen)
        #expect(eventually(within: .seconds(5)) { descriptors(pid) == base })
        #expect(eventually { (try? edged.metric("edged_connections_open")) == 0 })
        #expect(eventually { (try? edged.metric("edged_requests_active")) == 0 })
        #expect(try edged.proxyPID() == pid)
    }

    @Test("clients over the limit are closed, those within it are served")
    func connectionLimit() throws {
        var options = Edged.Options()
        options.workers = 1
        let upstream = try Self.upstream()
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, more: "limits: { connections: 20 }"), options)
        defer { edged.stop() }

        var clients: [RawClient] = []
        for _ in 0..<20 {
            let client = try edged.connect()
            _ = try client.get("/", host: "app.test")
            clients.append(client)
        }
        // The reset may be there before the client has looked at its connection.
        var isOverClosed = true
        if let over = try? edged.connect() {
            try? over.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            isOverClosed = over.readToEnd(within: .milliseconds(500)) != nil
            over.close()
        }
        let statuses = try clients.map { try $0.get("/", host: "app.test").status }
        for client in clients { client.close() }

        #expect(isOverClosed, "docs/configuration.md: further ones are closed at once")
        #expect(try edged.failures("connection_limit") >= 1)
        #expect(statuses.allSatisfy { $0 == 200 })
        #expect(eventually { (try? edged.get().status) == 200 })
    }

    /// Each has had an answer, and with it a ticket: what both needed is given back at once.
    @Test("1,000 idle TLS clients cost little, and it is given back")
    func idleClients() throws {
        raiseDescriptorLimit()
        let upstream = try Self.upstream()
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        let tls = try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
        func client() throws -> RawClient {
            let client = try RawClient(edged.https, tls: tls)
            #expect(try client.get("/", host: "app.test").status == 200)
            return client
        }
        for _ in 0..<4 { try client().close() }
        let before = try #require(ProcessFigures(of: pid))

        let clients = try (0..<1000).map { _ in try client() }
        let during = try #require(ProcessFigures(of: pid))
        #expect(try edged.connectTLS().get("/", host: "app.test").status == 200)
        for client in clients { client.close() }
        let isBack = eventually { descriptors(pid) <= before.descriptorCount }

        let perClient = (during.residentKiB - before.residentKiB) * 1024 / 1000
        #expect(perClient < 18 << 10, "\(perClient) bytes each")
        #expect(isBack)
        // Not all: each worker keeps 2 MiB of OpenSSL's memory for the next burst, and what the
        // first clients touched for good is part of the growth.
        let grown = during.residentKiB - before.residentKiB
        let isReturned = eventually(within: .seconds(4)) {
            (ProcessFigures(of: pid)?.residentKiB ?? .max) <= before.residentKiB + grown / 2
        }
        #expect(
            isReturned, "\(ProcessFigures(of: pid)?.residentKiB ?? -1) of \(during.residentKiB)")
    }
}
