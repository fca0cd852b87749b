internal import EdgeCore

/// Which slots of a table are free. Last in, first out, so that few slots stay warm; slots that
/// were never used are handed out last, so untouched memory stays untouched.
struct SlotList: ~Copyable {
    private let free: ReservedArray<Int32>
    private var freeCount = 0
    private var fresh = 0
    let capacity: Int
    private(set) var used = 0

    init?(capacity: Int) {
        guard let free = ReservedArray<Int32>(capacity: capacity) else { return nil }
        self.free = free
        self.capacity = capacity
    }

    /// - Returns: nil if all are used.
    mutating func take() -> Int? {
        if freeCount > 0 {
            freeCount -= 1
            used += 1
            return Int(free[freeCount].pointee)
        }
        guard fresh < capacity else { return nil }
        fresh += 1
        used += 1
        return fresh - 1
    }

    mutating func give(_ slot: Int) {
        free[freeCount].pointee = Int32(slot)
        freeCount += 1
        used -= 1
    }

    /// Slots that were ever handed out: 0 ..< this.
    var touched: Int { fresh }
}
