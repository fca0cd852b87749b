internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// One admin connection. Every stage has a deadline, a longer one while the target works.
///
///     reading ──request──► answering ──reply──► writing ──► reading (keep-alive)
///        │ refused, deadline            └────────────┴──► lingering ──► closed
///
/// `lingering` has said everything and waits for the client to close, so that a reset does not
/// overtake the answer.
final class ControlConnection {
    private enum Stage {
        case reading
        case answering
        case writing(thenClose: Bool)
        case lingering
        case closed
    }

    private let loop: PollLoop
    private let descriptor: Int32
    private let deadline: Duration
    private let answer: (ControlRequestParser.Request, @escaping (ControlResponse) -> Void) -> Void
    private let didClose: () -> Void
    private var stage = Stage.reading
    private var parser = ControlRequestParser()
    private var outgoing: [UInt8] = []
    /// Behind `outgoing`.
    private var following: [UInt8] = []
    private var written = 0
    private var lingered = 0
    private var isStepping = false
    private var timer: TimerID?

    /// For the target, however long a reload takes; a client that waits for nothing holds a place.
    private static let answerDeadline: Duration = .seconds(120)
    /// Bytes of an unwanted body that are read and dropped before closing.
    private static let lingerBytesMax = 256 << 10

    /// - Parameter descriptor: non-blocking, owned from here on.
    init(
        loop: PollLoop, descriptor: Int32, deadline: Duration,
        answer:
            @escaping (
                ControlRequestParser.Request, @escaping (ControlResponse) -> Void
            ) -> Void,
        didClose: @escaping () -> Void
    ) {
        self.loop = loop
        self.descriptor = descriptor
        self.deadline = deadline
        self.answer = answer
        self.didClose = didClose
    }

    deinit {
        // The server lets go of closed connections only; a server that goes closes all.
        if case .closed = stage { return }
        Glibc.close(descriptor)
    }

    // MARK: - Life

    func start() {
        restartTimer()
        do {
            try loop.watch(descriptor, events: .readable) { [weak self] in self?.ready($0) }
        } catch {
            Log.warning("admin: \(error)")
            close()
        }
    }

    /// Says `response` and nothing more.
    func refuse(_ response: ControlResponse) {
        start()
        send(response, keepsAlive: false)
    }

    func close() {
        if case .closed = stage { return }
        stage = .closed
        if let timer { loop.cancel(timer) }
        timer = nil
        loop.unwatch(descriptor)
        Glibc.close(descriptor)
        didClose()
    }

    private func restartTimer(_ span: Duration? = nil) {
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(after: span ?? deadline) { [weak self] in self?.expired() }
    }

    private func expired() {
        timer = nil
        switch stage {
        case .reading where parser.isInRequest:
            send(.error(408, "the request did not come in time"), keepsAlive: false)
        case .reading, .writing, .lingering: close()
        case .answering: send(.error(504, "the daemon did not finish in time"), keepsAlive: false)
        case .closed: break
        }
    }

    // MARK: - Events

    private func ready(_ events: PollEvents) {
        switch stage {
        case .reading: read()
        case .writing: write()
        case .lingering: linger()
        case .answering:
            // Nothing is asked for while the target works: the client is gone in both ways.
            if !events.isDisjoint(with: [.error, .hangUp]) { close() }
        case .closed: break
        }
    }

    private func read() {
        var chunk = [UInt8](repeating: 0, count: 8 << 10)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count > 0 else {
            if count == 0 || (errno != EAGAIN && errno != EINTR) { close() }
            return
        }
        parser.receive(chunk[..<count])
        step()
    }

    /// Answers what has come. A loop, not a recursion: a client may send many requests at once.
    private func step() {
        guard !isStepping else { return }
        isStepping = true
        defer { isStepping = false }
        while case .reading = stage, takeStep() {}
    }

    /// False: more bytes are needed.
    private func takeStep() -> Bool {
        switch parser.next() {
        case .needsMore: return false
        case .wantsContinue:
            // Few bytes into an empty send buffer: if they do not fit, the deadline ends it.
            _ = ControlResponse.goOn.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL))
            }
        case .refused(let status, let text): send(.error(status, text), keepsAlive: false)
        case .request(let request):
            stage = .answering
            restartTimer(Self.answerDeadline)
            loop.change(descriptor, events: [])
            answer(request) { [weak self] in self?.reply($0, to: request) }
        }
        return true
    }

    private func reply(_ response: ControlResponse, to request: ControlRequestParser.Request) {
        guard case .answering = stage else { return }
        send(response, keepsAlive: request.keepsAlive, withBody: request.method != "HEAD")
    }

    private func send(_ response: ControlResponse, keepsAlive: Bool, withBody: Bool = true) {
        if case .closed = stage { return }
        outgoing = response.bytes(keepsAlive: keepsAlive, withBody: withBody)
        following = withBody ? response.more : []
        written = 0
        stage = .writing(thenClose: !keepsAlive)
        restartTimer()
        write()
    }

    private func write() {
        guard case .writing(let thenClose) = stage else { return }
        while written < outgoing.count {
            let count = outgoing.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress! + written, $0.count - written,
                    Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                written += count
            } else if errno == EAGAIN {
                return loop.change(descriptor, events: .writable)
            } else if errno != EINTR {
                return close()
            }
        }
        guard following.isEmpty else {
            (outgoing, following, written) = (following, [], 0)
            return write()
        }
        outgoing = []
        loop.change(descriptor, events: .readable)
        if thenClose {
            shutdown(descriptor, Int32(SHUT_WR))
            stage = .lingering
        } else {
            restartTimer()
            stage = .reading
            // What came behind the request is looked at now: no event will tell of it.
            step()
        }
    }

    private func linger() {
        var chunk = [UInt8](repeating: 0, count: 8 << 10)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        lingered += max(count, 0)
        if count <= 0 || lingered > Self.lingerBytesMax { close() }
    }
}
