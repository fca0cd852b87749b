internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeHTTP2
internal import EdgeUpstream

/// The one request and answer of a check over HTTP/2 (RFC 9113), beginning with the connection's
/// preface. `end` before the last reference goes.
final class HTTP2Exchange {
    /// Who makes an outcome of the answer.
    enum Reader {
        case http(AnswerJudge)
        case grpc(GRPCAnswer)
    }

    private let desk: HTTP2Desk
    private var reader: Reader
    private var session: HTTP2Session?
    private var tag: Int32 = -1
    private var request: [UInt8]
    private var requestSent = 0
    private var output: [UInt8] = []
    private var outcome: CheckOutcome?
    private var hasHead = false
    private var hasSettings = false
    private var interims = 0
    let isHeadRequest: Bool

    private static let interimsMax = 16

    /// - Parameter content: of the request, whole.
    init(_ reader: Reader, content: [UInt8], isHeadRequest: Bool, desk: HTTP2Desk) {
        self.reader = reader
        self.desk = desk
        self.isHeadRequest = isHeadRequest
        request = content
    }

    /// Puts preface, SETTINGS and the request out.
    ///
    /// - Parameter fields: pseudo fields first.
    /// - Returns: false without memory.
    func begin(_ fields: [(name: String, value: String)], now: Instant) -> Bool {
        tag = desk.register(self)
        // The window holds all the content that is looked at: none is asked for.
        let limits = HTTP2Limits(streams: 0, streamWindow: UInt32(2 * AnswerJudge.contentMax))
        guard let session = desk.engine.makeClient(tag, limits, now: now) else { return false }
        self.session = session
        return submit(fields, session)
    }

    private func submit(
        _ fields: [(name: String, value: String)], _ session: HTTP2Session
    ) -> Bool {
        var text: [UInt8] = []
        for field in fields {
            text += field.name.utf8
            text += field.value.utf8
        }
        // nghttp2 copies names and values.
        return text.withUnsafeBytes { text in
            func take(_ count: Int, at start: inout Int) -> UnsafeRawBufferPointer {
                defer { start += count }
                return UnsafeRawBufferPointer(rebasing: text[start..<start + count])
            }
            var start = 0
            desk.engine.fields.begin()
            for field in fields {
                let name = take(field.name.utf8.count, at: &start)
                let value = take(field.value.utf8.count, at: &start)
                desk.engine.fields.append(lowering: name, value)
            }
            guard desk.engine.fields.isWhole else { return false }
            return session.submitRequest(stream: tag, hasContent: !request.isEmpty) != nil
        }
    }

    /// - Returns: nil if more is needed.
    func receive(_ bytes: UnsafeRawBufferPointer, now: Instant) -> CheckOutcome? {
        guard let session else { return outcome }
        switch session.receive(bytes, now: now) {
        case .open: break
        case .breach(let breach):
            settle(
                hasSettings
                    ? "HTTP/2: too much or malformed: \(snakeCase("\(breach)"))"
                    : CheckReason.noHTTP2)
        case .failed: settle(hasSettings ? "HTTP/2 failed" : CheckReason.noHTTP2)
        }
        if outcome == nil {
            collect()
            if session.isOver { settle(hasSettings ? "HTTP/2 error" : CheckReason.noHTTP2) }
        }
        return outcome
    }

    /// The upstream has ended the connection.
    func finish() -> CheckOutcome {
        outcome ?? .failed(reason: hasHead ? CheckReason.cut : CheckReason.noAnswer)
    }

    /// What is to be sent; given once.
    func takeOutput() -> [UInt8] {
        collect()
        defer { output = [] }
        return output
    }

    func end() {
        session?.free()
        session = nil
        if tag >= 0 { desk.remove(tag) }
        tag = -1
    }

    private func collect() {
        guard let session else { return }
        while let bytes = session.output() { output.append(contentsOf: bytes) }
    }

    private func settle(_ reason: String) { settle(.failed(reason: reason)) }

    private func settle(_ found: CheckOutcome?) { outcome = outcome ?? found }

    // MARK: - What the session tells

    /// Of the stream: a final head has come.
    var awaitsTrailers: Bool { hasHead }

    func settingsReceived() { hasSettings = true }

    func head(_ text: UnsafeRawBufferPointer) {
        var head = ResponseHead()
        let bytes = text.bindMemory(to: UInt8.self)
        do {
            try HTTP1Parser.parseResponse(
                bytes.span, requestMethod: isHeadRequest ? .head : .other, upgrade: .none,
                into: &head, limits: Self.limits)
        } catch {
            return settle("bad answer: \(error.label)")
        }
        guard !head.isInterim else {
            interims += 1
            return interims > Self.interimsMax ? settle("too many interim answers") : ()
        }
        hasHead = true
        switch reader {
        case .http(var judge):
            settle(judge.head(head.status))
            reader = .http(judge)
        case .grpc(var answer):
            let isGRPC = head.fields.first(.contentType).map {
                Self.begins(bytes, $0.value.indices, with: "application/grpc")
            }
            settle(
                answer.head(
                    head.status, isGRPC: isGRPC ?? false, code: Self.code(head.fields, bytes)))
            reader = .grpc(answer)
        }
    }

    func content(_ bytes: UnsafeRawBufferPointer) {
        guard outcome == nil else { return }
        switch reader {
        case .http(var judge):
            settle(judge.content(bytes.bindMemory(to: UInt8.self).span))
            reader = .http(judge)
        case .grpc(var answer):
            settle(answer.content(bytes))
            reader = .grpc(answer)
        }
    }

    func trailers(_ text: UnsafeRawBufferPointer) {
        if case .grpc(var answer) = reader {
            var fields = FieldList()
            let bytes = text.bindMemory(to: UInt8.self)
            do {
                try HTTP1Parser.parseTrailers(bytes.span, into: &fields, limits: Self.limits)
            } catch {
                return settle("bad answer: \(error.label)")
            }
            answer.trailers(code: Self.code(fields, bytes))
            reader = .grpc(answer)
        }
        streamEnded()
    }

    func streamEnded() {
        guard hasHead else { return settle(CheckReason.noAnswer) }
        switch reader {
        case .http(let judge): settle(judge.end())
        case .grpc(let answer): settle(answer.end())
        }
    }

    func streamClosed(_ code: UInt32) {
        let word = HTTP2Code(rawValue: code).map { snakeCase("\($0)").uppercased() }
        settle("stream reset: \(word ?? "\(code)")")
    }

    func contentWaiting(_ max: Int) -> WaitingContent {
        let left = request.count - requestSent
        return left <= max ? .last(left) : .some(max)
    }

    func writeContent(_ header: UnsafePointer<UInt8>, _ count: Int) {
        let end = min(requestSent + count, request.count)
        output.append(contentsOf: UnsafeBufferPointer(start: header, count: 9))
        output.append(contentsOf: request[requestSent..<end])
        requestSent = end
    }

    // MARK: - Fields

    /// The collector writes heads of its own making: only their fields are the upstream's.
    private static let limits = {
        var limits = HeadLimits()
        limits.headBytesMax = 1 << 20
        limits.requestLineBytesMax = 1 << 20
        limits.trailersBytesMax = 1 << 20
        limits.fieldsMax = FieldList.capacity
        return limits
    }()

    /// `grpc-status`: nil if there is none, -1 if it is no number.
    private static func code(
        _ fields: borrowing FieldList, _ bytes: UnsafeBufferPointer<UInt8>
    ) -> Int? {
        let name: StaticString = "grpc-status"
        for index in 0..<fields.count {
            let field = fields[index]
            guard field.nameRange.count == UInt32(name.utf8CodeUnitCount),
                begins(bytes, field.nameRange.indices, with: name)
            else { continue }
            let digits = bytes[field.value.indices]
            guard (1...3).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) })
            else { return -1 }
            return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        return nil
    }

    /// - Parameter prefix: in lower case, as all names over HTTP/2.
    private static func begins(
        _ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, with prefix: StaticString
    ) -> Bool {
        let count = prefix.utf8CodeUnitCount
        return range.count >= count
            && bytes[range.lowerBound..<range.lowerBound + count].elementsEqual(
                UnsafeBufferPointer(start: prefix.utf8Start, count: count))
    }
}
