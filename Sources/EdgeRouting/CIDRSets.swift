internal import EdgeCore

/// Many sets of address blocks in one array, so that asking one of them touches no reference
/// count: a question is a binary search in the set's part.
struct CIDRSets: Sendable {
    /// Numbers of blocks. Those of a set are in order, none inside another.
    private var blocks: [CIDR] = []
    /// Where each set ends in `blocks`.
    private var ends: [Int32] = []

    init(_ sets: [[CIDR]]) {
        for set in sets {
            let sorted = set.sorted { $0.base.isBefore($1.base) || $0.isAround($1) }
            // Blocks are nested or disjoint: one that begins inside its predecessor is inside.
            let start = blocks.count
            for block in sorted {
                if blocks.count > start, blocks[blocks.count - 1].contains(block.base) { continue }
                blocks.append(block)
            }
            ends.append(Int32(blocks.count))
        }
    }

    func isEmpty(_ set: Int) -> Bool { range(set).isEmpty }

    // hot: once per connection or request; no allocation.
    func contains(_ address: SocketAddress, in set: Int) -> Bool {
        let range = range(set)
        var start = range.lowerBound
        var end = range.upperBound
        // The last block that does not begin behind the address is the only one to look at.
        while start < end {
            let middle = (start + end) / 2
            if address.isBefore(blocks[middle].base) { end = middle } else { start = middle + 1 }
        }
        return start > range.lowerBound && blocks[start - 1].contains(address)
    }

    private func range(_ set: Int) -> Range<Int> {
        (set == 0 ? 0 : Int(ends[set - 1]))..<Int(ends[set])
    }
}

extension SocketAddress {
    /// All of IPv4 comes first; ports do not count.
    fileprivate func isBefore(_ other: SocketAddress) -> Bool {
        if isIPv4 != other.isIPv4 { return isIPv4 }
        return high != other.high ? high < other.high : low < other.low
    }
}

extension CIDR {
    /// It begins where `other` does and is larger.
    fileprivate func isAround(_ other: CIDR) -> Bool {
        base == other.base && bits < other.bits
    }
}
