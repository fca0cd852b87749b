internal import CEdge
internal import EdgeCore
internal import EdgeRing

/// The least kernel that a worker can serve one client with: the client and one upstream are
/// numbers, a request's arrival is a copy, the upstream answers each send with the same bytes. Its
/// own instructions are few and the same for every request.
final class LoopRing: Ring {
    static let listener: Int32 = 100
    static let client: Int32 = 200
    private static let upstream: Int32 = 300
    private static let buffers = 16
    private static let queueMax = 64

    private let answer: [UInt8]
    private let queue: UnsafeMutablePointer<Completion>
    private var head = 0
    /// Up to here completions are this turn's.
    private var limit = 0
    private var count = 0
    private let free: UnsafeMutablePointer<UInt16>
    private var freeCount = 0
    private var isClientWaiting = false
    private var clientToken: CompletionToken?
    private var upstreamToken: CompletionToken?
    private var listenerToken: CompletionToken?
    /// What the client has been sent and not taken yet.
    let sent: UnsafeMutableRawPointer
    private(set) var sentCount = 0
    /// Descriptors closed: none, as long as all goes well.
    private(set) var closed = 0
    static let sentMax = 64 * 1024

    init(answer: [UInt8]) {
        self.answer = answer
        queue = .allocate(capacity: Self.queueMax)
        free = .allocate(capacity: Self.buffers)
        sent = .allocate(byteCount: Self.sentMax, alignment: 64)
        super.init(scripted: Self.buffers)
        for index in 0..<Self.buffers { returnBuffer(UInt16(index)) }
    }

    deinit {
        queue.deallocate()
        free.deallocate()
        sent.deallocate()
    }

    // MARK: - The script

    /// The client waits in the listener's queue.
    func connectClient() {
        isClientWaiting = true
        if let listenerToken { post(listenerToken, 1, buffer: nil, hasMore: true) }
    }

    /// Bytes of the client arrive.
    func arrive(_ bytes: UnsafeRawBufferPointer) {
        guard let clientToken else { return }
        deliver(clientToken, bytes)
    }

    func takeSent() { sentCount = 0 }

    /// What is posted by now is the next turn's.
    func step() { limit = count }

    var isQuiet: Bool { head == count }

    private func deliver(_ token: CompletionToken, _ content: UnsafeRawBufferPointer) {
        invariant(freeCount > 0 && content.count <= Ring.bufferBytes, "a buffer is free")
        freeCount -= 1
        let buffer = free[freeCount]
        bytes(of: buffer).copyMemory(from: content.baseAddress!, byteCount: content.count)
        post(token, Int32(content.count), buffer: buffer, hasMore: true)
    }

    private func post(_ token: CompletionToken, _ result: Int32, buffer: UInt16?, hasMore: Bool) {
        if head == count {
            head = 0
            limit = 0
            count = 0
        }
        invariant(count < Self.queueMax, "few completions wait")
        (queue + count).initialize(
            to: Completion(token: token, result: result, hasMore: hasMore, buffer: buffer))
        count += 1
    }

    // MARK: - Ring

    override func receive(_ token: CompletionToken, from descriptor: Int32) {
        if descriptor == Self.client { clientToken = token } else { upstreamToken = token }
    }

    override func receiveOnce(_ token: CompletionToken, from descriptor: Int32) {
        receive(token, from: descriptor)
    }

    override func watchIncoming(_ token: CompletionToken, on descriptor: Int32) {
        if descriptor == Self.listener { listenerToken = token }
    }

    override func accept(from listener: Int32) -> (descriptor: Int32, peer: SocketAddress?) {
        guard isClientWaiting else { return (-EAGAIN, nil) }
        isClientWaiting = false
        return (Self.client, SocketAddress(ipv4: 0xC000_0201, port: 40_000))
    }

    override func openSocket(for address: SocketAddress) -> Int32 { Self.upstream }

    override func connect(
        _ token: CompletionToken, _ descriptor: Int32, to address: UnsafeRawPointer,
        byteCount: Int
    ) {
        post(token, 0, buffer: nil, hasMore: false)
    }

    override func trySend(
        to descriptor: Int32, _ bytes: UnsafeRawPointer, count: Int
    ) -> Int {
        if descriptor == Self.client {
            invariant(sentCount + count <= Self.sentMax, "the client takes its answers")
            (sent + sentCount).copyMemory(from: bytes, byteCount: count)
            sentCount += count
        } else if let upstreamToken {
            answer.withUnsafeBytes { deliver(upstreamToken, $0) }
        }
        return count
    }

    override func next() -> Completion? {
        guard head < limit else { return nil }
        defer { head += 1 }
        return queue[head]
    }

    override func returnBuffer(_ buffer: UInt16) {
        free[freeCount] = buffer
        freeCount += 1
    }

    override func cancelAll(_ token: CompletionToken, on descriptor: Int32) {}
    override func cancel(_ token: CompletionToken, _ target: CompletionToken) {}
    override func probeWhenSilent(_ descriptor: Int32) {}
    override func unacknowledged(_ descriptor: Int32) -> Int? { 0 }
    override func silence(of descriptor: Int32) -> UInt64? { nil }
    override func arrivalInterface(of descriptor: Int32) -> Int32 { 2 }
    override func isInterface(
        _ index: Int32, named name: SIMD16<UInt8>, socket descriptor: Int32
    ) -> Bool { true }
    override func localAddress(of descriptor: Int32) -> SocketAddress? {
        SocketAddress(ipv4: 0x7F00_0001, port: 443)
    }
    override func shutdownSending(_ descriptor: Int32) {}
    override func close(_ descriptor: Int32, reset: Bool) { closed += 1 }
}
