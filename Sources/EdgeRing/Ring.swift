internal import CEdge
public import EdgeCore
internal import Glibc

/// A worker's only door to the kernel: one io_uring with a ring of provided receive buffers, and
/// the few direct system calls that are cheaper than a ring operation (accept4 after a poll, a
/// first send). Created and used on one thread (single issuer, deferred task run).
///
/// Open so that tests can put a scripted kernel in its place; a call costs one table jump.
open class Ring {
    /// Bytes of one provided buffer: a TLS record of small requests fits, two hold a full record.
    public static let bufferBytes = 16 * 1024
    private static let group: UInt16 = 0

    private let ring: UnsafeMutablePointer<io_uring>?
    private let bufferRing: UnsafeMutablePointer<io_uring_buf_ring>?
    private let bufferRingBytes: Int
    private let bufferMemory: UnsafeMutableRawPointer?
    /// Provided buffers, of `bufferBytes` each.
    public let bufferCount: Int
    /// Completions taken from the ring and not yet given back to the kernel.
    private var head: UInt32 = 0
    private var tail: UInt32 = 0
    private var buffersToReturn: Int32 = 0
    /// Where accept4 puts the client's address.
    private let addressScratch: UnsafeMutableRawPointer

    /// - Parameters:
    ///   - entries: submission entries, a power of two; the completion queue has 16 times as many.
    ///   - bufferCount: provided buffers, a power of two ≤ 32,768.
    /// - Throws: what the kernel lacks or forbids.
    public init(entries: UInt32 = 512, bufferCount: Int = 256) throws(RingError) {
        addressScratch = .allocate(byteCount: 64, alignment: 16)
        self.bufferCount = bufferCount
        let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
        ring.initialize(to: io_uring())
        var parameters = io_uring_params()
        parameters.flags =
            UInt32(IORING_SETUP_SINGLE_ISSUER) | UInt32(IORING_SETUP_DEFER_TASKRUN)
            | UInt32(IORING_SETUP_SUBMIT_ALL) | UInt32(IORING_SETUP_CQSIZE)
        parameters.cq_entries = entries * 16
        let status = io_uring_queue_init_params(entries, ring, &parameters)
        guard status == 0 else {
            throw .from(
                errno: -status, call: "io_uring_setup", needs: "deferred task run (6.1)")
        }
        self.ring = ring
        bufferRingBytes = bufferCount * MemoryLayout<io_uring_buf>.stride
        let memory = mmap(
            nil, bufferRingBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        let data = mmap(
            nil, bufferCount * Self.bufferBytes, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED, let data, data != MAP_FAILED else {
            throw .noMemory
        }
        bufferMemory = data
        bufferRing = memory.bindMemory(to: io_uring_buf_ring.self, capacity: 1)
        var registration = io_uring_buf_reg()
        registration.ring_addr = UInt64(UInt(bitPattern: memory))
        registration.ring_entries = UInt32(bufferCount)
        registration.bgid = Self.group
        let registered = io_uring_register_buf_ring(ring, &registration, 0)
        guard registered == 0 else {
            throw .from(
                errno: -registered, call: "io_uring_register", needs: "provided buffers (5.19)")
        }
        for index in 0..<bufferCount { returnBuffer(UInt16(index)) }
        flushBuffers()
    }

    /// For scripted rings: no kernel behind it.
    public init(scripted bufferCount: Int) {
        ring = nil
        bufferRing = nil
        bufferRingBytes = 0
        self.bufferCount = bufferCount
        bufferMemory = .allocate(byteCount: bufferCount * Self.bufferBytes, alignment: 16)
        addressScratch = .allocate(byteCount: 64, alignment: 16)
    }

    deinit {
        addressScratch.deallocate()
        if let ring {
            io_uring_queue_exit(ring)
            ring.deallocate()
            munmap(bufferRing, bufferRingBytes)
            munmap(bufferMemory, bufferCount * Self.bufferBytes)
        } else {
            bufferMemory?.deallocate()
        }
    }

    /// Asks the kernel for every operation that a worker submits.
    ///
    /// - Throws: `.operationsMissing`, or why no ring could be made at all.
    public static func probe() throws(RingError) {
        let ring = try Ring(entries: 8, bufferCount: 8)
        guard let probe = io_uring_get_probe_ring(ring.ring) else {
            throw .unexpected(call: "io_uring_register(PROBE)", errno: EINVAL)
        }
        defer { io_uring_free_probe(probe) }
        let needed: [(String, io_uring_op)] = [
            ("RECV", IORING_OP_RECV), ("SEND", IORING_OP_SEND), ("CONNECT", IORING_OP_CONNECT),
            ("ASYNC_CANCEL", IORING_OP_ASYNC_CANCEL), ("POLL_ADD", IORING_OP_POLL_ADD),
            ("READ", IORING_OP_READ),
        ]
        let missing = needed.filter {
            io_uring_opcode_supported(probe, Int32($0.1.rawValue)) == 0
        }
        guard missing.isEmpty else { throw .operationsMissing(missing.map(\.0)) }
    }

    // MARK: - Submitting (batched: the kernel sees them at the next wait)

    /// Receives into provided buffers until an error, the end or a cancel.
    open func receive(_ token: CompletionToken, from descriptor: Int32) {
        let entry = nextEntry()
        io_uring_prep_recv_multishot(entry, descriptor, nil, 0, 0)
        entry.pointee.flags |= CE_SQE_BUFFER_SELECT
        entry.pointee.buf_group = Self.group
        entry.pointee.user_data = token.bits
    }

    /// Receives into one provided buffer. A receive that goes on takes up to 32 of them (Linux)
    /// before anybody can say that he wants no more.
    open func receiveOnce(_ token: CompletionToken, from descriptor: Int32) {
        let entry = nextEntry()
        io_uring_prep_recv(entry, descriptor, nil, 0, 0)
        entry.pointee.flags |= CE_SQE_BUFFER_SELECT
        entry.pointee.buf_group = Self.group
        entry.pointee.user_data = token.bits
    }

    /// Sends; `bytes` must stay until the completion.
    open func send(
        _ token: CompletionToken, to descriptor: Int32, _ bytes: UnsafeRawPointer, count: Int
    ) {
        let entry = nextEntry()
        io_uring_prep_send(entry, descriptor, bytes, count, Int32(MSG_NOSIGNAL))
        entry.pointee.user_data = token.bits
    }

    /// Connects to the kernel's form of an address, which must stay until the completion.
    open func connect(
        _ token: CompletionToken, _ descriptor: Int32, to address: UnsafeRawPointer,
        byteCount: Int
    ) {
        let entry = nextEntry()
        io_uring_prep_connect(
            entry, descriptor, address.assumingMemoryBound(to: sockaddr.self),
            socklen_t(byteCount))
        entry.pointee.user_data = token.bits
    }

    /// Cancels all that is in flight on the descriptor. Its completion says nothing of when
    /// theirs come; they end with -ECANCELED or with what they had got.
    open func cancelAll(_ token: CompletionToken, on descriptor: Int32) {
        let entry = nextEntry()
        io_uring_prep_cancel_fd(entry, descriptor, UInt32(IORING_ASYNC_CANCEL_ALL))
        entry.pointee.user_data = token.bits
    }

    /// Cancels the operation that `target` names.
    open func cancel(_ token: CompletionToken, _ target: CompletionToken) {
        let entry = nextEntry()
        io_uring_prep_cancel64(entry, target.bits, 0)
        entry.pointee.user_data = token.bits
    }

    /// Reports whenever the listener has something to accept, until cancelled.
    open func watchIncoming(_ token: CompletionToken, on descriptor: Int32) {
        let entry = nextEntry()
        io_uring_prep_poll_multishot(entry, descriptor, UInt32(POLLIN))
        entry.pointee.user_data = token.bits
    }

    /// Reports once when the descriptor has something to receive, its end or an error: for those
    /// who then take much at a time with `tryReceive`.
    open func watchReadable(_ token: CompletionToken, on descriptor: Int32) {
        let entry = nextEntry()
        io_uring_prep_poll_add(entry, descriptor, UInt32(POLLIN))
        entry.pointee.user_data = token.bits
    }

    /// Reads eight bytes of an eventfd once into memory of the caller's.
    open func readEvent(
        _ token: CompletionToken, from descriptor: Int32, into cell: UnsafeMutablePointer<UInt64>
    ) {
        let entry = nextEntry()
        io_uring_prep_read(entry, descriptor, cell, 8, 0)
        entry.pointee.user_data = token.bits
    }

    // MARK: - Completions

    /// Submits what is queued and waits for a completion, at most `nanoseconds`.
    ///
    /// - Returns: nil, or an errno that is not a time-out or an interruption.
    open func wait(atMost nanoseconds: UInt64) -> Int32? {
        giveBackCompletions()
        var limit = __kernel_timespec(
            tv_sec: Int64(nanoseconds / 1_000_000_000), tv_nsec: Int64(nanoseconds % 1_000_000_000))
        var completion: UnsafeMutablePointer<io_uring_cqe>?
        let status = io_uring_submit_and_wait_timeout(ring!, &completion, 1, &limit, nil)
        head = ce_cq_head(ring!)
        tail = ce_cq_tail(ring!)
        switch -status {
        // EBUSY: the completion queue overflowed; reaping makes room and the next wait goes on.
        case ETIME, EINTR, EBUSY, EAGAIN: return nil
        case let number where number > 0: return number
        default: return nil
        }
    }

    /// The next completion of this turn; nil when the turn's are used up.
    open func next() -> Completion? {
        guard head != tail else { return nil }
        let entry = ce_cqe_at(ring!, head)!
        let flags = entry.pointee.flags
        let completion = Completion(
            token: CompletionToken(bits: entry.pointee.user_data),
            result: entry.pointee.res,
            hasMore: flags & UInt32(IORING_CQE_F_MORE) != 0,
            buffer: flags & UInt32(IORING_CQE_F_BUFFER) != 0
                ? UInt16(truncatingIfNeeded: flags >> CE_CQE_BUFFER_SHIFT) : nil)
        head &+= 1
        return completion
    }

    /// The bytes of a provided buffer, until it is given back.
    public func bytes(of buffer: UInt16) -> UnsafeMutableRawPointer {
        bufferMemory! + Int(buffer) * Self.bufferBytes
    }

    /// Gives a provided buffer back; the kernel may fill it from the next flush on.
    open func returnBuffer(_ buffer: UInt16) {
        io_uring_buf_ring_add(
            bufferRing!, bytes(of: buffer), UInt32(Self.bufferBytes), buffer,
            io_uring_buf_ring_mask(UInt32(bufferCount)), buffersToReturn)
        buffersToReturn += 1
        if buffersToReturn >= 32 { flushBuffers() }
    }

    private func flushBuffers() {
        guard buffersToReturn > 0 else { return }
        io_uring_buf_ring_advance(bufferRing!, buffersToReturn)
        buffersToReturn = 0
    }

    /// Publishes the reaped completions and returned buffers to the kernel.
    private func giveBackCompletions() {
        ce_cq_set_head(ring!, head)
        flushBuffers()
    }

    // MARK: - Direct system calls

    /// Takes one connection from a listener's queue without waiting. It has the listener's options.
    ///
    /// - Returns: the descriptor (close-on-exec, blocking: each call says MSG_DONTWAIT itself) or
    ///   a negated errno; the client's address if there was a connection.
    open func accept(from listener: Int32) -> (descriptor: Int32, peer: SocketAddress?) {
        var length = socklen_t(64)
        let descriptor = ce_accept4(
            listener, addressScratch, &length, Int32(SOCK_CLOEXEC.rawValue))
        guard descriptor >= 0 else { return (-errno, nil) }
        return (descriptor, SocketAddress(kernel: addressScratch, byteCount: Int(length)))
    }

    /// A TCP socket for a connect; negated errno on failure.
    open func openSocket(for address: SocketAddress) -> Int32 {
        let descriptor = Glibc.socket(
            address.isIPv4 ? AF_INET : AF_INET6,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return -errno }
        var on: Int32 = 1
        setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        return descriptor
    }

    /// Sends what the socket takes at once.
    ///
    /// - Returns: bytes taken, or a negated errno (-EAGAIN: none).
    open func trySend(
        to descriptor: Int32, _ bytes: UnsafeRawPointer, count: Int
    ) -> Int {
        let sent = Glibc.send(
            descriptor, bytes, count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        return sent >= 0 ? sent : -Int(errno)
    }

    /// Receives what has come, up to `capacity` bytes.
    ///
    /// - Returns: bytes received, 0 at the peer's end, or a negated errno (-EAGAIN: none yet).
    open func tryReceive(
        from descriptor: Int32, into bytes: UnsafeMutableRawPointer, capacity: Int
    ) -> Int {
        let count = Glibc.recv(descriptor, bytes, capacity, Int32(MSG_DONTWAIT))
        return count >= 0 ? count : -Int(errno)
    }

    /// Bytes that the kernel has taken from us and the peer has not acknowledged yet.
    ///
    /// - Returns: nil if the kernel does not tell.
    open func unacknowledged(_ descriptor: Int32) -> Int? {
        let count = ce_unacknowledged(descriptor)
        return count >= 0 ? Int(count) : nil
    }

    /// How long the peer's host has acknowledged nothing of what it should have, in nanoseconds: 0
    /// if that says nothing yet (an acknowledgement may take 40 ms, or a few round trips).
    ///
    /// - Returns: nil if nothing is unacknowledged, or the kernel does not tell.
    open func silence(of descriptor: Int32) -> UInt64? {
        let milliseconds = ce_silence(descriptor)
        return milliseconds >= 0 ? UInt64(milliseconds) * 1_000_000 : nil
    }

    /// Has the kernel probe a silent connection: a peer that is gone is known within 90 s.
    open func probeWhenSilent(_ descriptor: Int32) {
        for (level, option, value) in [
            (SOL_SOCKET, SO_KEEPALIVE, Int32(1)), (Int32(IPPROTO_TCP), TCP_KEEPIDLE, 30),
            (Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10), (Int32(IPPROTO_TCP), TCP_KEEPCNT, 6),
        ] {
            var value = value
            setsockopt(descriptor, level, option, &value, 4)
        }
    }

    /// The kernel's number of the interface that an accepted connection arrived on; 0: not known.
    open func arrivalInterface(of descriptor: Int32) -> Int32 { ce_arrival_interface(descriptor) }

    /// Whether the kernel's number still stands for the interface of that name: it may be renamed,
    /// or gone and its number another one's.
    ///
    /// - Parameters:
    ///   - name: its bytes, zeros behind them.
    ///   - descriptor: any socket of ours.
    // hot: once per connection with several views; a system call.
    open func isInterface(
        _ index: Int32, named name: SIMD16<UInt8>, socket descriptor: Int32
    ) -> Bool {
        withUnsafeBytes(of: name) { ce_is_interface(descriptor, index, $0.baseAddress) } != 0
    }

    /// The address of ours that a client has connected to; nil if the kernel does not tell.
    open func localAddress(of descriptor: Int32) -> SocketAddress? {
        var length = socklen_t(64)
        guard
            getsockname(
                descriptor, addressScratch.assumingMemoryBound(to: sockaddr.self), &length) == 0
        else { return nil }
        return SocketAddress(kernel: addressScratch, byteCount: Int(length))
    }

    /// Ends our direction of the connection (FIN after what was sent).
    open func shutdownSending(_ descriptor: Int32) {
        _ = Glibc.shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Closes; with `reset`, unsent bytes are thrown away and the peer sees an RST.
    open func close(_ descriptor: Int32, reset: Bool) {
        if reset {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(
                descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
        _ = Glibc.close(descriptor)
    }

    // MARK: - Entries

    private func nextEntry() -> UnsafeMutablePointer<io_uring_sqe> {
        if let entry = io_uring_get_sqe(ring!) { return entry }
        // The queue is full: let the kernel take it, which frees all of it at once.
        for _ in 0..<1000 {
            _ = submit()
            if let entry = io_uring_get_sqe(ring!) { return entry }
            // Out of memory for the moment, or completions waiting to be reaped.
            sched_yield()
        }
        brokenInvariant(
            "the kernel takes queued submissions", file: #fileID, line: #line)
    }

    private func submit() -> Int32 { io_uring_submit(ring!) }
}
