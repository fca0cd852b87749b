package import EdgeCore

/// SipHash-1-3 (Aumasson, Bernstein 2012) under a key that is made at each boot: which cell a key
/// has can neither be chosen nor be found out from outside.
package struct LimitHash: Sendable, Equatable {
    let key0: UInt64
    let key1: UInt64

    /// - Parameters: 128 random bits.
    package init(key0: UInt64, key1: UInt64) {
        self.key0 = key0
        self.key1 = key1
    }

    /// Of 24 bytes: a limit's identity and whom it counts.
    // hot: no allocation; 7 rounds
    @inline(__always)
    package func hash(_ identity: UInt64, _ subject: LimitSubject) -> UInt64 {
        var state = State(key0, key1)
        state.absorb(identity)
        state.absorb(subject.high)
        state.absorb(subject.low)
        state.absorb(24 << 56)
        return state.finish()
    }

    /// Of a text: a field's or cookie's value, a name.
    // hot: no allocation; O(bytes)
    package func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var state = State(key0, key1)
        var word: UInt64 = 0
        for index in 0..<bytes.count {
            word |= UInt64(bytes[index]) << UInt64(8 * (index & 7))
            guard index & 7 == 7 else { continue }
            state.absorb(word)
            word = 0
        }
        state.absorb(word | UInt64(truncatingIfNeeded: bytes.count) << 56)
        return state.finish()
    }

    /// Of a name in the configuration: the same in every process, which is why its key is known.
    package static func stable(_ name: String) -> UInt64 {
        let bytes = Array(name.utf8)
        return LimitHash(key0: 0, key1: 0).hash(bytes.span)
    }
}

extension LimitHash {
    /// The four words of the algorithm, under its names.
    private struct State {
        private var v0: UInt64
        private var v1: UInt64
        private var v2: UInt64
        private var v3: UInt64

        @inline(__always)
        init(_ key0: UInt64, _ key1: UInt64) {
            v0 = key0 ^ 0x736F_6D65_7073_6575
            v1 = key1 ^ 0x646F_7261_6E64_6F6D
            v2 = key0 ^ 0x6C79_6765_6E65_7261
            v3 = key1 ^ 0x7465_6462_7974_6573
        }

        @inline(__always)
        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            v0 ^= word
        }

        @inline(__always)
        mutating func finish() -> UInt64 {
            v2 ^= 0xFF
            round()
            round()
            round()
            return v0 ^ v1 ^ v2 ^ v3
        }

        @inline(__always)
        private mutating func round() {
            v0 &+= v1
            v1 = Self.rotate(v1, 13) ^ v0
            v0 = Self.rotate(v0, 32)
            v2 &+= v3
            v3 = Self.rotate(v3, 16) ^ v2
            v0 &+= v3
            v3 = Self.rotate(v3, 21) ^ v0
            v2 &+= v1
            v1 = Self.rotate(v1, 17) ^ v2
            v2 = Self.rotate(v2, 32)
        }

        @inline(__always)
        private static func rotate(_ word: UInt64, _ bits: UInt64) -> UInt64 {
            word &<< bits | word &>> (64 &- bits)
        }
    }
}

/// Whom a limit counts, in 16 bytes: the leading bits of an address, or a hash of something else.
/// The other node of a pair understands it, too.
package struct LimitSubject: Sendable, Hashable, BitwiseCopyable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A client's network. Port and scope do not matter.
    ///
    /// - Parameters:
    ///   - ipv4Bits: leading bits of an IPv4 address that count, 0…32.
    ///   - ipv6Bits: of an IPv6 address, 0…128.
    // hot: no allocation
    @inline(__always)
    package init(client address: SocketAddress, ipv4Bits: UInt8 = 32, ipv6Bits: UInt8 = 64) {
        let bits = address.isIPv4 ? 96 + Int(ipv4Bits) : Int(ipv6Bits)
        high = address.high & Self.mask(bits)
        low = address.low & Self.mask(bits - 64)
    }

    /// The same thing somewhere else is somebody else.
    ///
    /// - Parameter scope: a stable number of a site, view or path; 0 changes nothing.
    @inline(__always)
    package func within(_ scope: UInt64) -> LimitSubject {
        // Addresses have no bits of their own to spare: the hash behind this one mixes them.
        LimitSubject(high: high ^ scope, low: low &+ scope &* 0x9E37_79B9_7F4A_7C15)
    }

    /// The `bits` leading bits of 64; none below 0, all above 63.
    @inline(__always)
    private static func mask(_ bits: Int) -> UInt64 {
        bits <= 0 ? 0 : bits >= 64 ? .max : ~(UInt64.max >> UInt64(bits))
    }
}
