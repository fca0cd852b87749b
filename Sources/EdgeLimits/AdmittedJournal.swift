import EdgeCore

/// What a worker has admitted since the other node was last told: per limit and client the sum of
/// costs. A fixed open-addressed table of the worker's own; when it is full, what is admitted is
/// lost to the other node (counted), never to this one.
package struct AdmittedJournal: Sendable {
    package struct Entry: Sendable, Hashable, BitwiseCopyable {
        package var identity: UInt64
        package var subject: LimitSubject
        package var cost: UInt32

        package init(identity: UInt64, subject: LimitSubject, cost: UInt32) {
            self.identity = identity
            self.subject = subject
            self.cost = cost
        }
    }

    /// Slots that an entry may be in.
    private static let probesMax = 16

    private var slots: [Entry]
    private var used: [Int32] = []
    /// False: nobody is to be told, nothing is kept.
    package private(set) var isOpen: Bool
    /// Costs that the other node was not told.
    package private(set) var lost: UInt64 = 0

    /// - Parameter capacity: entries until the next message, 0: no other node. A power of two.
    package init(capacity: Int) {
        invariant(capacity >= 0 && capacity & (capacity &- 1) == 0, "a journal has 2^n entries")
        isOpen = capacity > 0
        slots = Array(
            repeating: Entry(identity: 0, subject: LimitSubject(high: 0, low: 0), cost: 0),
            count: capacity)
        used.reserveCapacity(capacity)
    }

    /// Entries. Stored: a worker asks in every turn, and would count references to an array.
    package private(set) var count = 0

    // hot: no allocation
    package mutating func add(_ identity: UInt64, _ subject: LimitSubject, cost: UInt32) {
        guard isOpen, cost > 0 else { return }
        let mask = slots.count - 1
        let mixed = (identity ^ subject.high ^ subject.low) &* 0x9E37_79B9_7F4A_7C15
        var index = Int(truncatingIfNeeded: mixed >> 32) & mask
        for _ in 0..<min(Self.probesMax, slots.count) {
            if slots[index].cost == 0 {
                slots[index] = Entry(identity: identity, subject: subject, cost: cost)
                used.append(Int32(index))
                count = used.count
                return
            }
            if slots[index].identity == identity, slots[index].subject == subject {
                let (sum, overflow) = slots[index].cost.addingReportingOverflow(cost)
                slots[index].cost = overflow ? .max : sum
                return
            }
            index = (index + 1) & mask
        }
        lost += UInt64(cost)
    }

    /// Gives all entries, and forgets them.
    package mutating func drain(_ body: (Entry) -> Void) {
        for index in used {
            body(slots[Int(index)])
            slots[Int(index)].cost = 0
        }
        used.removeAll(keepingCapacity: true)
        count = 0
    }
}

/// Which batches of the other node have been merged: each exactly once, whatever is sent again.
///
/// The other node numbers its batches from 1 for each life of its own (`incarnation`). What is lost
/// between two that arrive is lost: the debts told on each connection make up for it.
package struct BatchSequence: Sendable, Equatable {
    package enum Step: Sendable, Equatable {
        case merge
        /// It has been merged.
        case repeated
        /// Merge it; so many before it never came.
        case mergeAfterGap(UInt64)
    }

    private var incarnation: UInt64 = 0
    private var last: UInt64 = 0

    package init() {}

    package mutating func receive(incarnation: UInt64, number: UInt64) -> Step {
        if incarnation != self.incarnation {
            self.incarnation = incarnation
            last = number
            return .merge
        }
        guard number > last else { return .repeated }
        let missing = number - last - 1
        last = number
        return missing == 0 ? .merge : .mergeAfterGap(missing)
    }
}
