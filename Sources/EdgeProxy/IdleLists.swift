internal import EdgeCore

/// Clients' connections in the order in which they would be given up: a list per priority and
/// kind. A connection moves when somebody looks at it or when it becomes idle after it has been
/// taken out, never per request: each look that finds no victim is paid for by something that the
/// connection has done since, so looks cost O(1) per event. Memory as large as the table of
/// connections, touched as that is.
struct IdleLists: ~Copyable {
    enum Kind: UInt8, CaseIterable {
        /// Has just been accepted.
        case young
        /// Has begun to speak and asked for nothing yet.
        case unfinished
        /// Between two requests.
        case idle
        /// HTTP/2 without streams.
        case idleHTTP2
    }

    struct Entry: BitwiseCopyable {
        /// Links are slots + 1; 0 is none (fresh memory is zero).
        fileprivate var next: Int32
        fileprivate var previous: Int32
        /// Place in `heads` + 1; 0: in no list.
        fileprivate var list: UInt8
        /// Requests that it had begun when it was put here.
        var requests: UInt32
        var placedAt: Instant
    }

    private let entries: ReservedArray<Entry>
    private var heads = InlineArray<8, Int32>(repeating: 0)
    private var tails = InlineArray<8, Int32>(repeating: 0)

    init?(capacity: Int) {
        guard let entries = ReservedArray<Entry>(capacity: capacity) else { return nil }
        self.entries = entries
    }

    private static func index(_ kind: Kind, isLow: Bool) -> Int {
        Int(kind.rawValue) * 2 + (isLow ? 1 : 0)
    }

    /// The one that would be given up next.
    func first(_ kind: Kind, isLow: Bool) -> Int? {
        let head = heads[Self.index(kind, isLow: isLow)]
        return head == 0 ? nil : Int(head) - 1
    }

    func entry(_ slot: Int) -> Entry { entries[slot].pointee }

    func isListed(_ slot: Int) -> Bool { entries[slot].pointee.list != 0 }

    /// Puts a connection at the end of a list, out of any other.
    mutating func place(
        _ slot: Int, _ kind: Kind, isLow: Bool, requests: UInt32, now: Instant
    ) {
        remove(slot)
        let index = Self.index(kind, isLow: isLow)
        let entry = entries[slot]
        let last = tails[index]
        entry.pointee = Entry(
            next: 0, previous: last, list: UInt8(index + 1), requests: requests, placedAt: now)
        if last == 0 {
            heads[index] = Int32(slot) + 1
        } else {
            entries[Int(last) - 1].pointee.next = Int32(slot) + 1
        }
        tails[index] = Int32(slot) + 1
    }

    mutating func remove(_ slot: Int) {
        let entry = entries[slot]
        guard entry.pointee.list != 0 else { return }
        let index = Int(entry.pointee.list) - 1
        let (next, previous) = (entry.pointee.next, entry.pointee.previous)
        if previous == 0 {
            heads[index] = next
        } else {
            entries[Int(previous) - 1].pointee.next = next
        }
        if next == 0 {
            tails[index] = previous
        } else {
            entries[Int(next) - 1].pointee.previous = previous
        }
        entry.pointee.list = 0
    }
}
