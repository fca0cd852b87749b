internal import EdgeCore
internal import Glibc

/// The policies. Each takes its choice from the seats whose `part` is not 0, which are at least
/// one.
extension Balancer {
    /// Smooth weighted turns: each candidate is owed its part; who is owed most is chosen and pays
    /// for all. Who is not a candidate neither gains nor loses.
    // hot: no allocation, O(members)
    mutating func chooseInTurn(_ field: Field) -> Int {
        guard field.count > 1 else { return field.last }
        var best = field.last
        var most = Int.min
        for index in seats.indices where seats[index].part > 0 {
            seats[index].credit += seats[index].part
            if seats[index].credit > most {
                most = seats[index].credit
                best = index
            }
        }
        seats[best].credit -= field.total
        return best
    }

    /// The candidate with the fewest requests for its part once this one is added. Idle ones take
    /// turns by weight: at night a heavy member does not get everything, and one in its slow start
    /// not nothing.
    // hot: no allocation, O(members)
    mutating func chooseLeastLoaded(_ field: Field) -> Int {
        guard field.count > 1 else { return field.last }
        var best = -1
        let start = cursor % seats.count
        for step in seats.indices {
            let index = start + step < seats.count ? start + step : start + step - seats.count
            let part = seats[index].part
            guard part > 0 else { continue }
            if best < 0
                || (seats[index].load + 1) * seats[best].part < (seats[best].load + 1) * part
            {
                best = index
            }
        }
        guard seats[best].load == 0 else {
            cursor = best + 1
            return best
        }
        var idle = Field()
        for index in seats.indices where seats[index].part > 0 {
            if seats[index].load > 0 {
                seats[index].part = 0
            } else {
                idle.count += 1
                idle.total += seats[index].part
                idle.last = index
            }
        }
        return chooseInTurn(idle)
    }

    /// The better of two that are drawn by weight: by the latency to be expected times the requests
    /// under way for its part. Small differences are noise, and leave the choice to the weights.
    // hot: no allocation, O(members)
    mutating func chooseFastest(_ field: Field, now: Instant) -> Int {
        var choice = field.last
        if field.count > 1 {
            let first = draw(field.total, without: -1)
            let second = draw(field.total - seats[first].part, without: first)
            let limit = cost(first, field, now: now) * Self.clearlyLess
            choice = cost(second, field, now: now) < limit ? second : first
        }
        seats[choice].latency.chosen(now: now)
        return choice
    }

    /// The cost at which a second member is taken instead of the first, as a factor.
    private static let clearlyLess = 0.9

    /// Rendezvous: each candidate draws a lot from key and address, and the best lot wins, so a
    /// member that goes gives away its keys only. Who already has a quarter more than its part of
    /// all requests is passed over (bounded load).
    // hot: no allocation, O(members); one logarithm per member where weights differ
    mutating func chooseByHash(_ field: Field, key: UInt64) -> Int {
        guard field.count > 1 else { return field.last }
        var best = field.last
        var bestLot: UInt64 = 0
        var bestTime = Double.infinity
        for index in seats.indices where seats[index].part > 0 {
            let part = seats[index].part
            guard seats[index].load < Self.loadMax(part: part, field) else { continue }
            let lot = Self.mix(key ^ seats[index].token)
            if field.isUniform {
                guard lot >= bestLot else { continue }
                bestLot = lot
            } else {
                // An exponential time with rate `part`; the first one wins. The order of lots, if
                // all parts are the same.
                let uniform = (Double(lot >> 11) + 0.5) * 0x1p-53
                let time = -log(uniform) / Double(part)
                guard time < bestTime else { continue }
                bestTime = time
            }
            best = index
        }
        return best
    }

    /// Requests under way that a candidate may have and still be chosen by its keys. The sum over
    /// all is more than all requests under way, so somebody always has room.
    private static func loadMax(part: Int, _ field: Field) -> Int {
        // 5/4 of the part of (load + 1), rounded up.
        let bound = (5 * (field.load + 1) * part + 4 * field.total - 1) / (4 * field.total)
        return max(bound, loadAlways)
    }

    /// Few requests are no overload: a browser's handful stays together also on an idle worker.
    static let loadAlways = 8

    /// A candidate by weight.
    ///
    /// - Parameter total: sum of the parts of all but `without`.
    private mutating func draw(_ total: Int, without: Int) -> Int {
        var left = Int(generator.next().multipliedFullWidth(by: UInt64(total)).high)
        var choice = 0
        for index in seats.indices where index != without && seats[index].part > 0 {
            choice = index
            left -= seats[index].part
            if left < 0 { break }
        }
        return choice
    }

    private func cost(_ index: Int, _ field: Field, now: Instant) -> Double {
        let evenPart = Double(field.total) / Double(field.count)
        let load = Double(seats[index].load) * evenPart / Double(seats[index].part)
        return seats[index].latency.expected(now: now) * (1 + load)
    }

    /// Every bit of the word decides about every bit of the result (the finisher of SplitMix64).
    private static func mix(_ word: UInt64) -> UInt64 {
        var word = word &+ 0x9E37_79B9_7F4A_7C15
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
