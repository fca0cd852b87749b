internal import EdgeCore
internal import EdgeHTTP2
internal import EdgeRing

/// What has come of low priority and waits for the end of the turn, in the order it came in.
/// Bounded: a channel that has a few there is not received from.
struct Backlog {
    enum Entry {
        case completion(Completion)
        /// The same, whose bytes have been copied out of the ring's buffer.
        case copied(Completion, ChunkPointer)
        /// The channel holds plaintext whose turn has not come.
        case held(slot: Int32, generation: UInt32)
        /// Its deadline has passed; and how often it has given way to what came before or since.
        case due(slot: Int32, generation: UInt32, DeadlineKind, passes: UInt8)
    }

    private var entries: [(entry: Entry, since: Instant)] = []
    private var first = 0
    /// Of the ring's buffers, how many wait with it.
    private(set) var buffers = 0
    /// Copies of buffers that wait.
    private(set) var copies = 0

    var isEmpty: Bool { first == entries.count }
    /// When what has waited longest came; nil: nothing waits.
    var oldest: Instant? { isEmpty ? nil : entries[first].since }
    var waiting: [Entry] { entries[first...].map(\.entry) }

    mutating func append(_ entry: Entry, now: Instant) {
        count(entry, 1)
        entries.append((entry, now))
    }

    mutating func pop() -> Entry? {
        guard first < entries.count else { return nil }
        let entry = entries[first].entry
        first += 1
        count(entry, -1)
        if first == entries.count || first >= 1024 {
            entries.removeFirst(first)
            first = 0
        }
        return entry
    }

    private mutating func count(_ entry: Entry, _ change: Int) {
        switch entry {
        case .completion(let completion): if completion.buffer != nil { buffers += change }
        case .copied: copies += change
        case .held, .due: break
        }
    }
}

/// In a turn, what has come of views of low priority is dealt with behind all else, and for so
/// long only; then the ring is asked again. Whoever matters more waits for a slice of what the
/// others want, however much that is.
///
/// Only where a view has low priority; others pay one branch per completion.
extension Worker {
    /// Nanoseconds of a turn: some ten requests. A turn more per slice costs a fiftieth of that.
    static let lowPriorityTime: UInt64 = 200_000
    /// Input of an HTTP/2 session between two looks at the clock: at first, at least and at most.
    /// So little may be a dozen requests, so much is content that costs next to nothing.
    private static let pieceBytes = 512
    private static let pieceMin = 256
    private static let pieceMax = 8 * 1024
    /// As much as a record of TLS has, or a buffer of the ring; and the turns that it takes at
    /// most.
    private static let recordBytes = 16 * 1024
    private static let passesMax = UInt8(recordBytes / pieceMin)
    /// A piece that takes less time is followed by one of twice its size, else by one of half.
    private static let pieceTime: UInt64 = 20_000
    /// Completions of a channel that wait before it is no longer received from.
    private static let backlogMax = 2
    /// The same of an upstream's: what is not received from is not used again, for nobody would see
    /// that there is more than the answer. Most answers are of fewer pieces.
    private static let answerBacklogMax = 8
    /// The LAN has been heard of so recently that it may be again at any moment.
    private static let company: UInt64 = 100_000_000
    /// Of bulk of low priority in company: a round of 64 KiB takes as long as a few requests.
    private static let levelInCompany: UInt8 = 1

    // MARK: - Who waits

    /// Puts off a completion that is for the end of the turn. What comes of a channel stays in
    /// order.
    ///
    /// - Returns: false if it is to be handled now.
    // hot: once per completion of a worker whose views differ
    @inline(__always)
    func putOff(_ completion: Completion) -> Bool {
        guard completion.token.operation == .receive else { return false }
        let slot = completion.token.slot
        let channel = channels[slot]
        let isOurs =
            channel.pointee.generation & CompletionToken.generationMask
            == completion.token.generation
        guard isOurs, channel.pointee.backlogged > 0 || isForLowPriority(slot) else {
            return false
        }
        // The kernel lets go of it: its place and its descriptor are free at once.
        if channel.pointee.phase == .closing, channel.pointee.backlogged == 0 { return false }
        channel.pointee.backlogged += 1
        if !completion.hasMore { channel.pointee.flags.insert(.receiveOver) }
        let most = isDownstream(slot) ? Worker.backlogMax : Worker.answerBacklogMax
        if channel.pointee.backlogged >= most, completion.hasMore {
            stopReceiving(slot)
        }
        // Buffers are everybody's: they are not all to be kept here. As many copies as there are
        // buffers, though memory is scarce: that is no reason to let the others wait.
        if let buffer = completion.buffer, completion.result > 0,
            backlog.buffers >= ring.bufferCount / 4,
            !chunks.isScarce || !chunks.isShort && backlog.copies < ring.bufferCount,
            let chunk = chunks.take(Int(completion.result))
        {
            chunk.bytes.copyMemory(
                from: ring.bytes(of: buffer), byteCount: Int(completion.result))
            chunk.pointee.end = completion.result
            ring.returnBuffer(buffer)
            backlog.append(.copied(completion, chunk), now: now)
        } else {
            backlog.append(.completion(completion), now: now)
        }
        return true
    }

    /// A client of low priority, or an upstream that answers one.
    private func isForLowPriority(_ slot: Int) -> Bool {
        if isDownstream(slot) { return isLowPriority(slot) }
        let exchange = Int(upstream(slot).pointee.exchange)
        // What is being made for many is nobody's.
        guard exchange >= 0, !upstream(slot).pointee.isShared else { return false }
        let client = Int(exchanges[exchange].pointee.downstream)
        return client >= 0 && isLowPriority(client)
    }

    /// The most that a round of bulk may be.
    func bulkLevel(_ slot: Int) -> UInt8 {
        let level = max(channels[slot].pointee.receiveLevel, 1)
        guard shedsLoad, level > Worker.levelInCompany,
            now.nanoseconds(since: preferredAt) < Worker.company, isForLowPriority(slot)
        else { return level }
        return Worker.levelInCompany
    }

    /// Whether a completion that is not put off is about a request, or a connection, that is not of
    /// low priority. What multiplexes is everybody's, and what is closed nobody's.
    // hot: once per completion of a worker whose views differ
    @inline(__always)
    func isPreferred(_ completion: Completion) -> Bool {
        guard completion.token.operation == .receive else { return false }
        let slot = completion.token.slot
        guard channels[slot].pointee.phase != .closing else { return false }
        return isDownstream(slot) || upstream(slot).pointee.exchange >= 0
    }

    // MARK: - Their turn

    /// What waits, for as long as it may; a handshake and all else turn about.
    @inline(never)
    func moveLowPriority() {
        lowPriorityEnd = clock().advanced(byNanoseconds: Worker.lowPriorityTime)
        let hasHandshakes =
            deferredFirst < deferred.count && handshakeWait == 0
            && backlog.buffers <= ring.bufferCount / 2
        handshakesGo = hasHandshakes && (backlog.isEmpty || !handshakesGo)
        if handshakesGo { beginDeferred() } else { moveBacklog() }
        attendAll()
    }

    private func moveBacklog() {
        var count = 0
        while let entry = backlog.pop() {
            count &+= 1
            if count & 31 == 0 { block.beginTurn(Instant.now()) }
            switch entry {
            // A channel is not freed before its last completion: it is still the one that it was.
            case .completion(let completion):
                channels[completion.token.slot].pointee.backlogged -= 1
                completeReceive(completion.token.slot, completion)
            case .copied(let completion, let chunk):
                channels[completion.token.slot].pointee.backlogged -= 1
                completeReceive(completion.token.slot, completion, copied: chunk)
            case .held(let slot, let generation): goOn(Int(slot), generation)
            case .due(let slot, let generation, let kind, let passes):
                comeDue(Int(slot), generation, kind, passes)
            }
            // Without memory for copies it is done with what others need.
            if shedsLoad, clock() >= lowPriorityEnd, backlog.buffers <= ring.bufferCount / 2 {
                return
            }
        }
    }

    private func goOn(_ slot: Int, _ generation: UInt32) {
        let channel = channels[slot]
        guard isOpen(slot, generation), let session = channel.pointee.http2 else { return }
        links[slot].pointee.heldWaits = false
        guard channel.pointee.flags.contains(.holdsPlaintext) else { return }
        // Its turn comes when it has taken what waits for it (`http2Drained`).
        guard !isBlocked(slot) || session.queuedFrames <= Worker.framesQueuedMax else { return }
        resumeInput(slot)
        // At once: the clock is looked at between two of them.
        attend(slot)
    }

    /// What a session holds gets a turn, if it does not wait for one already.
    func callHeld(_ slot: Int) {
        guard !links[slot].pointee.heldWaits else { return }
        links[slot].pointee.heldWaits = true
        backlog.append(
            .held(slot: Int32(slot), generation: channels[slot].pointee.generation), now: now)
    }

    /// A deadline of low priority has passed. What came before it has been handled by now; what has
    /// come since goes first once, for it may be what was waited for.
    private func comeDue(
        _ slot: Int, _ generation: UInt32, _ kind: DeadlineKind, _ passes: UInt8
    ) {
        guard isOpen(slot, generation), channels[slot].pointee.deadlineKind == kind,
            wheel.deadline(of: slot) == .never
        else { return }
        let carrier = transport(slot)
        // What its session holds has come before; but it may hold something ever again.
        let isHeld =
            channels[carrier].pointee.flags.contains(.holdsPlaintext)
            && links[carrier].pointee.heldWaits && passes < Worker.passesMax
        guard !isHeld, passes > 0 || channels[carrier].pointee.backlogged == 0 else {
            backlog.append(
                .due(slot: Int32(slot), generation: generation, kind, passes: passes + 1),
                now: now)
            return
        }
        expire(slot)
    }

    /// Nobody is served any more.
    func dropBacklog() {
        while let entry = backlog.pop() {
            if case .copied(_, let chunk) = entry { chunks.give(chunk) }
        }
    }

    // MARK: - HTTP/2: much in one record

    /// A record of a client of low priority: hundreds of requests fit one. Limits on frames are
    /// looked at for all of it before the first of them is handled.
    func receiveInPieces(
        _ slot: Int, _ session: HTTP2Session, _ bytes: UnsafeRawBufferPointer
    ) -> HTTP2Session.Outcome {
        if let breach = session.examine(bytes, now: now) { return .breach(breach) }
        var chunk: ChunkPointer?
        return feedInPieces(slot, session, bytes, of: &chunk)
    }

    /// - Parameter chunk: whose bytes they are; nil once it is held for those that are left.
    private func feedInPieces(
        _ slot: Int, _ session: HTTP2Session, _ bytes: UnsafeRawBufferPointer,
        of chunk: inout ChunkPointer?
    ) -> HTTP2Session.Outcome {
        var rest = bytes
        var size = Worker.pieceBytes
        var start = rest.count > size ? clock() : now
        while rest.count > size {
            let outcome = session.feed(UnsafeRawBufferPointer(rebasing: rest[..<size]))
            guard case .open = outcome else { return outcome }
            rest = UnsafeRawBufferPointer(rebasing: rest[size...])
            let end = clock()
            if shedsLoad, end >= lowPriorityEnd, hold(slot, rest, of: &chunk) { return .open }
            let isCheap = end.nanoseconds(since: start) < Worker.pieceTime
            size = isCheap ? min(2 * size, Worker.pieceMax) : max(size / 2, Worker.pieceMin)
            start = end
        }
        return session.feed(rest)
    }

    /// - Returns: false if there is no memory for it: it has to go on.
    private func hold(
        _ slot: Int, _ bytes: UnsafeRawBufferPointer, of chunk: inout ChunkPointer?
    ) -> Bool {
        if let chunk {
            chunk.pointee.start = chunk.pointee.end - Int32(bytes.count)
        } else {
            // A record, though memory is scarce: it may be hundreds of requests.
            guard !chunks.isScarce || !chunks.isShort && bytes.count <= Worker.recordBytes,
                let copy = chunks.take(bytes.count), let start = bytes.baseAddress
            else { return false }
            copy.bytes.copyMemory(from: start, byteCount: bytes.count)
            copy.pointee.end = Int32(bytes.count)
            chunk = copy
        }
        links[slot].pointee.held = chunk
        chunk = nil
        channels[slot].pointee.flags.insert(.holdsPlaintext)
        pauseInput(slot)
        callHeld(slot)
        return true
    }

    /// Input is wanted again: what was held is first.
    func takeHeldPlaintext(_ slot: Int) {
        guard let chunk = releaseHeldPlaintext(slot) else { return }
        guard let session = channels[slot].pointee.http2 else {
            chunks.give(chunk)
            return
        }
        var left: ChunkPointer? = chunk
        let outcome = feedInPieces(
            slot, session, UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count),
            of: &left)
        if let left { chunks.give(left) }
        http2Fed(slot, session, outcome)
    }

    func dropHeldPlaintext(_ slot: Int) {
        if let chunk = releaseHeldPlaintext(slot) { chunks.give(chunk) }
    }

    private func releaseHeldPlaintext(_ slot: Int) -> ChunkPointer? {
        guard channels[slot].pointee.flags.contains(.holdsPlaintext) else { return nil }
        channels[slot].pointee.flags.remove(.holdsPlaintext)
        let chunk = links[slot].pointee.held
        links[slot].pointee.held = nil
        return chunk
    }

    // MARK: - Deadlines

    /// What is due: of low priority it waits behind what has come before it, so that nobody is cut
    /// for what we have and have not looked at.
    func expireDue() {
        while let slot = wheel.popExpired(now: now) {
            guard shedsLoad, isForLowPriority(slot) else {
                expire(slot)
                continue
            }
            let channel = channels[slot]
            backlog.append(
                .due(
                    slot: Int32(slot), generation: channel.pointee.generation,
                    channel.pointee.deadlineKind, passes: 0), now: now)
        }
    }
}
