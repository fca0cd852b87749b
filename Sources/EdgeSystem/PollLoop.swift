internal import CEdge
package import EdgeCore
internal import Glibc
internal import Synchronization

/// What a descriptor is watched for, and what happened to it.
package struct PollEvents: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let readable = PollEvents(rawValue: 0x001)
    package static let writable = PollEvents(rawValue: 0x004)
    /// Reported whether asked for or not.
    package static let error = PollEvents(rawValue: 0x008)
    /// Both directions are closed. Reported whether asked for or not.
    package static let hangUp = PollEvents(rawValue: 0x010)
    /// The peer closed its writing half.
    package static let readHangUp = PollEvents(rawValue: 0x2000)
}

/// Names one scheduled body.
package struct TimerID: Hashable, Sendable {
    fileprivate let number: UInt64
}

/// The event loop of the cold paths (guardian, the proxy's control thread): descriptors, timers
/// and bodies from other threads, on one thread and one epoll. Level-triggered. Everything but
/// `post` and `poster` belongs to the thread that runs it.
package final class PollLoop {
    package typealias Handler = (PollEvents) -> Void

    /// The clock as read at the start of this turn.
    package private(set) var now: Instant
    /// Hands bodies to the loop from any thread.
    package let poster: Poster

    private let epoll: FileDescriptor
    private var watches: [Int32: Watch] = [:]
    private var lastGeneration: UInt32 = 0
    private var timers = TimerHeap()
    private var isStopped = false
    private var kernelHasNanoseconds = true
    private var ready = [epoll_event](repeating: epoll_event(), count: eventsPerTurnMax)

    /// Events taken from the kernel at once; the rest come with the next turn.
    private static let eventsPerTurnMax = 64

    private struct Watch {
        let generation: UInt32
        let handler: Handler
    }

    package init() throws(SystemError) {
        let fd = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard fd >= 0 else { throw SystemError(errnoOf: "epoll_create1") }
        epoll = FileDescriptor(owning: fd)
        poster = try Poster()
        now = Instant.now()
        let poster = poster
        try watch(poster.event, events: .readable) { _ in poster.runAll() }
    }

    // MARK: - Descriptors

    /// Calls `handler` when any of `events` holds, until `unwatch`. A descriptor that is watched
    /// already gets the new events and handler. Unwatch before closing: a descriptor that another
    /// process shares stays in the kernel's list when we close ours.
    package func watch(
        _ fd: Int32, events: PollEvents, handler: @escaping Handler
    ) throws(SystemError) {
        lastGeneration &+= 1
        let generation = lastGeneration
        if !control(EPOLL_CTL_ADD, fd, events, generation) {
            guard errno == EEXIST, control(EPOLL_CTL_MOD, fd, events, generation) else {
                throw SystemError(errnoOf: "epoll_ctl")
            }
        }
        watches[fd] = Watch(generation: generation, handler: handler)
    }

    /// Watches for other events, with the same handler. No effect if it is not watched.
    package func change(_ fd: Int32, events: PollEvents) {
        guard let watch = watches[fd] else { return }
        let isDone = control(EPOLL_CTL_MOD, fd, events, watch.generation)
        invariant(isDone, "a watched descriptor is known to epoll")
    }

    /// Events that were already taken from the kernel are not delivered either.
    package func unwatch(_ fd: Int32) {
        guard watches.removeValue(forKey: fd) != nil else { return }
        // EBADF or ENOENT: the descriptor was closed first, which removed it.
        _ = control(EPOLL_CTL_DEL, fd, [], 0)
    }

    package func isWatched(_ fd: Int32) -> Bool { watches[fd] != nil }

    private func control(
        _ operation: Int32, _ fd: Int32, _ events: PollEvents, _ generation: UInt32
    ) -> Bool {
        var event = epoll_event()
        event.events = events.rawValue
        event.data.u64 = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: fd))
        return epoll_ctl(epoll.raw, operation, fd, &event) == 0
    }

    // MARK: - Timers

    /// Runs `body` once, not before `instant`. Bodies due in the same turn run in order of time.
    @discardableResult
    package func schedule(at instant: Instant, _ body: @escaping () -> Void) -> TimerID {
        TimerID(number: timers.insert(at: instant, body))
    }

    /// `span` is counted from the moment of the call, not from the start of the turn.
    @discardableResult
    package func schedule(after span: Duration, _ body: @escaping () -> Void) -> TimerID {
        schedule(at: Instant.now().advanced(by: span), body)
    }

    /// No effect if it has run or was cancelled.
    package func cancel(_ timer: TimerID) { timers.remove(timer.number) }

    // MARK: - Running

    /// Runs `body` on the loop's thread, soon; safe from any thread.
    package func post(_ body: @escaping @Sendable () -> Void) { poster.post(body) }

    /// Turns until `stop`.
    package func run() {
        isStopped = false
        while !isStopped { runOnce(maxWait: nil) }
    }

    /// Makes `run` return after this turn. On the loop's thread; others post it.
    package func stop() { isStopped = true }

    /// One turn: waits for the first event or timer, at most `maxWait` (nil: without bound), then
    /// runs everything that is due.
    package func runOnce(maxWait: Duration?) {
        let before = Instant.now()
        var wait = maxWait?.nanoseconds
        if let due = timers.earliest {
            wait = min(wait ?? .max, due.nanoseconds(since: before))
        }
        let count = waitForEvents(wait)
        now = Instant.now()
        for index in 0..<count {
            let event = ready[index]
            let fd = Int32(truncatingIfNeeded: event.data.u64)
            // A handler before us may have unwatched it, or its number may be another file now.
            guard let watch = watches[fd],
                watch.generation == UInt32(event.data.u64 >> 32)
            else { continue }
            watch.handler(PollEvents(rawValue: event.events))
        }
        // A body may cancel one that is due as well; one scheduled now waits for the next turn.
        for number in timers.due(now) { timers.take(number)?() }
    }

    /// Nanoseconds to wait, nil: for ever. Rounded up where the kernel counts milliseconds.
    private func waitForEvents(_ nanoseconds: UInt64?) -> Int {
        let max = Int32(Self.eventsPerTurnMax)
        var count: Int32 = -1
        if kernelHasNanoseconds, let nanoseconds {
            // 30 years fit in any time_t and are for ever.
            let bounded = min(nanoseconds, 1_000_000_000_000_000_000)
            var span = timespec()
            span.tv_sec = Int(bounded / 1_000_000_000)
            span.tv_nsec = Int(bounded % 1_000_000_000)
            count = epoll_pwait2(epoll.raw, &ready, max, &span, nil)
            if count < 0, errno == ENOSYS { kernelHasNanoseconds = false }
        }
        if !kernelHasNanoseconds || nanoseconds == nil {
            let milliseconds = nanoseconds.map { Int32(min($0 / 1_000_000 + 1, 1 << 30)) } ?? -1
            count = epoll_wait(epoll.raw, &ready, max, milliseconds)
        }
        invariant(count >= 0 || errno == EINTR, "epoll waits on its own descriptor")
        return Int(Swift.max(count, 0))
    }
}

// MARK: - Other threads

extension PollLoop {
    /// Bodies from other threads, run in the order they came.
    package final class Poster: Sendable {
        fileprivate let event: Int32
        private let waiting = Mutex<[@Sendable () -> Void]>([])

        fileprivate init() throws(SystemError) {
            event = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
            guard event >= 0 else { throw SystemError(errnoOf: "eventfd") }
        }

        deinit { Glibc.close(event) }

        /// Runs `body` on the loop's thread, soon.
        package func post(_ body: @escaping @Sendable () -> Void) {
            let isFirst = waiting.withLock { bodies in
                bodies.append(body)
                return bodies.count == 1
            }
            if isFirst { eventfd_write(event, 1) }
        }

        fileprivate func runAll() {
            var value: eventfd_t = 0
            eventfd_read(event, &value)
            let bodies = waiting.withLock { bodies in
                defer { bodies = [] }
                return bodies
            }
            for body in bodies { body() }
        }
    }
}

// MARK: - Timers

/// Bodies by time: a binary heap. Cancelled entries stay until they are due or outnumber the rest.
private struct TimerHeap {
    private struct Entry {
        let at: Instant
        let number: UInt64

        func isBefore(_ other: Entry) -> Bool {
            at == other.at ? number < other.number : at < other.at
        }
    }

    private var entries: [Entry] = []
    private var bodies: [UInt64: () -> Void] = [:]
    private var lastNumber: UInt64 = 0

    /// When the first body is due; nil if there is none.
    var earliest: Instant? {
        mutating get {
            while let first = entries.first {
                if bodies[first.number] != nil { return first.at }
                removeFirst()
            }
            return nil
        }
    }

    mutating func insert(at instant: Instant, _ body: @escaping () -> Void) -> UInt64 {
        lastNumber += 1
        bodies[lastNumber] = body
        push(Entry(at: instant, number: lastNumber))
        return lastNumber
    }

    mutating func remove(_ number: UInt64) {
        guard bodies.removeValue(forKey: number) != nil else { return }
        guard entries.count > 2 * bodies.count + 64 else { return }
        let living = entries.filter { bodies[$0.number] != nil }
        entries = []
        for entry in living { push(entry) }
    }

    /// Numbers of the bodies due now, in order.
    mutating func due(_ now: Instant) -> [UInt64] {
        var numbers: [UInt64] = []
        while let first = entries.first, first.at <= now { numbers.append(removeFirst()) }
        return numbers
    }

    /// The body, to be run once; nil if it was cancelled.
    mutating func take(_ number: UInt64) -> (() -> Void)? { bodies.removeValue(forKey: number) }

    private mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].isBefore(entries[parent]) else { return }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    @discardableResult
    private mutating func removeFirst() -> UInt64 {
        let first = entries[0]
        entries[0] = entries[entries.count - 1]
        entries.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child].isBefore(entries[least]) { least = child }
            }
            guard least != parent else { return first.number }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
