internal import EdgeCore

/// Reads a line of version 1 (proxy-protocol.txt, section 2.1), byte by byte, so that the first
/// wrong one ends it. Lines are short: each attempt begins at their start.
struct ProxyLine {
    /// The next byte; behind the line when it is complete.
    private(set) var position = 0

    mutating func read(_ bytes: Span<UInt8>) throws(ProxyHeaderStop) -> ProxyHeader {
        try expect("PROXY ", bytes, else: .noHeader)
        switch try next(bytes) {
        case UInt8(ascii: "T"):
            try expect("CP", bytes)
            switch try next(bytes) {
            case UInt8(ascii: "4"): return try addresses(bytes, isIPv4: true)
            case UInt8(ascii: "6"): return try addresses(bytes, isIPv4: false)
            default: throw .violation(.badLine)
            }
        case UInt8(ascii: "U"):
            try expect("NKNOWN", bytes)
            try ignoreRest(bytes)
            return ProxyHeader()
        default: throw .violation(.badLine)
        }
    }

    private mutating func addresses(
        _ bytes: Span<UInt8>, isIPv4: Bool
    ) throws(ProxyHeaderStop) -> ProxyHeader {
        try expect(" ", bytes)
        let source = isIPv4 ? try ipv4Address(bytes) : try ipv6Address(bytes)
        let destination = isIPv4 ? try ipv4Address(bytes) : try ipv6Address(bytes)
        let sourcePort = try number(bytes, max: 65535, before: Self.space, else: .badPort)
        let destinationPort = try number(bytes, max: 65535, before: Self.cr, else: .badPort)
        try expect("\n", bytes)
        return ProxyHeader(
            source: source.with(port: UInt16(truncatingIfNeeded: sourcePort)),
            destination: destination.with(port: UInt16(truncatingIfNeeded: destinationPort)))
    }

    /// What an unknown connection's line says is ignored, but it is one line.
    private mutating func ignoreRest(_ bytes: Span<UInt8>) throws(ProxyHeaderStop) {
        var byte = try next(bytes)
        guard byte == Self.space || byte == Self.cr else { throw .violation(.badLine) }
        while byte != Self.cr {
            guard byte != Self.lf else { throw .violation(.badLine) }
            byte = try next(bytes)
        }
        try expect("\n", bytes)
    }

    // MARK: - Words

    private mutating func next(_ bytes: Span<UInt8>) throws(ProxyHeaderStop) -> UInt8 {
        guard position < ProxyHeader.lineByteCountMax else { throw .violation(.tooLong) }
        guard position < bytes.count else { throw .incomplete }
        position += 1
        return bytes[position - 1]
    }

    private mutating func expect(
        _ text: StaticString, _ bytes: Span<UInt8>, else violation: ProxyHeaderViolation = .badLine
    ) throws(ProxyHeaderStop) {
        for offset in 0..<text.utf8CodeUnitCount {
            // A static string is that many bytes for ever.
            let wanted = unsafe text.utf8Start[offset]
            guard try next(bytes) == wanted else { throw .violation(violation) }
        }
    }

    /// A decimal number without leading zeros, and the byte behind it.
    private mutating func number(
        _ bytes: Span<UInt8>, max: UInt32, before end: UInt8, else violation: ProxyHeaderViolation
    ) throws(ProxyHeaderStop) -> UInt32 {
        var value = UInt32(try next(bytes) &- Self.zero)
        guard value < 10 else { throw .violation(violation) }
        while true {
            let byte = try next(bytes)
            if byte == end { return value }
            let digit = UInt32(byte &- Self.zero)
            guard value > 0, digit < 10 else { throw .violation(violation) }
            value = value * 10 + digit
            guard value <= max else { throw .violation(violation) }
        }
    }

    /// Four numbers and the space behind them.
    private mutating func ipv4Address(
        _ bytes: Span<UInt8>
    ) throws(ProxyHeaderStop) -> SocketAddress {
        SocketAddress(ipv4: try ipv4(bytes), port: 0)
    }

    private mutating func ipv4(_ bytes: Span<UInt8>) throws(ProxyHeaderStop) -> UInt32 {
        var address: UInt32 = 0
        for index in 0..<4 {
            let end = index < 3 ? Self.dot : Self.space
            address = address << 8 | (try number(bytes, max: 255, before: end, else: .badAddress))
        }
        return address
    }

    /// Groups of hex digits with at most one gap, or an IPv4 address as the last two of them
    /// (RFC 4291 §2.2), and the space behind them.
    private mutating func ipv6Address(
        _ bytes: Span<UInt8>
    ) throws(ProxyHeaderStop) -> SocketAddress {
        var groups = InlineArray<8, UInt64>(repeating: 0)
        var count = 0
        /// How many groups there are before the gap.
        var gap: Int?
        var byte = try next(bytes)
        if byte == Self.colon {
            guard try next(bytes) == Self.colon else { throw .violation(.badAddress) }
            gap = 0
            byte = try next(bytes)
        }
        // The gap may be the end.
        while byte != Self.space || gap != count {
            // A gap stands for at least one group.
            guard count < (gap == nil ? 8 : 7) else { throw .violation(.badAddress) }
            let start = position - 1
            groups[count] = try hexGroup(bytes, &byte)
            if byte == Self.dot, gap == nil ? count == 6 : count < 6 {
                position = start
                let value = UInt64(try ipv4(bytes))
                groups[count] = value >> 16
                groups[count + 1] = value & 0xFFFF
                count += 2
                break
            }
            count += 1
            if byte == Self.space { break }
            guard byte == Self.colon, count < (gap == nil ? 8 : 7) else {
                throw .violation(.badAddress)
            }
            byte = try next(bytes)
            if byte == Self.colon {
                guard gap == nil else { throw .violation(.badAddress) }
                gap = count
                byte = try next(bytes)
            }
        }
        guard gap != nil || count == 8 else { throw .violation(.badAddress) }
        return Self.address(groups, count: count, gap: gap ?? count)
    }

    /// One to four digits, of which `byte` is the first; then it is what follows.
    private mutating func hexGroup(
        _ bytes: Span<UInt8>, _ byte: inout UInt8
    ) throws(ProxyHeaderStop) -> UInt64 {
        var group: UInt64 = 0
        var digits = 0
        while let digit = Self.hexDigit(byte) {
            guard digits < 4 else { throw .violation(.badAddress) }
            group = group << 4 | digit
            digits += 1
            byte = try next(bytes)
        }
        guard digits > 0 else { throw .violation(.badAddress) }
        return group
    }

    private static func address(
        _ groups: InlineArray<8, UInt64>, count: Int, gap: Int
    ) -> SocketAddress {
        var high: UInt64 = 0
        var low: UInt64 = 0
        for index in 0..<count {
            let place = index < gap ? index : index + 8 - count
            let shift = UInt64(48 - 16 * (place & 3))
            if place < 4 { high |= groups[index] << shift } else { low |= groups[index] << shift }
        }
        return SocketAddress(ipv6High: high, low: low, port: 0)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case zero...UInt8(ascii: "9"): UInt64(byte - zero)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    private static let space = UInt8(ascii: " ")
    private static let colon = UInt8(ascii: ":")
    private static let dot = UInt8(ascii: ".")
    private static let zero = UInt8(ascii: "0")
    private static let cr: UInt8 = 0x0D
    private static let lf: UInt8 = 0x0A
}
