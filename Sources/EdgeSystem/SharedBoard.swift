internal import CEdge
package import EdgeCore
internal import Glibc

/// The memory that the guardian makes (a memfd), hands to each proxy and keeps over a proxy's
/// death: heartbeats, counters and the last log lines. A crash loses nothing that was counted.
///
/// Layout (version 1, all cells 64-bit and written whole): a header, then banks of one block for
/// the control thread (index 0) and each worker (1…), then the log ring. A block has one writer,
/// the thread it belongs to; anybody may read. A bank belongs to one proxy: while one binary
/// follows another, several count at the same time. Not page-size dependent.
package final class SharedBoard: @unchecked Sendable {
    // Sendable: the mapping lives as long as the object, cells are accessed only through atomic
    // loads and stores, and each has one writer (the log ring reserves by fetch-and-add).

    package static let version: UInt64 = 1
    private static let magic: UInt64 = 0x3144_5242_4547_4445  // "EDGEBRD1"
    private static let headerCells = 64
    private static let blockCells = 1024
    private static let counterBase = 64
    private static let reasonBase = 128
    private static let violationBase = 256
    private static let listenerBase = 512
    private static let timingBase = 640
    /// Cells of one histogram: its buckets and its sum.
    private static let timingCells = 32
    /// Listeners that have a cell: those of the configuration, half as many at most, and former
    /// ones that still have connections.
    package static let listenersMax = 128
    /// Proxies that count at a time: the one that serves and those that finish what they have.
    package static let banks = 4
    /// Bytes of log text kept; a power of two.
    private static let logBytes = 1 << 15

    /// Bytes of a board for so many workers.
    package static func byteCount(workers: Int) -> Int {
        (headerCells + blockCells * (workers + 1) * banks) * 8 + logBytes
    }

    /// What can be wrong with a board that another process made.
    package enum Failure: Error, Equatable {
        case notMapped(errno: Int32)
        case wrongLayout
    }

    /// Fixed cells at the start of each block.
    private enum Cell {
        static let heartbeat = 0
        static let thread = 1
        static let epoch = 2
        static let overloadedSince = 3
    }

    package let workers: Int
    /// Whose blocks `block` gives.
    package let bank: Int
    private let cells: UnsafeMutablePointer<UInt64>
    private let byteCount: Int

    /// Maps the board behind `descriptor` (a memfd of `byteCount(workers:)` bytes).
    ///
    /// - Parameters:
    ///   - bank: this process's; the guardian names banks where it asks for blocks.
    ///   - create: true in the guardian, which writes the header; the proxy checks it.
    /// - Throws: `.notMapped` if mmap fails, `.wrongLayout` if the header is not ours.
    package init(
        descriptor: Int32, workers: Int, bank: Int = 0, create: Bool
    ) throws(Failure) {
        guard (0..<Self.banks).contains(bank) else { throw .wrongLayout }
        let size = Self.byteCount(workers: workers)
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let memory, memory != MAP_FAILED else { throw .notMapped(errno: errno) }
        self.workers = workers
        self.bank = bank
        byteCount = size
        cells = memory.bindMemory(to: UInt64.self, capacity: size / 8)
        if create {
            cells[1] = Self.version
            cells[2] = UInt64(workers)
            ce_store_release64(cells, Self.magic)
        } else {
            guard ce_load_acquire64(cells) == Self.magic, cells[1] == Self.version,
                cells[2] == UInt64(workers)
            else {
                munmap(memory, size)
                throw .wrongLayout
            }
        }
    }

    deinit { munmap(cells, byteCount) }

    /// The block of the control thread (0) or a worker (1…).
    package func block(_ thread: Int, bank: Int? = nil) -> Block {
        invariant(thread >= 0 && thread <= workers, "a board has a block per thread")
        let row = (workers + 1) * (bank ?? self.bank) + thread
        return Block(cells: cells + Self.headerCells + Self.blockCells * row)
    }

    /// Of all proxies that have counted: what is summed is summed over these.
    package var allBlocks: [Block] {
        (0..<Self.banks).flatMap { bank in (0...workers).map { block($0, bank: bank) } }
    }

    /// Of this process's workers.
    package var workerBlocks: [Block] { (1...workers).map { block($0) } }

    /// A bank's proxy is gone, or its next one begins.
    package func resetForNewProcess(bank: Int) {
        for thread in 0...workers { block(thread, bank: bank).resetForNewProcess() }
    }

    /// One thread's cells. A trivial value: copy it into the thread's own state.
    package struct Block {
        fileprivate let cells: UnsafeMutablePointer<UInt64>

        // MARK: Heartbeat

        /// Called at the start of a turn with work to do.
        @inline(__always)
        package func beginTurn(_ now: Instant) {
            ce_store_relaxed64(cells + Cell.heartbeat, now.nanoseconds | 1)
        }

        /// Called before waiting in the kernel.
        @inline(__always)
        package func endTurn(_ now: Instant) {
            ce_store_relaxed64(cells + Cell.heartbeat, now.nanoseconds & ~1)
        }

        /// When the thread last changed between working and waiting, and which it does now.
        package var heartbeat: (at: Instant, busy: Bool) {
            let value = ce_load_relaxed64(cells + Cell.heartbeat)
            return (Instant(nanoseconds: value & ~1), value & 1 == 1)
        }

        /// Kernel thread id, so that the guardian can read its scheduling delay; 0 before start.
        package var thread: UInt64 {
            get { ce_load_relaxed64(cells + Cell.thread) }
            nonmutating set { ce_store_relaxed64(cells + Cell.thread, newValue) }
        }

        /// The newest snapshot this worker uses.
        package var epoch: UInt64 {
            get { ce_load_acquire64(cells + Cell.epoch) }
            nonmutating set { ce_store_release64(cells + Cell.epoch, newValue) }
        }

        /// Since when newcomers are refused for lack of time, in nanoseconds of `Instant`; 0: they
        /// are not.
        package var overloadedSince: UInt64 {
            get { ce_load_relaxed64(cells + Cell.overloadedSince) }
            nonmutating set { ce_store_relaxed64(cells + Cell.overloadedSince, newValue) }
        }

        // MARK: Counters

        @inline(__always)
        package func add(_ counter: Counter, _ amount: UInt64 = 1) {
            add(at: SharedBoard.counterBase + counter.rawValue, amount)
        }

        /// For gauges.
        @inline(__always)
        package func subtract(_ counter: Counter, _ amount: UInt64 = 1) {
            add(at: SharedBoard.counterBase + counter.rawValue, 0 &- amount)
        }

        package func set(_ counter: Counter, _ value: UInt64) {
            ce_store_relaxed64(cells + SharedBoard.counterBase + counter.rawValue, value)
        }

        package func value(_ counter: Counter) -> UInt64 {
            ce_load_relaxed64(cells + SharedBoard.counterBase + counter.rawValue)
        }

        package func add(_ reason: ReasonCode) {
            add(at: SharedBoard.reasonBase + Int(reason.rawValue), 1)
        }

        package func value(_ reason: ReasonCode) -> UInt64 {
            ce_load_relaxed64(cells + SharedBoard.reasonBase + Int(reason.rawValue))
        }

        /// Counts a framing violation by its index (`HTTP1Violation.rawValue`, below 256).
        package func addViolation(_ index: UInt8) {
            add(at: SharedBoard.violationBase + Int(index), 1)
        }

        package func violations(_ index: UInt8) -> UInt64 {
            ce_load_relaxed64(cells + SharedBoard.violationBase + Int(index))
        }

        /// Counts a span in its histogram.
        @inline(__always)
        package func observe(_ timing: Timing, _ nanoseconds: UInt64) {
            observe(timing, bucket: Timing.bucket(of: nanoseconds), nanoseconds)
        }

        /// The same where the span's bucket is known.
        @inline(__always)
        package func observe(_ timing: Timing, bucket: Int, _ nanoseconds: UInt64) {
            let base = SharedBoard.timingBase + SharedBoard.timingCells * timing.rawValue
            add(at: base + bucket, 1)
            add(at: base + Timing.bucketCount, nanoseconds)
        }

        /// How many spans fell into a bucket.
        package func value(_ timing: Timing, bucket: Int) -> UInt64 {
            ce_load_relaxed64(
                cells + SharedBoard.timingBase + SharedBoard.timingCells * timing.rawValue + bucket)
        }

        /// All spans together, in nanoseconds.
        package func sum(_ timing: Timing) -> UInt64 { value(timing, bucket: Timing.bucketCount) }

        /// Open connections of one listener (its number in the snapshot) on this worker.
        package func connections(listener: Int) -> UInt64 {
            ce_load_relaxed64(cells + SharedBoard.listenerBase + listener)
        }

        package func opened(listener: Int) {
            add(at: SharedBoard.listenerBase + listener, 1)
        }

        package func closed(listener: Int) {
            add(at: SharedBoard.listenerBase + listener, 0 &- 1)
        }

        /// A new proxy's gauges start at zero; its counters go on.
        package func resetForNewProcess() {
            ce_store_relaxed64(cells + Cell.heartbeat, 0)
            ce_store_relaxed64(cells + Cell.thread, 0)
            ce_store_relaxed64(cells + Cell.epoch, 0)
            ce_store_relaxed64(cells + Cell.overloadedSince, 0)
            for counter in Counter.allCases where counter.isGauge { set(counter, 0) }
            for listener in 0..<SharedBoard.listenersMax {
                ce_store_relaxed64(cells + SharedBoard.listenerBase + listener, 0)
            }
        }

        /// Single writer: a plain load and store, no locked instruction.
        @inline(__always)
        private func add(at index: Int, _ amount: UInt64) {
            ce_store_relaxed64(cells + index, ce_load_relaxed64(cells + index) &+ amount)
        }
    }

    // MARK: - Log ring

    private var logCursor: UnsafeMutablePointer<UInt64> { cells + 8 }
    private var logStart: UnsafeMutablePointer<UInt8> {
        UnsafeMutableRawPointer(
            cells + Self.headerCells + Self.blockCells * (workers + 1) * Self.banks
        )
        .assumingMemoryBound(to: UInt8.self)
    }

    /// Appends one line; safe from any thread of either process. The oldest text is overwritten.
    package func appendLog(_ line: String) {
        let bytes = Array(line.utf8.prefix(1000)) + [0x0A]
        let start = ce_fetch_add64(logCursor, UInt64(bytes.count))
        for (offset, byte) in bytes.enumerated() {
            logStart[Int((start &+ UInt64(offset)) & UInt64(Self.logBytes - 1))] = byte
        }
    }

    /// The newest lines, oldest first. A line being written at this moment may be cut or mixed.
    package func lastLogLines(_ count: Int) -> [String] {
        let end = ce_load_acquire64(logCursor)
        let length = min(end, UInt64(Self.logBytes))
        var text: [UInt8] = []
        text.reserveCapacity(Int(length))
        for position in (end - length)..<end {
            text.append(logStart[Int(position & UInt64(Self.logBytes - 1))])
        }
        var lines = text.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
        if end > length, !lines.isEmpty { lines.removeFirst() }
        return lines.suffix(count)
    }
}
