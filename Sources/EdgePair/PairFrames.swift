/// Takes a stream of bytes apart into messages. At most one message and what came with it is kept.
package struct PairFrames: Sendable {
    package enum Item: Sendable, Equatable {
        /// - Parameter byteCount: on the wire.
        case message(PairMessage, byteCount: Int)
        /// Of a type that is not known.
        case unknown(UInt16, byteCount: Int)

        package var byteCount: Int {
            switch self {
            case .message(_, let count), .unknown(_, let count): count
            }
        }
    }

    private var bytes: [UInt8] = []
    private var start = 0

    package init() {}

    /// Adds what came; take all items before the next.
    package mutating func append(_ more: some Collection<UInt8>) { bytes += more }

    /// - Returns: the next item; nil: more bytes are needed.
    /// - Throws: what came is no message; nothing behind it can be understood.
    package mutating func next() throws(PairViolation) -> Item? {
        let head = PairMessage.headBytes
        guard bytes.count - start >= head else {
            compact()
            return nil
        }
        func number(_ at: Int, _ count: Int) -> UInt32 {
            bytes[start + at..<start + at + count].reduce(0) { $0 << 8 | UInt32($1) }
        }
        let type = UInt16(truncatingIfNeeded: number(0, 2))
        let length = number(4, 4)
        guard number(2, 2) == 0 else { throw .reserved }
        guard length <= UInt32(PairMessage.bodyBytesMax) else { throw .tooLong(length) }
        let end = start + head + Int(length)
        guard bytes.count >= end else {
            compact()
            return nil
        }
        defer { start = end }
        let count = head + Int(length)
        guard let kind = PairMessage.Kind(rawValue: type) else {
            return .unknown(type, byteCount: count)
        }
        return .message(
            try PairMessage(kind, body: bytes[start + head..<end]), byteCount: count)
    }

    /// What was taken may have been a key: nothing of it stays in memory.
    private mutating func compact() {
        guard start > 0 else { return }
        let rest = bytes.count - start
        bytes.withUnsafeMutableBytes { buffer in
            for index in 0..<rest { buffer[index] = buffer[start + index] }
            for index in rest..<buffer.count { buffer[index] = 0 }
        }
        bytes.removeLast(bytes.count - rest)
        start = 0
    }
}
