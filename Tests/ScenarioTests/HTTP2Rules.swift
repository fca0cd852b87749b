internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// RFC 9113 and RFC 7541, section by section and as strict as h2spec: each table is one test,
    /// each row a connection of its own. Rows about frames are also held against nghttpd, so that
    /// a fault of the table shows.
    @Suite("HTTP/2 to the letter")
    struct HTTP2Rules {}
}

/// What must come of a row.
enum HTTP2Reaction: Sendable {
    /// GOAWAY with one of the codes, then the end of the connection (RFC 9113 §5.4.1).
    case connection([RawFrame.Code])
    /// The end of the connection; a GOAWAY before it may be left out.
    case end
    /// RST_STREAM with one of the codes, and the connection goes on.
    case stream(UInt32, [RawFrame.Code])
    /// A stream error that may be taken for one of the connection (§5.4).
    case either(UInt32, [RawFrame.Code])
    /// RST_STREAM(PROTOCOL_ERROR) or a whole 400, and the connection goes on (§8.1.1).
    case malformed(UInt32)
    /// Nothing: the connection goes on.
    case ignored
    /// The whole answer on this stream, and the connection goes on.
    case answered(UInt32)

    static func connection(_ code: RawFrame.Code) -> HTTP2Reaction { .connection([code]) }
    static func stream(_ code: RawFrame.Code) -> HTTP2Reaction { .stream(1, [code]) }
    static func either(_ code: RawFrame.Code) -> HTTP2Reaction { .either(1, [code]) }
}

/// One connection: what is sent, and what must come of it.
struct HTTP2Row: Sendable {
    typealias Act = @Sendable (HTTP2Client) throws -> Void

    /// Section and sentence.
    let name: String
    let expected: HTTP2Reaction
    /// False: the client sends its preface itself.
    var opens = true
    let act: Act

    init(
        _ name: String, _ expected: HTTP2Reaction, opens: Bool = true, _ act: @escaping Act
    ) {
        self.name = name
        self.expected = expected
        self.opens = opens
        self.act = act
    }

    /// Frames in one write.
    init(_ name: String, _ expected: HTTP2Reaction, _ frames: RawFrame...) {
        self.init(name, expected) { try $0.send(frames) }
    }
}

/// Whom rows are held against. `/` is answered with `content`.
struct HTTP2Target {
    static let content = "hello, world"
    let address: SocketAddress
    let tls: ClientTLS

    func connect(
        _ settings: KeyValuePairs<UInt16, UInt32> = [:], opening: HTTP2Client.Opening = .usual
    ) throws -> HTTP2Client {
        try HTTP2Client(address, tls: tls, settings: settings, opening: opening)
    }

    /// Runs every row, and records what differs.
    func check(_ rows: [HTTP2Row], sourceLocation: SourceLocation = #_sourceLocation) throws {
        for row in rows {
            let client = try connect(opening: row.opens ? .usual : .silent)
            defer { client.close() }
            // The far side may have had enough before all is sent.
            var trouble = ""
            do { try row.act(client) } catch { trouble = " (\(error))" }
            guard let fault = fault(row.expected, client) else { continue }
            let end = client.ending.map { "\($0)" } ?? "open"
            Issue.record(
                "\(row.name): \(fault)\(trouble); connection \(end), came: \(client.frames.suffix(6))",
                sourceLocation: sourceLocation)
        }
    }

    /// What is wrong with how it was taken; nil if nothing is.
    private func fault(_ expected: HTTP2Reaction, _ client: HTTP2Client) -> String? {
        switch expected {
        case .connection(let codes):
            return endFault(client, codes)
        case .end:
            guard client.wait(until: { client.ending != nil }) else { return "goes on" }
        case .either(let stream, let codes):
            _ = client.wait {
                client.messages[stream]?.reset != nil || client.goAway != nil
                    || client.ending != nil
            }
            guard let code = client.resetCode(stream) else { return endFault(client, codes) }
            guard codes.contains(code) else { return "RST_STREAM is \(code), not \(codes)" }
        case .stream(let stream, let codes):
            _ = client.wait { client.messages[stream]?.reset != nil || client.goAway != nil }
            guard let code = client.resetCode(stream) else { return "no RST_STREAM" }
            guard codes.contains(code) else { return "RST_STREAM is \(code), not \(codes)" }
            return liveFault(client)
        case .malformed(let stream):
            guard let message = try? client.response(stream, within: .seconds(2)) else {
                return "stream \(stream) goes on"
            }
            guard message.status == 400 && message.isEnded || message.reset == .protocolError else {
                return "status \(message.status), reset \(message.reset.map { "\($0)" } ?? "none")"
            }
            return liveFault(client)
        case .ignored:
            return liveFault(client)
        case .answered(let stream):
            guard let message = try? client.response(stream), message.reset == nil,
                message.status == 200, message.text == Self.content
            else { return "no whole answer on stream \(stream)" }
            return liveFault(client)
        }
        return client.faults.first
    }

    private func endFault(_ client: HTTP2Client, _ codes: [RawFrame.Code]) -> String? {
        _ = client.wait { client.ending != nil }
        guard let frame = client.goAway, let code = frame.code else { return "no GOAWAY" }
        guard codes.contains(code) else { return "GOAWAY is \(code), not \(codes)" }
        guard frame.stream == 0 else { return "GOAWAY on a stream" }
        guard let last = frame.lastStream, last % 2 == 1 || last == 0 || last == 0x7FFF_FFFF
        else { return "GOAWAY up to a stream of the server's" }
        guard client.ending != nil else { return "no end behind GOAWAY" }
        return client.faults.first
    }

    /// Not nil: the connection does not go on as it should.
    private func liveFault(_ client: HTTP2Client) -> String? {
        guard client.isAlive() else { return "no PING is answered" }
        guard client.goAway == nil else { return "GOAWAY" }
        guard let answer = try? client.get(), answer.status == 200, answer.text == Self.content
        else { return "the next request is not answered" }
        return client.faults.first
    }
}

extension Edged {
    /// A client that verifies the certificate and offers `h2` only.
    func http2() throws -> HTTP2Target {
        HTTP2Target(
            address: https,
            tls: try ClientTLS(serverName: "app.test", trusting: mint.rootPEM, alpn: ["h2"]))
    }

    func connectHTTP2(_ settings: KeyValuePairs<UInt16, UInt32> = [:]) throws -> HTTP2Client {
        try http2().connect(settings)
    }
}

extension Nghttpd {
    func http2() throws -> HTTP2Target {
        HTTP2Target(
            address: address,
            tls: try ClientTLS(serverName: "app.test", trusting: mint.rootPEM, alpn: ["h2"]))
    }
}

extension Scenarios.HTTP2Rules {
    /// What of requests to `/never` must not be seen.
    enum Hidden { case nothing, heads, ends }

    /// Holds rows against edged, in front of a server that answers everything with the content.
    ///
    /// - Parameter hidden: no request to `/never` may reach that server: nothing of it, or not the
    ///   whole of it.
    static func check(
        _ rows: [HTTP2Row], hidden: Hidden = .nothing,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let pid = try edged.proxyPID()

        try edged.http2().check(rows, sourceLocation: sourceLocation)

        let heads = upstream.connections.map { String(decoding: $0.received, as: UTF8.self) }
        switch hidden {
        case .nothing: break
        case .heads:
            #expect(!heads.joined().contains("/never"), sourceLocation: sourceLocation)
        case .ends:
            let whole = upstream.requests.filter { $0.target == "/never" }
            #expect(whole.isEmpty, sourceLocation: sourceLocation)
        }
        #expect(try edged.proxyPID() == pid, sourceLocation: sourceLocation)
        #expect(try edged.failures("internal_error") == 0, sourceLocation: sourceLocation)
    }
}
