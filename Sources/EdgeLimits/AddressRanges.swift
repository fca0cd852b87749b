package import EdgeCore

/// Blocks of addresses from files, many more than a configuration would name: sorted ranges that
/// do not touch. Immutable; 8 bytes each of IPv4, 32 of IPv6.
package struct AddressRanges: Sendable, Equatable {
    package static let countMax = 1 << 18
    /// Bytes of a file.
    package static let fileMax = 16 << 20
    /// Bytes of a line, its remark not counted.
    private static let lineMax = 256

    /// Where a file is wrong.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case tooLarge
        /// More than `countMax` blocks, here.
        case tooMany(line: Int)
        /// Neither a block nor an address, with bits behind the prefix, or no text.
        case noBlock(line: Int, text: String)

        package var description: String {
            switch self {
            case .tooLarge: "larger than \(fileMax >> 20) MiB"
            case .tooMany(let line): "line \(line): more than \(countMax) blocks"
            case .noBlock(let line, let text):
                "line \(line): '\(String(text.filter { $0 >= " " && $0 <= "~" }))' is no address "
                    + "and no block"
            }
        }
    }

    private struct Range: Sendable, Equatable {
        var firstHigh: UInt64
        var firstLow: UInt64
        var lastHigh: UInt64
        var lastLow: UInt64

        init(_ block: CIDR) {
            firstHigh = block.base.high
            firstLow = block.base.low
            let bits = Int(block.bits) + (block.base.isIPv4 ? 96 : 0)
            lastHigh = firstHigh | (bits >= 64 ? 0 : .max >> UInt64(bits))
            lastLow =
                firstLow | (bits >= 128 ? 0 : bits <= 64 ? .max : .max >> UInt64(bits - 64))
        }
    }

    // `::/0` is all of IPv6 and nothing of IPv4: two lists.
    /// First and last address in the high and low half of each.
    private let fours: [UInt64]
    private let sixes: [Range]
    /// Stored, so that a request without lists reads one byte.
    package let isEmpty: Bool

    package init(_ blocks: [CIDR] = []) {
        fours = Self.outermost(blocks.filter { $0.base.isIPv4 }).map {
            $0.firstLow << 32 | $0.lastLow & 0xFFFF_FFFF
        }
        sixes = Self.outermost(blocks.filter { !$0.base.isIPv4 })
        isEmpty = blocks.isEmpty
    }

    private static func outermost(_ blocks: [CIDR]) -> [Range] {
        let sorted = blocks.map { Range($0) }.sorted {
            ($0.firstHigh, $0.firstLow, $1.lastHigh, $1.lastLow)
                < ($1.firstHigh, $1.firstLow, $0.lastHigh, $0.lastLow)
        }
        var outermost: [Range] = []
        for range in sorted {
            // Nested or disjoint: one that ends no later than its predecessor is inside.
            if let last = outermost.last,
                (last.lastHigh, last.lastLow) >= (range.lastHigh, range.lastLow)
            {
                continue
            }
            outermost.append(range)
        }
        return outermost
    }

    /// Ranges that are left of the blocks.
    package var count: Int { fours.count + sixes.count }

    // hot: once per policy; no allocation; O(log n)
    package func contains(_ address: SocketAddress) -> Bool {
        if isEmpty { return false }
        return address.isIPv4
            ? Self.contains(fours, UInt64(address.ipv4)) : Self.contains(sixes, address)
    }

    private static func contains(_ ranges: [UInt64], _ address: UInt64) -> Bool {
        let key = address << 32 | 0xFFFF_FFFF
        var start = 0
        var end = ranges.count
        while start < end {
            let middle = (start + end) / 2
            if ranges[middle] > key { end = middle } else { start = middle + 1 }
        }
        // The last that does not begin behind the address is the only one to look at.
        return start > 0 && ranges[start - 1] & 0xFFFF_FFFF >= address
    }

    private static func contains(_ ranges: [Range], _ address: SocketAddress) -> Bool {
        var start = 0
        var end = ranges.count
        while start < end {
            let middle = (start + end) / 2
            let range = ranges[middle]
            if (range.firstHigh, range.firstLow) > (address.high, address.low) {
                end = middle
            } else {
                start = middle + 1
            }
        }
        // The last that does not begin behind the address is the only one to look at.
        guard start > 0 else { return false }
        let range = ranges[start - 1]
        return (range.lastHigh, range.lastLow) >= (address.high, address.low)
    }

    /// Reads a file: a block or an address per line; `#` and `;` begin remarks.
    ///
    /// - Throws: `Failure` for the first line that is wrong: half a list is none.
    package static func parse(_ text: Span<UInt8>) throws(Failure) -> [CIDR] {
        guard text.count <= fileMax else { throw .tooLarge }
        var blocks: [CIDR] = []
        var line: [UInt8] = []
        var isRemark = false
        var number = 1
        for index in 0...text.count {
            let byte = index < text.count ? text[index] : UInt8(ascii: "\n")
            guard byte == UInt8(ascii: "\n") else {
                isRemark = isRemark || byte == UInt8(ascii: "#") || byte == UInt8(ascii: ";")
                // One byte more than any block has tells a line that is too long.
                if !isRemark, line.count <= lineMax { line.append(byte) }
                continue
            }
            guard line.count <= lineMax else {
                throw .noBlock(line: number, text: String((word(of: line) ?? "").prefix(64)))
            }
            if let word = word(of: line) {
                guard blocks.count < countMax else { throw .tooMany(line: number) }
                guard let block = CIDR(word) else {
                    throw .noBlock(line: number, text: String(word.prefix(64)))
                }
                blocks.append(block)
            }
            line.removeAll(keepingCapacity: true)
            isRemark = false
            number += 1
        }
        return blocks
    }

    /// What is left of a line without space; nil: nothing.
    private static func word(of line: [UInt8]) -> String? {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0D }
        let trimmed = line.drop(while: isSpace)
        let end = trimmed.lastIndex { !isSpace($0) }
        guard let end else { return nil }
        return String(decoding: trimmed[...end], as: UTF8.self)
    }
}
