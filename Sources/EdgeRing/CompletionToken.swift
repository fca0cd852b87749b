/// What an operation was submitted for. Part of its completion token.
public enum Operation: UInt8, Sendable {
    case receive = 1
    case send
    case connect
    case cancel
    /// A listener became readable.
    case incoming
    /// The mailbox's eventfd was written.
    case mail
}

/// The name an operation carries through the kernel: connection slot 32 bits, generation 24,
/// operation 8. A completion of an earlier user of the slot is known by its generation.
public struct CompletionToken: Sendable, Equatable {
    public let bits: UInt64

    /// A slot is reused only after 2^24 generations with the same number.
    public static let generationMask: UInt32 = 0xFF_FFFF

    @inlinable
    public init(slot: Int, generation: UInt32, operation: Operation) {
        bits =
            UInt64(UInt32(truncatingIfNeeded: slot)) << 32
            | UInt64(generation & Self.generationMask) << 8 | UInt64(operation.rawValue)
    }

    @inlinable
    public init(bits: UInt64) { self.bits = bits }

    @inlinable public var slot: Int { Int(bits >> 32) }
    @inlinable public var generation: UInt32 { UInt32(bits >> 8 & 0xFF_FFFF) }
    /// Nil for bits that no token of ours has.
    @inlinable public var operation: Operation? { Operation(rawValue: UInt8(bits & 0xFF)) }
}

/// One completion, copied out of the ring.
public struct Completion: Sendable {
    public let token: CompletionToken
    /// Bytes moved, or a negated errno.
    public let result: Int32
    /// More completions of this multishot operation will follow: it is still in the kernel.
    public let hasMore: Bool
    /// The provided buffer that holds the data; nil if none was taken.
    public let buffer: UInt16?

    @inlinable
    public init(token: CompletionToken, result: Int32, hasMore: Bool, buffer: UInt16?) {
        self.token = token
        self.result = result
        self.hasMore = hasMore
        self.buffer = buffer
    }
}
