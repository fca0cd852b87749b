/// Walks the fields of a ClientHello as if its records were one. Holds positions only: the bytes
/// are handed in with each call, and every access to them is checked. `Progress` has seen that the
/// message is all there.
struct HelloCursor {
    private var position = 0
    /// Bytes of the current record at and behind `position`.
    private var recordLeft = 0
    /// Bytes left of the innermost field that has been entered.
    private(set) var left: Int

    init(messageByteCount: Int) { left = messageByteCount }

    mutating func byte(_ bytes: Span<UInt8>) throws(ClientHelloViolation) -> UInt8 {
        guard left > 0 else { throw .truncated }
        try findByte(bytes)
        guard position < bytes.count else { throw .truncated }
        left -= 1
        recordLeft -= 1
        position += 1
        return bytes[position - 1]
    }

    mutating func number(_ bytes: Span<UInt8>) throws(ClientHelloViolation) -> UInt16 {
        let high = UInt16(try byte(bytes))
        return high << 8 | UInt16(try byte(bytes))
    }

    mutating func skip(_ bytes: Span<UInt8>, _ count: Int) throws(ClientHelloViolation) {
        guard count <= left else { throw .truncated }
        left -= count
        var rest = count
        while rest > 0 {
            try findByte(bytes)
            let step = min(rest, recordLeft)
            rest -= step
            recordLeft -= step
            position += step
        }
    }

    /// From now on, `left` is that of a field of `count` bytes.
    ///
    /// - Returns: what is left behind it, for `leave`.
    mutating func enter(_ count: Int) throws(ClientHelloViolation) -> Int {
        guard count <= left else { throw .truncated }
        let outer = left - count
        left = count
        return outer
    }

    /// Skips what nobody wanted of the field.
    mutating func leave(
        _ bytes: Span<UInt8>, _ outer: Int
    ) throws(ClientHelloViolation) {
        try skip(bytes, left)
        left = outer
    }

    /// Steps over a record's header if one is next.
    private mutating func findByte(_ bytes: Span<UInt8>) throws(ClientHelloViolation) {
        while recordLeft == 0 {
            let contents = position + ClientHello.Progress.recordHeaderByteCount
            guard contents <= bytes.count else { throw .truncated }
            recordLeft = Int(bytes[contents - 2]) << 8 | Int(bytes[contents - 1])
            position = contents
        }
    }
}
