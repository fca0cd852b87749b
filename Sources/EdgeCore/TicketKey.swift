/// What session tickets are sealed with: a name that travels in each ticket (RFC 5077 §4) and two
/// secrets that never leave this machine and its peer. A plain value; it prints nothing of itself.
public struct TicketKey: Sendable, Equatable, BitwiseCopyable, CustomStringConvertible {
    /// Random: tells keys apart, and comes back in clear in a ticket.
    public var id: SIMD16<UInt8>
    /// For AES-256-CBC.
    public var cipherKey: SIMD32<UInt8>
    /// For HMAC-SHA-256.
    public var macKey: SIMD32<UInt8>
    /// When it came to this machine, on the clock that all its processes share.
    public var madeAt: Instant
    /// When it was made, in seconds since 1970: what another machine can be told.
    public var createdSeconds: Int64
    /// Whose it is: 0 this node's, else the peer's number.
    public var origin: UInt64

    /// Random bytes that a key consists of.
    public static let randomBytes = 80

    /// A key of this node's.
    ///
    /// - Parameter random: `randomBytes` bytes from the kernel.
    public init(random: [UInt8], madeAt: Instant, createdSeconds: Int64) {
        invariant(random.count == Self.randomBytes, "a ticket key is made of 80 bytes")
        id = SIMD16(random[0..<16])
        cipherKey = SIMD32(random[16..<48])
        macKey = SIMD32(random[48..<80])
        self.madeAt = madeAt
        self.createdSeconds = createdSeconds
        origin = 0
    }

    public var description: String { "ticket key of \(createdSeconds)" }
}
