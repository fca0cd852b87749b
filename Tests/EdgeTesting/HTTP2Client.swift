package import EdgeCore
internal import Foundation

/// A client of raw frames: sends requests, right or wrong, and collects answers.
package final class HTTP2Client: HTTP2Peer {
    private let raw: RawClient
    /// What the next request gets.
    package private(set) var nextStream: UInt32 = 1

    /// What is sent when the connection stands.
    package enum Opening: Sendable {
        /// Preface and SETTINGS.
        case usual
        /// Nothing.
        case silent
    }

    /// Connects. Over TLS the server must choose `h2`; without it is prior knowledge.
    ///
    /// - Parameters:
    ///   - settings: ours, in the first frame.
    ///   - preamble: sent before TLS begins.
    package init(
        _ address: SocketAddress, tls: ClientTLS?, settings: KeyValuePairs<UInt16, UInt32> = [:],
        opening: Opening = .usual, from source: SocketAddress? = nil,
        namespace: String? = nil, within span: Duration = .seconds(3), before preamble: [UInt8] = []
    ) throws {
        raw = try RawClient(
            address, tls: tls, from: source, namespace: namespace, within: span, before: preamble)
        if tls != nil, raw.alpn != "h2" {
            throw KitError("ALPN chose \(raw.alpn ?? "nothing")")
        }
        try super.init(raw.stream, isServer: false)
        guard opening == .usual else { return }
        let first = RawFrame.settings(settings)
        noteSent(first)
        try send(bytes: RawFrame.preface + first.bytes)
    }

    package var localAddress: SocketAddress? { raw.localAddress }

    /// As `RawClient` has it.
    package var serverFingerprint: String? { raw.serverFingerprint }

    override package func noteSent(_ frame: RawFrame) {
        super.noteSent(frame)
        let stream = frame.stream & 0x7FFF_FFFF
        if frame.kind == .headers, stream % 2 == 1, stream < 0x7FFF_FFFF {
            nextStream = max(nextStream, stream + 2)
        }
    }

    // MARK: Requests

    /// The pseudo-fields and `more`.
    package static func fields(
        _ method: String = "GET", _ path: String = "/", host: String = "app.test",
        scheme: String = "https", with more: [(String, String)] = []
    ) -> [(String, String)] {
        [(":method", method), (":scheme", scheme), (":path", path), (":authority", host)] + more
    }

    /// Sends a head and returns its stream.
    @discardableResult
    package func request(_ fields: [(String, String)], end: Bool = true) throws -> UInt32 {
        let stream = nextStream
        try send(.headers(stream, HPACKBlock(fields), end: end))
        return stream
    }

    /// A request without content, and its answer.
    package func get(
        _ path: String = "/", host: String = "app.test", with more: [(String, String)] = [],
        within span: Duration = patience
    ) throws -> HTTP2Message {
        try response(request(Self.fields("GET", path, host: host, with: more)), within: span)
    }

    /// A request with content and trailers, and its answer.
    package func post(
        _ path: String = "/", host: String = "app.test", _ body: [UInt8],
        with more: [(String, String)] = [], trailers: [(String, String)]? = nil
    ) throws -> HTTP2Message {
        let stream = try request(Self.fields("POST", path, host: host, with: more), end: false)
        try sendContent(stream, body, end: trailers == nil)
        if let trailers { try send(.headers(stream, HPACKBlock(trailers), end: true)) }
        return try response(stream)
    }

    /// What came on a stream when it has ended, by END_STREAM or RST_STREAM.
    ///
    /// - Throws: `KitError` if it did not in time, or never will.
    package func response(
        _ stream: UInt32, within span: Duration = patience
    ) throws -> HTTP2Message {
        let isOver = wait(within: span) {
            messages[stream]?.isOver == true || (goAway?.lastStream ?? .max) < stream
        }
        guard isOver, let message = messages[stream], message.isOver else {
            let end = ending.map { "\($0)" } ?? "open"
            throw KitError(
                "no whole answer on stream \(stream) within \(span); connection \(end), "
                    + "\(goAway.map { "\($0)" } ?? "no GOAWAY"); last: \(frames.suffix(6))")
        }
        return message
    }

    /// Sends what `make` gives for 0, 1, 2 and so on, as fast as it is taken, until the far side
    /// says GOAWAY or ends the connection. Returns how many were sent.
    package func flood(
        _ count: Int, batch: Int = 32, _ make: (Int) throws -> [RawFrame]
    ) rethrows -> Int {
        var sent = 0
        while sent < count {
            let next = min(batch, count - sent)
            let frames = try (sent..<sent + next).flatMap { try make($0) }
            guard (try? send(frames)) != nil else { break }
            sent += next
            readAvailable()
            if goAway != nil || ending != nil { break }
        }
        return sent
    }

    /// The code of the RST_STREAM that came for a stream.
    package func resetCode(_ stream: UInt32) -> RawFrame.Code? { messages[stream]?.reset }
}
