/// A block of addresses, `192.0.2.0/24` or `2001:db8::/32`. IPv4 and IPv6 are kept apart: `::/0` is
/// all of IPv6 and nothing of IPv4. A block of IPv4-mapped addresses is normalised to IPv4, as
/// addresses are.
public struct CIDR: Sendable, Hashable, BitwiseCopyable {
    /// The first address; port and scope are 0.
    public let base: SocketAddress
    /// Leading bits that count: 0…32 for IPv4, 0…128 for IPv6.
    public let bits: UInt8

    /// - Returns: nil if there are more bits than the family has, or if `address` has bits set
    ///   behind them.
    public init?(_ address: SocketAddress, bits: Int) {
        var bits = bits
        var base = SocketAddress(ipv6High: address.high, low: address.low, port: 0)
        if address.isIPv4 {
            guard (0...32).contains(bits) else { return nil }
            base = SocketAddress(ipv4: address.ipv4, port: 0)
        } else {
            guard (0...128).contains(bits) else { return nil }
        }
        self.base = base
        self.bits = UInt8(bits)
        bits += base.isIPv4 ? 96 : 0
        guard base.high & ~Self.mask(bits) == 0, base.low & ~Self.mask(bits - 64) == 0 else {
            return nil
        }
    }

    /// Parses an address, which stands for itself alone, or `address/bits`.
    public init?(_ text: String) {
        guard let slash = text.lastIndex(of: "/") else {
            guard let address = SocketAddress(address: text, port: 0) else { return nil }
            self.init(address, bits: address.isIPv4 ? 32 : 128)
            return
        }
        guard let address = SocketAddress(address: String(text[..<slash]), port: 0),
            let written = UInt16(decimal: text[text.index(after: slash)...])
        else { return nil }
        let isMapped = address.isIPv4 && text.contains(":")
        self.init(address, bits: isMapped ? Int(written) - 96 : Int(written))
    }

    public func contains(_ address: SocketAddress) -> Bool {
        let bits = Int(self.bits) + (base.isIPv4 ? 96 : 0)
        return address.isIPv4 == base.isIPv4 && address.high & Self.mask(bits) == base.high
            && address.low & Self.mask(bits - 64) == base.low
    }

    /// The `bits` leading bits of 64; none below 0, all above 63.
    private static func mask(_ bits: Int) -> UInt64 {
        bits <= 0 ? 0 : bits >= 64 ? .max : ~(UInt64.max >> UInt64(bits))
    }
}

extension CIDR: CustomStringConvertible {
    public var description: String { "\(base.addressText)/\(bits)" }
}

/// Blocks of addresses that are asked about per request: a bounded list, joined into ranges that do
/// not touch, so that a question is a binary search.
public struct CIDRList: Sendable, Equatable {
    /// Blocks that a list holds; the configuration refuses more.
    public static let countMax = 1024

    private struct Range: Sendable, Equatable {
        var isIPv4: Bool
        var high: UInt64
        var low: UInt64
        var lastHigh: UInt64
        var lastLow: UInt64

        init(_ block: CIDR) {
            isIPv4 = block.base.isIPv4
            high = block.base.high
            low = block.base.low
            let bits = Int(block.bits) + (isIPv4 ? 96 : 0)
            lastHigh = high | (bits >= 64 ? 0 : .max >> UInt64(bits))
            lastLow = low | (bits >= 128 ? 0 : bits <= 64 ? .max : .max >> UInt64(bits - 64))
        }

        func begins(before other: Range) -> Bool {
            if isIPv4 != other.isIPv4 { return isIPv4 }
            return high != other.high ? high < other.high : low < other.low
        }

        func ends(before other: Range) -> Bool {
            lastHigh != other.lastHigh ? lastHigh < other.lastHigh : lastLow < other.lastLow
        }
    }

    /// In order, none inside another.
    private let ranges: [Range]
    /// Stored, so that a request without anybody trusted reads one byte.
    public let isEmpty: Bool

    /// What is beyond `countMax` is left out.
    public init(_ blocks: [CIDR] = []) {
        let sorted = blocks.prefix(Self.countMax).map { Range($0) }.sorted {
            $0.begins(before: $1) || (!$1.begins(before: $0) && $1.ends(before: $0))
        }
        // Blocks are nested or disjoint: one that ends no later than its predecessor is inside.
        var outermost: [Range] = []
        for range in sorted {
            if let last = outermost.last, last.isIPv4 == range.isIPv4, !last.ends(before: range) {
                continue
            }
            outermost.append(range)
        }
        ranges = outermost
        isEmpty = outermost.isEmpty
    }

    // hot: once per request; no allocation.
    public func contains(_ address: SocketAddress) -> Bool {
        var start = 0
        var end = ranges.count
        // The last range that does not begin behind the address is the only one to look at.
        while start < end {
            let middle = (start + end) / 2
            if isBehind(middle, address) { end = middle } else { start = middle + 1 }
        }
        guard start > 0 else { return false }
        let range = ranges[start - 1]
        guard range.isIPv4 == address.isIPv4 else { return false }
        return address.high != range.lastHigh
            ? address.high < range.lastHigh : address.low <= range.lastLow
    }

    /// The range begins behind the address; all of IPv4 comes first.
    private func isBehind(_ index: Int, _ address: SocketAddress) -> Bool {
        let range = ranges[index]
        if range.isIPv4 != address.isIPv4 { return address.isIPv4 }
        return range.high != address.high ? range.high > address.high : range.low > address.low
    }
}
