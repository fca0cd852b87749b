internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// WebSockets of real clients, over HTTP/1.1 and HTTP/2 (RFC 8441), to a real server.
    @Suite("WebSocket")
    struct WebSocket {}
}

extension Scenarios.WebSocket {
    /// A server behind a daemon.
    private struct Pair {
        let server: PeerServer
        let edged: Edged
        let body: String

        init(settings: String = "", isOverTLS: Bool = false, alpn: String = "http/1.1") throws {
            let mint = try CertificateMint()
            server = try PeerServer(
                "websocket_server", tls: isOverTLS ? mint.leaf("app.test") : nil, ["--alpn", alpn])
            body = oneSite(server.server, settings: settings)
            edged = try Edged(body, mint: mint)
        }

        func stop() {
            edged.stop()
            server.stop()
        }

        func check(
            _ client: PeerClient, _ checks: [String], _ location: SourceLocation = #_sourceLocation
        ) throws {
            try Peers.check(
                "websocket_checks", checks, edged.peerArguments + ["--client", client.rawValue],
                location)
        }
    }

    @Test("the peers understand each other")
    func directly() throws {
        let server = try PeerServer("websocket_server")
        defer { server.stop() }

        try Peers.check(
            "websocket_checks",
            [
                "echo", "large", "many", "client_closes", "server_closes", "drop", "subprotocol",
                "refused", "client_gone",
            ], ["--port", "\(server.address.port)", "--client", "h1"])
    }

    @Test(
        "a thousand messages of random sizes come back as they were", arguments: PeerClient.allCases
    )
    func echo(client: PeerClient) throws {
        let pair = try Pair()
        defer { pair.stop() }

        try pair.check(client, ["echo", "large", "many"])
    }

    @Test(
        "codes and reasons of either side pass, and so does an end without",
        arguments: PeerClient.allCases)
    func closing(client: PeerClient) throws {
        let pair = try Pair()
        defer { pair.stop() }

        try pair.check(client, ["client_closes", "server_closes", "drop", "client_gone"])
        #expect(eventually { (try? pair.edged.metric("edged_requests_active")) == 0 })
        #expect(eventually { (try? pair.edged.metric("edged_connections_open")) == 0 })
    }

    @Test("subprotocols are agreed on end to end, a refusal is one", arguments: PeerClient.allCases)
    func opening(client: PeerClient) throws {
        let pair = try Pair()
        defer { pair.stop() }

        try pair.check(client, ["subprotocol", "refused"] + (client == .h2 ? ["head"] : []))
    }

    @Test("messages go on across reloads", arguments: PeerClient.allCases)
    func reloads(client: PeerClient) throws {
        let pair = try Pair()
        defer { pair.stop() }
        let until = pair.edged.directory.file("until")
        let process = try Peers.start(
            "websocket_checks",
            pair.edged.peerArguments
                + ["--client", client.rawValue, "--until", until, "across"])
        defer { process.stop() }

        try process.waitForLine(containing: "open", within: .seconds(15), on: .output)
        for round in 0..<5 {
            try pair.edged.reload(pair.body + "\nlimits: { header_fields: \(100 + round) }")
        }
        try pair.edged.directory.write("until", "")

        try Peers.finish(process, ["across"])
    }

    /// What the configuration says of an upstream whose WebSockets are HTTP/1.1 all the same.
    enum Setting: CaseIterable { case h2, auto, autoOverTLS }

    @Test(
        "an upstream of HTTP/2 gets WebSockets over HTTP/1.1", arguments: PeerClient.allCases,
        Setting.allCases)
    func version(client: PeerClient, setting: Setting) throws {
        let pair =
            switch setting {
            case .h2: try Pair(settings: "protocol: h2")
            case .auto: try Pair(settings: "protocol: auto")
            // It would agree to h2, were it asked, and could not speak it.
            case .autoOverTLS:
                try Pair(
                    settings: "protocol: auto, tls: { ca: root.pem }", isOverTLS: true,
                    alpn: "h2,http/1.1")
            }
        defer { pair.stop() }

        try pair.check(client, ["echo", "client_closes", "server_closes"])
    }
}
