internal import CEdge
internal import EdgeCore
internal import EdgeTLS
internal import EdgeTesting

/// Whatever a client sends, before its handshake is complete or behind it, in whatever segments: a
/// server session waits, opens, ends or fails, and leaves nothing to the next one. What it hands
/// out is what the client wrote, whoever tampered with it on the way.
///
/// Sessions with OpenSSL are no function of their input (keys are fresh), so only what they came to
/// is compared.
enum HelloTarget {
    // One thread at a time: libFuzzer has one, and the suite that shares it is serialized.
    nonisolated(unsafe) private static let engine: Result<TLSEngine, any Error> = Result {
        let mint = try CertificateMint()
        let folder = try TemporaryDirectory("edged-fuzz")
        try mint.leaf("www.home.example", "*.home.example").writeBundle("a", in: folder.path)
        try mint.leaf("www.home.example", key: .rsa2048).writeBundle("b", in: folder.path)
        let engine = try TLSEngine()
        engine.use(try CertificateFolder.load(folder.path), fallback: nil)
        engine.useTickets([
            TicketKey(
                random: [UInt8](repeating: 7, count: TicketKey.randomBytes),
                madeAt: Instant(nanoseconds: 0), createdSeconds: 1_700_000_000)
        ])
        return engine
    }

    static func run(_ input: FuzzInput) throws(Finding) {
        guard case .success(let engine) = engine else {
            throw Finding("there is an engine: \(Self.engine)")
        }
        if input.has(0) {
            try tamper(input, engine)
            return
        }
        let whole = try feed(input.bytes, [input.bytes.count], engine)
        let pieces = try feed(input.bytes, input.pieceEnds, engine)
        try hold(whole == pieces, "in pieces: \(pieces), whole: \(whole)")
    }

    /// Feeds bytes that no client made.
    private static func feed(
        _ bytes: [UInt8], _ ends: [Int], _ engine: TLSEngine
    ) throws(Finding) -> ServerCourse {
        guard let server = ServerEnd(engine) else { throw Finding("there is memory") }
        var start = 0
        for end in ends where !server.course.isOver {
            let rest = try server.feed(bytes[start..<end])
            start = end - rest
        }
        try server.finish()
        return server.course
    }

    /// A real client, of whose bytes some are changed: the input is triples of a place (two bytes)
    /// and what is added to the byte there.
    private static func tamper(_ input: FuzzInput, _ engine: TLSEngine) throws(Finding) {
        guard let server = ServerEnd(engine),
            let client = HelloClient(isOld: input.has(1), resumes: input.has(2))
        else { throw Finding("there is memory") }
        var edits: [Int: UInt8] = [:]
        for index in stride(from: 0, to: input.bytes.count - 2, by: 3).prefix(64) {
            let place = Int(input.bytes[index]) << 8 | Int(input.bytes[index + 1])
            if input.bytes[index + 2] != 0 { edits[place] = input.bytes[index + 2] }
        }
        let text = Array("what the client wrote".utf8)
        var sent = 0
        var isTouched = false
        var hasWritten = false
        var said: [UInt8] = []
        for _ in 0..<8 where !server.course.isOver {
            let writes = client.isOpen && !hasWritten
            var bytes = client.step(said, writing: writes ? text : [])
            hasWritten = hasWritten || writes
            if hasWritten { bytes += client.close() }
            for index in bytes.indices {
                guard let edit = edits[sent + index] else { continue }
                bytes[index] &+= edit
                isTouched = true
            }
            sent += bytes.count
            _ = try server.feed(bytes[...])
            said = server.take()
        }
        try server.finish()
        let received = server.course.received
        try hold(text.starts(with: received), "nothing is received that was not sent: \(received)")
        if !isTouched {
            try hold(server.course.isOpen && received == text, "an honest client is served")
        }
    }
}

/// What a session came to.
struct ServerCourse: Equatable {
    var step = TLSSession.Step.wantsInput
    var isOpen = false
    var received: [UInt8] = []

    var isOver: Bool { step == .failed || step == .closed }
}

/// A server session, fed as a worker does it.
private final class ServerEnd {
    private let engine: TLSEngine
    private let session: TLSSession
    private(set) var course = ServerCourse()
    private var said: [UInt8] = []

    init?(_ engine: TLSEngine) {
        guard let session = engine.makeServerSession() else { return nil }
        self.engine = engine
        self.session = session
    }

    deinit { session.free() }

    /// - Returns: bytes that were left, to be offered again.
    func feed(_ bytes: ArraySlice<UInt8>) throws(Finding) -> Int {
        let rest = bytes.withUnsafeBytes { input in
            if let base = input.baseAddress { engine.wire.offer(base, count: input.count) }
            if !course.isOpen {
                course.step = session.handshake()
                course.isOpen = course.step == .done
            }
            if course.isOpen { read() }
            return engine.wire.takeInput().count
        }
        try hold(rest <= bytes.count, "no more is left than came in")
        try hold(course.step != .wantsInput || rest == 0, "who wants input has used all of it")
        try hold(engine.wire.outputCount <= Wire.outCapacity, "the output is bounded")
        try hold(course.step != .wantsOutput, "a handshake fits into the output")
        said += UnsafeRawBufferPointer(start: engine.wire.output, count: engine.wire.outputCount)
        engine.wire.clearOutput()
        // The caller takes the errors of a failure, no others.
        if course.step == .failed { _ = TLSFailure.takeErrorText() }
        try hold(ERR_peek_error() == 0, "no error is left for the next session")
        return rest
    }

    func take() -> [UInt8] {
        defer { said = [] }
        return said
    }

    func finish() throws(Finding) {
        if course.step == .failed, !course.isOpen {
            try hold(session.handshake() != .done, "what has failed never opens")
            _ = TLSFailure.takeErrorText()
        }
        session.closeNotify()
        engine.wire.clearOutput()
        ERR_clear_error()
    }

    private func read() {
        var block = [UInt8](repeating: 0, count: 16 << 10)
        for _ in 0..<1000 {
            var count = 0
            course.step = block.withUnsafeMutableBytes {
                // Not empty, so there is a base address.
                session.read(into: $0.baseAddress!, capacity: $0.count, count: &count)
            }
            guard course.step == .done else { return }
            course.received += block.prefix(count)
        }
    }
}
