internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// grpcio on both sides.
    @Suite("gRPC")
    struct GRPC {}
}

extension Scenarios.GRPC {
    static let upstreams = [PeerUpstream.h2, .h2OverTLS]

    /// A server behind a daemon.
    private struct Pair {
        let server: PeerServer
        let edged: Edged
        let body: String

        init(_ upstream: PeerUpstream, settings: String = "") throws {
            let mint = try CertificateMint()
            server = try PeerServer(
                "grpc_server", tls: upstream.isOverTLS ? mint.leaf("app.test") : nil)
            let all = upstream.settings + (settings.isEmpty ? "" : ", " + settings)
            body = oneSite(server.server, settings: all)
            edged = try Edged(body, mint: mint)
        }

        func stop() {
            edged.stop()
            server.stop()
        }

        func check(
            _ checks: String..., location: SourceLocation = #_sourceLocation
        ) throws {
            try Peers.check("grpc_checks", checks, edged.peerArguments, location)
        }
    }

    @Test("the peers understand each other")
    func directly() throws {
        let server = try PeerServer("grpc_server")
        defer { server.stop() }

        try Peers.check(
            "grpc_checks",
            [
                "unary", "parallel", "client_stream", "server_stream", "bidirectional", "metadata",
                "errors", "late_messages", "deadline", "cancel", "trailers_only",
            ], ["--port", "\(server.address.port)"])
    }

    @Test("all four kinds of calls pass, with messages of any size", arguments: upstreams)
    func kinds(upstream: PeerUpstream) throws {
        let pair = try Pair(upstream)
        defer { pair.stop() }

        try pair.check("unary", "parallel", "client_stream", "server_stream", "bidirectional")
    }

    @Test("metadata, trailers and errors pass unchanged", arguments: upstreams)
    func metadata(upstream: PeerUpstream) throws {
        let pair = try Pair(upstream)
        defer { pair.stop() }

        try pair.check("metadata", "errors", "late_messages", "trailers_only")
    }

    @Test("a deadline or a cancellation of the client's reaches the server", arguments: upstreams)
    func cancellation(upstream: PeerUpstream) throws {
        let pair = try Pair(upstream)
        defer { pair.stop() }

        try pair.check("deadline", "cancel")
    }

    @Test("a server that is not there is UNAVAILABLE", arguments: upstreams)
    func unavailable(upstream: PeerUpstream) throws {
        let edged = try Edged(
            oneSite("\"127.0.0.1:\(freePort())\"", settings: upstream.settings))
        defer { edged.stop() }

        try Peers.check("grpc_checks", ["unavailable", "proxy_error"], edged.peerArguments)
    }

    @Test("a server that takes too long is DEADLINE_EXCEEDED", arguments: upstreams)
    func timeout(upstream: PeerUpstream) throws {
        let pair = try Pair(upstream, settings: "timeouts: { response: 400ms }")
        defer { pair.stop() }

        try pair.check("response_timeout")
        #expect(try pair.edged.failures("upstream_head_timeout") == 1)
    }

    @Test("a stream that is open across reloads goes on", arguments: upstreams)
    func reload(upstream: PeerUpstream) throws {
        let pair = try Pair(upstream)
        defer { pair.stop() }
        let until = pair.edged.directory.file("until")
        let client = try Peers.start(
            "grpc_checks", pair.edged.peerArguments + ["--until", until, "across"])
        defer { client.stop() }

        try client.waitForLine(containing: "open", within: .seconds(15), on: .output)
        for round in 0..<5 {
            try pair.edged.reload(pair.body + "\nlimits: { header_fields: \(100 + round) }")
        }
        try pair.edged.directory.write("until", "")

        try Peers.finish(client, ["across"])
    }
}
