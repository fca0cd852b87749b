internal import CEdge
package import EdgeCore
package import EdgeRing

/// A kernel made of a script, for workers: descriptors are numbers that were never opened, and
/// what happens on them is what a test says. Submissions take effect in `step`, their completions
/// come with the turn after it, as they do from a ring whose completions are reaped once a turn.
///
/// Watches over the rules of the kernel that a worker must keep; a broken one is a line in
/// `violations`.
package final class ScriptedRing: Ring {
    /// One operation, from its submission until its final completion has been reaped.
    final class Pending {
        let token: CompletionToken
        let descriptor: Int32
        let kind: EdgeRing.Operation
        /// Its final completion has been posted.
        var isFinished = false
        /// A receive that only asks whether there is something.
        var isWatch = false
        /// A receive of one buffer.
        var isOnce = false
        /// What a cancel is for; nil: everything on the descriptor.
        var target: CompletionToken?
        /// What a send was given, and what it held then.
        var memory: UnsafeRawPointer?
        var content: [UInt8] = []

        init(_ token: CompletionToken, _ descriptor: Int32, _ kind: EdgeRing.Operation) {
            self.token = token
            self.descriptor = descriptor
            self.kind = kind
        }
    }

    enum Arrival {
        case bytes([UInt8])
        case end
        case failure(Int32)
    }

    /// What the script knows of one descriptor.
    final class Socket {
        let descriptor: Int32
        let address: SocketAddress?
        var isConnected: Bool
        var isClosed = false
        var wasReset = false
        var isSendingShut = false
        var sent: [UInt8] = []
        var sendCalls = 0
        /// Bytes that the socket takes until it is full.
        var room = Int.max
        var sendFailure: Int32?
        var arrivals: [Arrival] = []
        /// Most that was asked for at a time.
        var largestReceive = 0
        var isProbed = false
        /// What the kernel says of bytes under way.
        var unacknowledged = 0
        var silence: UInt64?
        /// What a connect comes to; nil: nothing yet.
        var connectResult: Int32?

        init(_ descriptor: Int32, _ address: SocketAddress?, isConnected: Bool) {
            self.descriptor = descriptor
            self.address = address
            self.isConnected = isConnected
        }
    }

    package private(set) var violations: [String] = []
    /// Descriptors in the order in which accept handed them out.
    package private(set) var accepted: [Int32] = []
    /// Descriptors in the order in which they were made for connects.
    package private(set) var opened: [Int32] = []
    /// What the next accepts fail with.
    package var acceptFailures: [Int32] = []
    /// Where a client's connection arrives.
    package var arrival: (SocketAddress) -> Int32 = { _ in 0 }
    /// The kernel's numbers of interfaces stand for what they did.
    package var interfacesRemain = true
    /// What the next sockets fail with.
    package var socketFailures: [Int32] = []
    /// How a connect ends; nil leaves it hanging until `connects`.
    package var connectPolicy: (SocketAddress) -> Int32? = { _ in 0 }
    /// Set: completions are held back and reordered at random, as far as the kernel may do it.
    package var disorder: SeededRandom?
    /// Cancels take no effect while set.
    package var holdsCancels = false

    private var sockets: [Int32: Socket] = [:]
    /// Those that are open, in the order of their descriptors.
    private var open: [Socket] = []
    private var pending: [UInt64: Pending] = [:]
    private var submitted: [UInt64] = []
    private var backlog: [Int32: [SocketAddress]] = [:]
    private var announced: Set<Int32> = []
    private var arriving: [Completion] = []
    private var ready: [Completion] = []
    private var freeBuffers: [UInt16]
    private var nextDescriptor: Int32 = 10_000
    private var mailCount: UInt64 = 0
    private var mailCell: UnsafeMutablePointer<UInt64>?

    package init(buffers: Int = 64) {
        freeBuffers = (0..<buffers).map { UInt16($0) }
        bufferTotal = buffers
        super.init(scripted: buffers)
    }
    private let bufferTotal: Int

    // MARK: - The script

    /// Clients wait in a listener's queue.
    ///
    /// - Parameter isAnnounced: false if nobody is told (another process took the wake-up).
    package func incoming(
        _ listener: Int32, _ peers: [SocketAddress], isAnnounced: Bool = true
    ) {
        backlog[listener, default: []] += peers
        if isAnnounced { announced.insert(listener) }
    }

    package func waiting(_ listener: Int32) -> Int { backlog[listener]?.count ?? 0 }

    /// Somebody waits in the queue of a listener.
    package var isAwaited: Bool { backlog.values.contains { !$0.isEmpty } }

    package func receives(_ descriptor: Int32, _ bytes: some Sequence<UInt8>) {
        let content = Array(bytes)
        // Nothing is not something that a kernel reports; as a result it would be an end.
        if !content.isEmpty { sockets[descriptor]?.arrivals.append(.bytes(content)) }
    }

    package func receives(_ descriptor: Int32, _ text: String) {
        receives(descriptor, Array(text.utf8))
    }

    package func ends(_ descriptor: Int32) { sockets[descriptor]?.arrivals.append(.end) }

    package func fails(_ descriptor: Int32, _ number: Int32) {
        sockets[descriptor]?.arrivals.append(.failure(number))
    }

    /// Ends a connect that hangs.
    package func connects(_ descriptor: Int32, _ number: Int32 = 0) {
        sockets[descriptor]?.connectResult = -number
    }

    /// From now on the socket takes so many bytes until it is full.
    package func setRoom(_ descriptor: Int32, _ count: Int) { sockets[descriptor]?.room = count }

    /// The peer has acknowledged all but so many bytes.
    package func setUnacknowledged(_ descriptor: Int32, _ count: Int) {
        sockets[descriptor]?.unacknowledged = count
    }

    /// The peer has acknowledged nothing for so long; nil: nothing waits for it.
    package func setSilence(_ descriptor: Int32, _ span: Duration?) {
        sockets[descriptor]?.silence = span?.nanoseconds
    }

    package func isProbed(_ descriptor: Int32) -> Bool { sockets[descriptor]?.isProbed ?? false }

    /// The most that was received at a time by `tryReceive`; 0: never.
    package func largestReceive(_ descriptor: Int32) -> Int {
        sockets[descriptor]?.largestReceive ?? 0
    }

    /// Sends fail from now on.
    package func failsSending(_ descriptor: Int32, _ number: Int32) {
        sockets[descriptor]?.sendFailure = number
    }

    /// The mailbox's eventfd is written.
    package func wakes() { mailCount += 1 }

    /// Takes buffers away (as if another burst had them) until given back.
    package func hideBuffers(leaving count: Int) -> [UInt16] {
        let hidden = Array(freeBuffers.dropFirst(count))
        freeBuffers.removeLast(hidden.count)
        return hidden
    }

    package func unhideBuffers(_ buffers: [UInt16]) { freeBuffers += buffers }

    /// A completion that nobody waits for.
    package func stray(_ completion: Completion) { arriving.append(completion) }

    // MARK: - What came of it

    package func sent(to descriptor: Int32) -> [UInt8] { sockets[descriptor]?.sent ?? [] }

    /// Sends and forgets what was sent so far.
    package func takeSent(to descriptor: Int32) -> String {
        defer { sockets[descriptor]?.sent = [] }
        return String(decoding: sent(to: descriptor), as: UTF8.self)
    }

    package func takeBytes(to descriptor: Int32) -> [UInt8] {
        defer { sockets[descriptor]?.sent = [] }
        return sent(to: descriptor)
    }

    /// How many sends it took, both kinds.
    package func sendCalls(to descriptor: Int32) -> Int { sockets[descriptor]?.sendCalls ?? 0 }
    package func isClosed(_ descriptor: Int32) -> Bool { sockets[descriptor]?.isClosed ?? true }
    package func wasReset(_ descriptor: Int32) -> Bool { sockets[descriptor]?.wasReset ?? false }
    package func isSendingShut(_ descriptor: Int32) -> Bool {
        sockets[descriptor]?.isSendingShut ?? false
    }
    package func address(of descriptor: Int32) -> SocketAddress? { sockets[descriptor]?.address }

    /// Kinds of operations whose final completion has not been reaped.
    package func inFlight(_ descriptor: Int32) -> Set<EdgeRing.Operation> {
        Set(pending.values.filter { $0.descriptor == descriptor }.map(\.kind))
    }

    package func isReceiving(_ descriptor: Int32) -> Bool {
        find(descriptor, .receive)?.isFinished == false
    }

    package func isConnecting(_ descriptor: Int32) -> Bool {
        find(descriptor, .connect)?.isFinished == false
    }

    package var openDescriptors: [Int32] { open.map(\.descriptor) }

    package var buffersLent: Int {
        bufferTotal - freeBuffers.count - arriving.count { $0.buffer != nil }
            - ready.count { $0.buffer != nil }
    }

    package var isQuiet: Bool { ready.isEmpty && arriving.isEmpty && submitted.isEmpty }

    // MARK: - The kernel

    /// Lets submissions take effect and hands over the completions for the next turn.
    package func step() {
        takeCancels()
        for socket in open {
            deliverArrivals(socket)
            takeSend(socket)
            finishConnect(socket)
        }
        announce()
        if mailCount > 0, let mail = pending.values.first(where: { $0.kind == .mail }) {
            mailCell?.pointee = mailCount
            mailCount = 0
            finish(mail, 8)
        }
        handOver()
    }

    private func takeCancels() {
        guard !holdsCancels else { return }
        let names = submitted
        submitted = []
        for name in names {
            guard let cancel = pending[name] else { continue }
            let victims: [Pending]
            if let target = cancel.target {
                victims = pending[target.bits].map { [$0] } ?? []
            } else {
                victims = pending.values.filter {
                    $0.descriptor == cancel.descriptor && $0.kind != .cancel
                }.sorted { $0.token.bits < $1.token.bits }
            }
            let alive = victims.filter { !$0.isFinished }
            for victim in alive { finish(victim, -ECANCELED) }
            finish(cancel, alive.isEmpty ? -ENOENT : 0)
        }
    }

    private func deliverArrivals(_ socket: Socket) {
        guard let receive = find(socket.descriptor, .receive) else { return }
        if receive.isWatch {
            if !receive.isFinished, !socket.arrivals.isEmpty { finish(receive, 1) }
            return
        }
        while !receive.isFinished, !socket.arrivals.isEmpty {
            switch socket.arrivals.removeFirst() {
            case .bytes(let bytes):
                guard let buffer = freeBuffers.popLast() else {
                    socket.arrivals.insert(.bytes(bytes), at: 0)
                    finish(receive, -ENOBUFS)
                    return
                }
                let piece = bytes.prefix(Ring.bufferBytes)
                piece.withUnsafeBytes {
                    if let start = $0.baseAddress {
                        self.bytes(of: buffer).copyMemory(from: start, byteCount: $0.count)
                    }
                }
                if piece.count < bytes.count {
                    socket.arrivals.insert(.bytes(Array(bytes[piece.endIndex...])), at: 0)
                }
                receive.isFinished = receive.isOnce
                arriving.append(
                    Completion(
                        token: receive.token, result: Int32(piece.count),
                        hasMore: !receive.isOnce, buffer: buffer))
            case .end: finish(receive, 0)
            case .failure(let number): finish(receive, -number)
            }
        }
    }

    private func takeSend(_ socket: Socket) {
        guard let send = find(socket.descriptor, .send), !send.isFinished,
            let memory = send.memory
        else { return }
        let now = UnsafeRawBufferPointer(start: memory, count: send.content.count)
        check(now.elementsEqual(send.content), "fd \(socket.descriptor): bytes changed in a send")
        if let failure = socket.sendFailure {
            finish(send, -failure)
            return
        }
        let count = min(socket.room, send.content.count)
        guard count > 0 else { return }
        take(socket, send.content.prefix(count))
        finish(send, Int32(count))
    }

    private func finishConnect(_ socket: Socket) {
        guard let connect = find(socket.descriptor, .connect), !connect.isFinished,
            let address = socket.address,
            let result = socket.connectResult ?? connectPolicy(address)
        else { return }
        socket.isConnected = result == 0
        finish(connect, result)
    }

    private func announce() {
        for watch in pending.values.sorted(by: { $0.token.bits < $1.token.bits })
        where watch.kind == .incoming && watch.target == nil && !watch.isFinished
            && announced.contains(watch.descriptor)
        {
            announced.remove(watch.descriptor)
            arriving.append(
                Completion(token: watch.token, result: 1, hasMore: true, buffer: nil))
        }
    }

    /// Completions of one operation keep their order; of two, any order is possible.
    private func handOver() {
        guard disorder != nil else {
            ready += arriving
            arriving = []
            return
        }
        var held: Set<UInt64> = []
        var kept: [Completion] = []
        var chosen: [Completion] = []
        for completion in arriving {
            let bits = completion.token.bits
            let isHeld = held.contains(bits) || disorder?.chance(1, of: 5) == true
            if isHeld {
                held.insert(bits)
                kept.append(completion)
            } else {
                chosen.append(completion)
            }
        }
        arriving = kept
        while !chosen.isEmpty {
            var index = Int((disorder?.next() ?? 0) % UInt64(chosen.count))
            let bits = chosen[index].token.bits
            index = chosen.firstIndex { $0.token.bits == bits } ?? index
            ready.append(chosen.remove(at: index))
        }
    }

    private func finish(_ operation: Pending, _ result: Int32) {
        operation.isFinished = true
        arriving.append(
            Completion(token: operation.token, result: result, hasMore: false, buffer: nil))
    }

    private func find(_ descriptor: Int32, _ kind: EdgeRing.Operation) -> Pending? {
        pending.values.first { $0.descriptor == descriptor && $0.kind == kind }
    }

    private func take(_ socket: Socket, _ bytes: some Collection<UInt8>) {
        socket.sent += bytes
        if socket.room != .max { socket.room -= bytes.count }
    }

    // MARK: - Rules

    private func check(_ isKept: Bool, _ rule: @autoclosure () -> String) {
        if !isKept { violations.append(rule()) }
    }

    @discardableResult
    private func submit(
        _ token: CompletionToken, _ descriptor: Int32, _ kind: EdgeRing.Operation
    ) -> Pending {
        let operation = Pending(token, descriptor, kind)
        check(pending[token.bits] == nil, "fd \(descriptor): \(kind) has a token in use")
        if kind != .incoming, kind != .mail {
            check(
                sockets[descriptor]?.isClosed == false, "fd \(descriptor): \(kind) after close")
            let others = pending.values.contains {
                $0.token.slot == token.slot && $0.descriptor != descriptor
                    && $0.kind != .incoming && $0.kind != .mail
            }
            check(!others, "fd \(descriptor): slot \(token.slot) has operations of another user")
            check(token.operation == kind, "fd \(descriptor): \(kind) has another's token")
        }
        pending[token.bits] = operation
        return operation
    }

    // MARK: - Ring

    package override func receive(_ token: CompletionToken, from descriptor: Int32) {
        check(find(descriptor, .receive) == nil, "fd \(descriptor): two receives at once")
        check(
            sockets[descriptor]?.isConnected == true, "fd \(descriptor): receive before connect")
        submit(token, descriptor, .receive)
    }

    package override func receiveOnce(_ token: CompletionToken, from descriptor: Int32) {
        check(find(descriptor, .receive) == nil, "fd \(descriptor): two receives at once")
        check(
            sockets[descriptor]?.isConnected == true, "fd \(descriptor): receive before connect")
        submit(token, descriptor, .receive).isOnce = true
    }

    package override func watchReadable(_ token: CompletionToken, on descriptor: Int32) {
        check(find(descriptor, .receive) == nil, "fd \(descriptor): two receives at once")
        check(
            sockets[descriptor]?.isConnected == true, "fd \(descriptor): receive before connect")
        submit(token, descriptor, .receive).isWatch = true
    }

    package override func tryReceive(
        from descriptor: Int32, into bytes: UnsafeMutableRawPointer, capacity: Int
    ) -> Int {
        guard let socket = sockets[descriptor] else { return -Int(EBADF) }
        check(!socket.isClosed, "fd \(descriptor): receive after close")
        check(find(descriptor, .receive) == nil, "fd \(descriptor): receives past a receive")
        socket.largestReceive = max(socket.largestReceive, capacity)
        var count = 0
        // Like the kernel: what has come in pieces is taken as one stream.
        while count < capacity, let arrival = socket.arrivals.first {
            guard case .bytes(let content) = arrival else { break }
            let piece = content.prefix(capacity - count)
            piece.withUnsafeBytes {
                if let start = $0.baseAddress {
                    (bytes + count).copyMemory(from: start, byteCount: $0.count)
                }
            }
            count += piece.count
            socket.arrivals.removeFirst()
            if piece.count < content.count {
                socket.arrivals.insert(.bytes(Array(content[piece.endIndex...])), at: 0)
            }
        }
        guard count == 0 else { return count }
        guard !socket.arrivals.isEmpty else { return -Int(EAGAIN) }
        switch socket.arrivals.removeFirst() {
        case .bytes, .end: return 0
        case .failure(let number): return -Int(number)
        }
    }

    package override func probeWhenSilent(_ descriptor: Int32) {
        sockets[descriptor]?.isProbed = true
    }

    package override func arrivalInterface(of descriptor: Int32) -> Int32 {
        sockets[descriptor]?.address.map(arrival) ?? 0
    }

    package override func isInterface(
        _ index: Int32, named name: SIMD16<UInt8>, socket descriptor: Int32
    ) -> Bool { interfacesRemain }

    package override func localAddress(of descriptor: Int32) -> SocketAddress? {
        SocketAddress(ipv4: 0x0A00_0101, port: 443)
    }

    package override func silence(of descriptor: Int32) -> UInt64? {
        sockets[descriptor]?.silence
    }

    package override func unacknowledged(_ descriptor: Int32) -> Int? {
        sockets[descriptor]?.unacknowledged
    }

    package override func send(
        _ token: CompletionToken, to descriptor: Int32, _ bytes: UnsafeRawPointer, count: Int
    ) {
        check(find(descriptor, .send) == nil, "fd \(descriptor): two sends at once")
        check(
            sockets[descriptor]?.isSendingShut == false, "fd \(descriptor): send after shutdown")
        check(count > 0, "fd \(descriptor): send of nothing")
        sockets[descriptor]?.sendCalls += 1
        let operation = submit(token, descriptor, .send)
        operation.memory = bytes
        operation.content = Array(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    package override func connect(
        _ token: CompletionToken, _ descriptor: Int32, to address: UnsafeRawPointer,
        byteCount: Int
    ) {
        let target = SocketAddress(kernel: address, byteCount: byteCount)
        check(
            target != nil && target == sockets[descriptor]?.address,
            "fd \(descriptor): connect to another address")
        submit(token, descriptor, .connect)
    }

    package override func cancelAll(_ token: CompletionToken, on descriptor: Int32) {
        submit(token, descriptor, .cancel)
        submitted.append(token.bits)
    }

    package override func cancel(_ token: CompletionToken, _ target: CompletionToken) {
        let descriptor = pending[target.bits]?.descriptor ?? -1
        check(descriptor >= 0, "cancel of what is not in flight")
        let kind = token.operation ?? .cancel
        submit(token, descriptor, kind).target = target
        submitted.append(token.bits)
    }

    package override func watchIncoming(_ token: CompletionToken, on descriptor: Int32) {
        submit(token, descriptor, .incoming)
        if waiting(descriptor) > 0 { announced.insert(descriptor) }
    }

    package override func readEvent(
        _ token: CompletionToken, from descriptor: Int32, into cell: UnsafeMutablePointer<UInt64>
    ) {
        mailCell = cell
        submit(token, descriptor, .mail)
    }

    package override func wait(atMost nanoseconds: UInt64) -> Int32? {
        step()
        return nil
    }

    package override func next() -> Completion? {
        guard !ready.isEmpty else { return nil }
        let completion = ready.removeFirst()
        if !completion.hasMore { pending[completion.token.bits] = nil }
        return completion
    }

    package override func returnBuffer(_ buffer: UInt16) {
        check(!freeBuffers.contains(buffer), "buffer \(buffer) given back twice")
        // What the kernel would do to it.
        bytes(of: buffer).initializeMemory(as: UInt8.self, repeating: 0xEE, count: 64)
        freeBuffers.append(buffer)
    }

    package override func accept(
        from listener: Int32
    ) -> (descriptor: Int32, peer: SocketAddress?) {
        if waiting(listener) > 0, !acceptFailures.isEmpty {
            return (-acceptFailures.removeFirst(), nil)
        }
        guard waiting(listener) > 0, let peer = backlog[listener]?.removeFirst() else {
            return (-EAGAIN, nil)
        }
        let socket = Socket(takeDescriptor(), peer, isConnected: true)
        sockets[socket.descriptor] = socket
        open.append(socket)
        accepted.append(socket.descriptor)
        return (socket.descriptor, peer)
    }

    package override func openSocket(for address: SocketAddress) -> Int32 {
        if !socketFailures.isEmpty { return -socketFailures.removeFirst() }
        let socket = Socket(takeDescriptor(), address, isConnected: false)
        sockets[socket.descriptor] = socket
        open.append(socket)
        opened.append(socket.descriptor)
        return socket.descriptor
    }

    private func takeDescriptor() -> Int32 {
        nextDescriptor += 1
        return nextDescriptor
    }

    package override func trySend(
        to descriptor: Int32, _ bytes: UnsafeRawPointer, count: Int
    ) -> Int {
        guard let socket = sockets[descriptor] else { return -Int(EBADF) }
        check(!socket.isClosed, "fd \(descriptor): send after close")
        check(!socket.isSendingShut, "fd \(descriptor): send after shutdown")
        check(socket.isConnected, "fd \(descriptor): send before connect")
        check(find(descriptor, .send) == nil, "fd \(descriptor): overtakes a send in flight")
        socket.sendCalls += 1
        if let failure = socket.sendFailure { return -Int(failure) }
        let taken = min(socket.room, count)
        guard taken > 0 else { return -Int(EAGAIN) }
        take(socket, UnsafeRawBufferPointer(start: bytes, count: taken))
        return taken
    }

    package override func shutdownSending(_ descriptor: Int32) {
        check(find(descriptor, .send) == nil, "fd \(descriptor): shutdown before the last send")
        check(
            sockets[descriptor]?.isClosed == false, "fd \(descriptor): shutdown after close")
        sockets[descriptor]?.isSendingShut = true
    }

    package override func close(_ descriptor: Int32, reset: Bool) {
        check(sockets[descriptor]?.isClosed == false, "fd \(descriptor): closed twice")
        let kinds = inFlight(descriptor)
        check(kinds.isEmpty, "fd \(descriptor): closed with \(kinds) in flight")
        sockets[descriptor]?.isClosed = true
        sockets[descriptor]?.wasReset = reset
        open.removeAll { $0.descriptor == descriptor }
    }
}
