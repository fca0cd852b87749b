/// Deadlines of connections: a hashed wheel with one entry per slot of the connection table, links
/// kept in a table of its own. Owned by one thread; knows no clock.
///
/// Lazy: moving a deadline further away stores one number (1.5 ns measured); the entry is put where
/// it belongs when its old place comes round. So an entry is in the wheel at or before its
/// deadline, never after it. Deadlines fire up to one `tick` late, never early.
public struct TimerWheel: ~Copyable {
    @usableFromInline
    struct Entry: BitwiseCopyable {
        @usableFromInline var deadline: UInt64
        /// Number of the tick at which its place is emptied.
        @usableFromInline var due: UInt64
        /// Links are id + 1; 0 is none (fresh memory is zero).
        @usableFromInline var next: Int32
        @usableFromInline var previous: Int32
        /// Place in the wheel + 1; 0: not in the wheel.
        @usableFromInline var place: Int32
    }

    /// A power of two.
    @usableFromInline static var placeCount: Int { 1024 }

    @usableFromInline let tick: UInt64
    @usableFromInline var entries: ReservedArray<Entry>
    @usableFromInline var heads: ReservedArray<Int32>
    @usableFromInline var occupied: ReservedArray<UInt64>
    /// Number of the tick that was last advanced to.
    @usableFromInline var current: UInt64
    /// Entries of the place being emptied, not yet looked at (id + 1).
    @usableFromInline var pending: Int32 = 0
    @usableFromInline var target: UInt64

    /// - Parameters:
    ///   - capacity: ids are 0..<capacity.
    ///   - tick: resolution in nanoseconds; the wheel spans 1,024 of them, later deadlines go
    ///     round.
    /// - Returns: nil if memory can't be reserved.
    public init?(capacity: Int, tick: UInt64, now: Instant) {
        guard let entries = ReservedArray<Entry>(capacity: capacity),
            let heads = ReservedArray<Int32>(capacity: Self.placeCount),
            let occupied = ReservedArray<UInt64>(capacity: Self.placeCount / 64)
        else { return nil }
        self.entries = entries
        self.heads = heads
        self.occupied = occupied
        self.tick = tick
        current = now.nanoseconds / tick
        target = current
    }

    /// Sets or moves the deadline of `id`. `.never` disarms.
    @inlinable
    public mutating func arm(_ id: Int, at deadline: Instant) {
        let entry = entries[id]
        entry.pointee.deadline = deadline.nanoseconds
        if entry.pointee.place != 0 {
            if entry.pointee.due <= deadline.nanoseconds / tick + 1 { return }
            unlink(id)
        }
        if deadline == .never { return }
        link(id)
    }

    /// The deadline no longer counts; its entry leaves the wheel when its place comes round.
    @inlinable
    public mutating func disarm(_ id: Int) { entries[id].pointee.deadline = .max }

    @inlinable
    public func deadline(of id: Int) -> Instant {
        entries[id].pointee.place == 0
            ? .never : Instant(nanoseconds: entries[id].pointee.deadline)
    }

    /// The next id whose deadline has passed, disarmed. Call until nil.
    public mutating func popExpired(now: Instant) -> Int? {
        target = now.nanoseconds / tick
        while true {
            while pending != 0 {
                let id = Int(pending - 1)
                let entry = entries[id]
                pending = entry.pointee.next
                unlink(id)
                if entry.pointee.deadline == .max { continue }
                if entry.pointee.deadline <= now.nanoseconds {
                    entry.pointee.deadline = .max
                    return id
                }
                link(id)
            }
            guard current < target else { return nil }
            // Nothing can be due in places that are empty: jump over them.
            current = nextOccupied(after: current, limit: target)
            pending = heads[Int(current & UInt64(Self.placeCount - 1))].pointee
        }
    }

    /// Nanoseconds until something may be due, or nil if nothing is armed.
    public func nanosecondsUntilNext(now: Instant) -> UInt64? {
        let limit = current + UInt64(Self.placeCount)
        let next = nextOccupied(after: current, limit: limit)
        let place = Int(next & UInt64(Self.placeCount - 1))
        guard heads[place].pointee != 0 else { return nil }
        return Instant(nanoseconds: next * tick).nanoseconds(since: now)
    }

    // MARK: - Links

    /// The first tick in (start, limit] whose place is occupied, else `limit`.
    private func nextOccupied(after start: UInt64, limit: UInt64) -> UInt64 {
        var position = start + 1
        if limit - start > UInt64(Self.placeCount) {
            // The wheel went round more than once: every place must be looked at.
            position = limit - UInt64(Self.placeCount) + 1
        }
        while position < limit {
            let place = Int(position & UInt64(Self.placeCount - 1))
            let word = occupied[place >> 6].pointee >> UInt64(place & 63)
            if word != 0 {
                return min(position + UInt64(word.trailingZeroBitCount), limit)
            }
            position += UInt64(64 - (place & 63))
        }
        return limit
    }

    @usableFromInline
    mutating func link(_ id: Int) {
        let entry = entries[id]
        // Rounded up: the place is emptied when its tick has fully passed the deadline.
        let due = max(entry.pointee.deadline / tick + 1, current + 1)
        entry.pointee.due = due
        let place = Int(due & UInt64(Self.placeCount - 1))
        let first = heads[place].pointee
        entry.pointee.next = first
        entry.pointee.previous = 0
        entry.pointee.place = Int32(place + 1)
        if first != 0 { entries[Int(first - 1)].pointee.previous = Int32(id + 1) }
        heads[place].pointee = Int32(id + 1)
        // Named, here and below: the compiler cannot instrument `x[i].pointee |= y` for TSan.
        let word = occupied[place >> 6]
        word.pointee |= 1 << UInt64(place & 63)
    }

    @usableFromInline
    mutating func unlink(_ id: Int) {
        let entry = entries[id]
        let place = Int(entry.pointee.place - 1)
        if pending == Int32(id + 1) { pending = entry.pointee.next }
        if entry.pointee.previous != 0 {
            entries[Int(entry.pointee.previous - 1)].pointee.next = entry.pointee.next
        } else {
            heads[place].pointee = entry.pointee.next
            if entry.pointee.next == 0 {
                let word = occupied[place >> 6]
                word.pointee &= ~(1 << UInt64(place & 63))
            }
        }
        if entry.pointee.next != 0 {
            entries[Int(entry.pointee.next - 1)].pointee.previous = entry.pointee.previous
        }
        entry.pointee.place = 0
        entry.pointee.next = 0
        entry.pointee.previous = 0
    }
}
