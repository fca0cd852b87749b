internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// One connection of the pair link on the loop, made or accepted:
///
///     (connecting) ──► handshaking ──► open ──► leaving ──► ended
///          └────── deadline ─┴── failure, end of stream, too much ──► ended
///
/// Told to `owner` in this order: `secured` once, `received` any number of times, `ended` once
/// unless `close` was called. It holds at most about `outgoingMax` bytes that the peer has not
/// taken, answers to its pings among them.
final class PairConnection {
    enum Phase {
        case connecting, handshaking, open, leaving, ended
    }

    /// What happens, on the loop's thread, and never within `connect` or `accept`.
    struct Handlers {
        var secured: () -> Void
        var received: (PairFrames.Item) -> Void
        var violated: (PairViolation) -> Void
        var ended: (String) -> Void
    }

    private(set) var phase = Phase.ended
    let began = Instant.now()
    private let loop: PollLoop
    private let tls: PinnedTLS
    private var handlers: Handlers?
    private var session: TLSSession?
    private var descriptor: Int32 = -1
    private var frames = PairFrames()
    private var outgoing: [UInt8] = []
    private var sentCount = 0
    private var awaitsRoom = false
    private var deadline: TimerID?
    private var keyTimer: TimerID?
    /// Of what has come before the handshake was done.
    private var earlyBytes = 0
    private var handshakeMessages = 0

    /// TCP and TLS together; and for the last words when it leaves.
    static let handshakeMax = Duration.seconds(5)
    private static let leavingMax = Duration.seconds(1)
    /// A chain of one certificate takes about one KiB each way.
    private static let earlyBytesMax = 64 << 10
    static let outgoingMax = 4 << 20
    /// What was sent is let go of when it is more than this.
    private static let sentMax = 64 << 10
    private static let roundsMax = 8
    private static let pieceBytes = 16 << 10
    /// Seven of the handshake, then two key updates an hour; each costs us more than the peer
    /// (RFC 8446 §4.6.3).
    private static let handshakeMessagesMax = 64
    /// Between two changes of keys: what is recorded today stays closed if a key leaks tomorrow.
    private static let keyInterval = Duration.seconds(3600)

    init(loop: PollLoop, tls: PinnedTLS, handlers: Handlers) {
        self.loop = loop
        self.tls = tls
        self.handlers = handlers
    }

    deinit { release() }

    // MARK: - Begin

    /// From our own address: the peer takes nobody else's.
    func connect(from own: SocketAddress, to peer: SocketAddress) throws(SystemError) {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        descriptor = socket(peer.isIPv4 ? AF_INET : AF_INET6, kind, 0)
        guard descriptor >= 0 else { throw SystemError(errnoOf: "socket") }
        guard Self.kernelForm(own.with(port: 0), { bind(descriptor, $0, $1) }) == 0 else {
            throw SystemError(errnoOf: "bind", subject: own.addressText)
        }
        guard
            Self.kernelForm(peer, { Glibc.connect(descriptor, $0, $1) }) == 0
                || errno == EINPROGRESS
        else { throw SystemError(errnoOf: "connect", subject: "\(peer)") }
        phase = .connecting
        try begin(events: .writable)
    }

    /// Takes over an accepted socket, non-blocking; closes it whatever happens.
    func accept(_ socket: Int32) throws(SystemError) {
        descriptor = socket
        phase = .handshaking
        guard let made = tls.makeSession(isServer: true) else {
            throw SystemError("SSL_new", code: ENOMEM)
        }
        session = made
        try begin(events: .readable)
    }

    private func begin(events: PollEvents) throws(SystemError) {
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        try loop.watch(descriptor, events: events) { [weak self] in self?.ready($0) }
        deadline = loop.schedule(after: Self.handshakeMax) { [weak self] in
            guard let self else { return }
            deadline = nil
            end(phase == .connecting ? "connect: ETIMEDOUT" : "no TLS handshake in time")
        }
    }

    private static func kernelForm(
        _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var storage = sockaddr_storage()
        return withUnsafeMutablePointer(to: &storage) { pointer in
            address.write(to: pointer)
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(address.kernelByteCount))
            }
        }
    }

    private func connected() {
        var code: Int32 = 0
        var size = socklen_t(4)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        guard code == 0 else { return end("connect: \(errorName(code))") }
        guard let made = tls.makeSession(isServer: false) else { return end("no memory for TLS") }
        session = made
        phase = .handshaking
        loop.change(descriptor, events: .readable)
        continueHandshake()
    }

    // MARK: - Ends

    /// Sends what is left, for a moment, and is gone. Nothing is told any more.
    func close() {
        handlers = nil
        guard phase == .open, let session else { return release() }
        clearErrors()
        session.closeNotify()
        flushWire()
        flush()
        guard !outgoing.isEmpty, phase == .open else { return release() }
        phase = .leaving
        // What still comes is not read.
        loop.change(descriptor, events: .writable)
        // Holds itself until then.
        deadline = loop.schedule(after: Self.leavingMax) { self.release() }
    }

    private func end(_ reason: String) {
        guard phase != .ended else { return }
        let ended = handlers?.ended
        handlers = nil
        release()
        ended?(reason)
    }

    private func release() {
        phase = .ended
        for timer in [deadline, keyTimer].compactMap({ $0 }) { loop.cancel(timer) }
        deadline = nil
        keyTimer = nil
        session?.free()
        session = nil
        guard descriptor >= 0 else { return }
        loop.unwatch(descriptor)
        Glibc.close(descriptor)
        descriptor = -1
    }

    // MARK: - The socket

    private func ready(_ events: PollEvents) {
        switch phase {
        case .connecting: connected()
        case .handshaking, .open: if events != .writable { receive() }
        case .leaving:
            if events.contains(.error) || events.contains(.hangUp) { return release() }
            flush()
            if outgoing.isEmpty { release() }
            return
        case .ended: return
        }
        flush()
    }

    private func receive() {
        for _ in 0..<Self.roundsMax where phase == .handshaking || phase == .open {
            var count = 0
            withUnsafeTemporaryAllocation(byteCount: Self.pieceBytes, alignment: 8) { buffer in
                count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
                guard count > 0, let start = buffer.baseAddress else { return }
                consume(UnsafeRawPointer(start), count)
            }
            guard count > 0 else {
                if count == 0 { return end("the other node has closed the connection") }
                if errno == EAGAIN || errno == EINTR { return }
                return end("recv: \(errorName(errno))")
            }
            if count < Self.pieceBytes { return }
        }
    }

    private func consume(_ bytes: UnsafeRawPointer, _ count: Int) {
        if phase == .handshaking {
            earlyBytes += count
            guard earlyBytes <= Self.earlyBytesMax else { return end("TLS: too much") }
        }
        clearErrors()
        tls.wire.offer(bytes, count: count)
        if phase == .handshaking { continueHandshake() }
        if phase == .open { decrypt() }
        _ = tls.wire.takeInput()
        handshakeMessages += tls.wire.takeHandshakeMessages()
        if handshakeMessages > Self.handshakeMessagesMax { end("TLS: too many messages") }
    }

    private func flush() {
        while sentCount < outgoing.count {
            let count = outgoing[sentCount...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sentCount += count
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                // The next receive says what happened.
                sentCount = outgoing.count
            }
        }
        if sentCount == outgoing.count {
            outgoing.removeAll(keepingCapacity: outgoing.count < 1 << 16)
            sentCount = 0
        } else if sentCount > Self.sentMax {
            outgoing.removeFirst(sentCount)
            sentCount = 0
        }
        guard phase == .handshaking || phase == .open, awaitsRoom == outgoing.isEmpty else {
            return
        }
        awaitsRoom = !outgoing.isEmpty
        loop.change(descriptor, events: awaitsRoom ? [.readable, .writable] : .readable)
    }

    // MARK: - TLS

    private func continueHandshake() {
        guard let session else { return }
        clearErrors()
        switch step({ session.handshake() }) {
        case .done: secured()
        case .wantsInput, .wantsOutput: break
        case .closed: end("the other node has closed the connection")
        case .failed:
            let text = TLSFailure.takeErrorText()
            // The alert is for the peer.
            flush()
            end(
                tls.hasRefused(session)
                    ? "the other node shows another certificate than the pinned one"
                    : "TLS: \(text)")
        }
    }

    private func secured() {
        phase = .open
        if let deadline { loop.cancel(deadline) }
        deadline = nil
        scheduleKeys()
        handlers?.secured()
    }

    private func scheduleKeys() {
        keyTimer = loop.schedule(after: Self.keyInterval) { [weak self] in
            guard let self, phase == .open, let session else { return }
            session.updateKeys()
            handshakeMessages = 0
            scheduleKeys()
        }
    }

    private func decrypt() {
        withUnsafeTemporaryAllocation(byteCount: Self.pieceBytes, alignment: 8) { buffer in
            guard let start = buffer.baseAddress else { return }
            // Ticket keys have gone through it.
            defer { OPENSSL_cleanse(start, buffer.count) }
            while phase == .open, let session {
                var count = 0
                let result = step {
                    session.read(into: start, capacity: buffer.count, count: &count)
                }
                switch result {
                case .done: deliver(UnsafeRawBufferPointer(start: start, count: count))
                case .wantsInput, .wantsOutput: return
                case .closed: return end("the other node has closed the connection")
                case .failed: return end(Self.words(TLSFailure.takeErrorText()))
                }
            }
        }
    }

    /// A client learns only now that the server did not like its certificate (RFC 8446 §4.4.4).
    private static func words(_ text: String) -> String {
        text.contains("alert") ? "TLS: the other node refuses: \(text)" : "TLS: \(text)"
    }

    private func deliver(_ bytes: UnsafeRawBufferPointer) {
        frames.append(bytes)
        while phase == .open {
            let item: PairFrames.Item
            do throws(PairViolation) {
                guard let next = try frames.next() else { return }
                item = next
            } catch {
                handlers?.violated(error)
                return
            }
            handlers?.received(item)
            // Handlers may have used the wire; what is left of the input stays offered.
        }
    }

    /// Sends a message; on a link that is not open nothing happens. A peer that does not take what
    /// is sent loses the link.
    func send(_ message: PairMessage) {
        guard phase == .open, let session else { return }
        var bytes = message.encoded
        clearErrors()
        let result = bytes.withUnsafeMutableBytes { buffer -> TLSSession.Step in
            guard let start = buffer.baseAddress else { return .done }
            let result = step { session.write(start, count: buffer.count) }
            OPENSSL_cleanse(start, buffer.count)
            return result
        }
        guard result != .failed else { return endLater(Self.words(TLSFailure.takeErrorText())) }
        guard outgoing.count - sentCount <= Self.outgoingMax else {
            return endLater("the other node does not read")
        }
        flush()
    }

    /// Bytes in memory, and those of them that are still to be sent.
    var held: (all: Int, unsent: Int) { (outgoing.count, outgoing.count - sentCount) }

    /// Not within a call of the owner's.
    private func endLater(_ reason: String) {
        loop.schedule(at: loop.now) { [weak self] in self?.end(reason) }
    }

    /// A step, repeated with the wire emptied as long as it is full.
    private func step(_ body: () -> TLSSession.Step) -> TLSSession.Step {
        var result = body()
        flushWire()
        while result == .wantsOutput {
            result = body()
            flushWire()
        }
        return result
    }

    private func flushWire() {
        guard tls.wire.outputCount > 0 else { return }
        outgoing += UnsafeRawBufferPointer(start: tls.wire.output, count: tls.wire.outputCount)
        tls.wire.clearOutput()
    }

    /// What other users of OpenSSL on this thread have left would be taken for ours.
    private func clearErrors() { ERR_clear_error() }
}
