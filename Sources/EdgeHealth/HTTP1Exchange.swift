internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeUpstream

/// Reads the one answer of a check over HTTP/1.1, with the parser that traffic is read with.
/// Memory: a head (64 KiB), or a round of input and a trailer section (16 KiB).
struct HTTP1Exchange {
    private var judge: AnswerJudge
    private let method: Method
    private var scanner = HeadScanner(.response)
    /// Nil until the final head has come.
    private var decoder: BodyDecoder?
    private var pending: [UInt8] = []
    private var interims = 0

    private static let interimsMax = 16
    private static let limits = HeadLimits()

    init(_ judge: AnswerJudge, method: String) {
        self.judge = judge
        self.method =
            switch method {
            case "GET": .get
            case "HEAD": .head
            default: .other
            }
    }

    /// - Returns: nil if more is needed.
    mutating func receive(_ bytes: UnsafeRawBufferPointer) -> CheckOutcome? {
        pending.append(contentsOf: bytes)
        do {
            while decoder == nil {
                var scanner = scanner
                let whole = try scanner.scan(pending.span, limits: Self.limits)
                self.scanner = scanner
                guard let count = whole else { return nil }
                if let outcome = try takeHead(count) { return outcome }
            }
            return try readContent()
        } catch {
            return .failed(reason: "bad answer: \(error.label)")
        }
    }

    /// The upstream has ended its side.
    func finish() -> CheckOutcome {
        if let decoder, decoder.canEndByClose { return judge.end() }
        let isEmpty = decoder == nil && interims == 0 && pending.isEmpty
        return .failed(reason: isEmpty ? CheckReason.noAnswer : CheckReason.cut)
    }

    private mutating func takeHead(_ count: Int) throws(HTTP1Violation) -> CheckOutcome? {
        var head = ResponseHead()
        try HTTP1Parser.parseResponse(
            pending.span.extracting(0..<count), requestMethod: method, upgrade: .none, into: &head,
            limits: Self.limits)
        pending.removeFirst(count)
        guard !head.isInterim else {
            interims += 1
            scanner = HeadScanner(.response)
            return interims > Self.interimsMax
                ? .failed(reason: "too many interim answers") : nil
        }
        decoder = BodyDecoder(framing: head.framing)
        return judge.head(head.status)
    }

    private mutating func readContent() throws(HTTP1Violation) -> CheckOutcome? {
        guard var decoder else { return nil }
        var judge = judge
        var position = 0
        defer {
            pending.removeFirst(position)
            self.decoder = decoder
            self.judge = judge
        }
        while true {
            let rest = position..<pending.count
            let (step, consumed) = try decoder.next(
                pending.span.extracting(rest), limits: Self.limits)
            let start = position
            position += consumed
            switch step {
            case .data(let offset, let count):
                let content = start + offset..<start + offset + count
                if let outcome = judge.content(pending.span.extracting(content)) {
                    return outcome
                }
            case .trailers: continue
            case .needMore: return nil
            case .end: return judge.end()
            }
        }
    }
}
