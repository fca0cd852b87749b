internal import EdgeCore
package import EdgeLimits
internal import Synchronization

/// The way of what one worker has admitted to the control thread: a ring that only the worker
/// fills and only the control thread empties. No lock: neither ever waits for the other. What does
/// not fit is lost to the other node and counted; it is charged here all the same.
package final class AdmittedRing: Sendable {
    // Sendable: a slot is touched only by the worker until `tail` is past it, and then only by the
    // control thread until `head` is.
    private struct Memory: @unchecked Sendable {
        let slots: UnsafeMutablePointer<AdmittedJournal.Entry>
    }

    private let memory: Memory
    private let mask: Int
    /// How many have been taken. The control thread's to write.
    private let head = Atomic<Int>(0)
    /// How many have been put in. The worker's to write.
    private let tail = Atomic<Int>(0)
    /// The control thread knows that there is something.
    private let isAnnounced = Atomic<Bool>(false)
    private let lostCost = Atomic<UInt64>(0)

    /// Distinct limits and clients of two workers' turns within 50 ms, and room to spare: 256 KiB,
    /// of which what is used is touched.
    package static let usualCapacity = 8_192

    /// - Parameter capacity: a power of two.
    package init(capacity: Int = AdmittedRing.usualCapacity) {
        invariant(capacity > 0 && capacity & (capacity - 1) == 0, "a ring has 2^n slots")
        memory = Memory(slots: .allocate(capacity: capacity))
        mask = capacity - 1
    }

    // Entries are trivial: there is nothing to deinitialise.
    deinit { memory.slots.deallocate() }

    /// Sum of what did not fit, since the beginning.
    package var lost: UInt64 { lostCost.load(ordering: .relaxed) }

    // MARK: - The worker's

    // hot: once per turn that admits something; no allocation, no lock
    package func push(_ entry: AdmittedJournal.Entry) {
        let end = tail.load(ordering: .relaxed)
        guard end &- head.load(ordering: .acquiring) <= mask else { return lose(entry.cost) }
        (memory.slots + end & mask).initialize(to: entry)
        tail.store(end &+ 1, ordering: .releasing)
    }

    /// Costs that the other node will not hear of.
    package func lose(_ cost: some FixedWidthInteger) {
        lostCost.wrappingAdd(UInt64(truncatingIfNeeded: cost), ordering: .relaxed)
    }

    /// After `push`.
    ///
    /// - Returns: whether the control thread is to be told: it does not know yet.
    package func announce() -> Bool {
        !isAnnounced.exchange(true, ordering: .acquiringAndReleasing)
    }

    // MARK: - The control thread's

    /// Takes what is there. What is put in from now on is announced again.
    package func drain(_ body: (AdmittedJournal.Entry) -> Void) {
        // Before looking: who comes later than this look finds it down, and says so.
        _ = isAnnounced.exchange(false, ordering: .acquiringAndReleasing)
        let end = tail.load(ordering: .acquiring)
        var next = head.load(ordering: .relaxed)
        while next != end {
            body((memory.slots + next & mask).pointee)
            next &+= 1
        }
        head.store(next, ordering: .releasing)
    }
}

extension Worker {
    /// Distinct limits and clients that one turn may admit.
    private static let journalEntries = 1_024

    func useAdmitted(_ ring: AdmittedRing?) {
        admittedRing = ring
        admittedLost = 0
        admitted = AdmittedJournal(capacity: ring == nil ? 0 : Self.journalEntries)
    }

    /// At the end of a turn, and only if something was admitted that somebody wants to know.
    @inline(never)
    func tellAdmitted() {
        guard let ring = admittedRing else { return }
        let lost = admitted.lost
        admitted.drain { ring.push($0) }
        if lost > admittedLost { ring.lose(lost - admittedLost) }
        admittedLost = lost
        if ring.announce() { report(.admitted(worker: setup.index)) }
    }
}
