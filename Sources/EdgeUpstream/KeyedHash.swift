package import EdgeCore

/// SipHash-2-4 (Aumasson, Bernstein 2012): 64 bits that nobody can choose or invert who does not
/// know the key. For the balancer's keys (client, field, cookie) and its sticky tokens.
///
/// No hash is 0, which stands for "no key".
package struct KeyedHash: Sendable {
    private let key0: UInt64
    private let key1: UInt64

    package init(key0: UInt64, key1: UInt64) {
        self.key0 = key0
        self.key1 = key1
    }

    /// Makes 128 bits of key from 64.
    package init(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        key0 = generator.next()
        key1 = generator.next()
    }

    // hot: no allocation; O(bytes)
    package func hash(_ bytes: RawSpan) -> UInt64 {
        var state = State(key0, key1)
        let whole = bytes.byteCount & ~7
        var offset = 0
        while offset < whole {
            state.absorb(Self.word(bytes, offset, 8))
            offset += 8
        }
        let rest = Self.word(bytes, whole, bytes.byteCount - whole)
        state.absorb(rest | UInt64(truncatingIfNeeded: bytes.byteCount) << 56)
        return state.finish()
    }

    // hot: no allocation
    package func hash(_ bytes: Span<UInt8>) -> UInt64 {
        unsafe hash(bytes.bytes)
    }

    /// - Parameter bytes: live and unchanged during the call.
    // hot: no allocation
    package func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 { unsafe hash(bytes.bytes) }

    /// Of a client: the same from all its ports.
    // hot: no allocation
    package func hash(client address: SocketAddress) -> UInt64 { hash(address, port: 0) }

    /// Of a member: each port is another.
    package func hash(member address: SocketAddress) -> UInt64 {
        hash(address, port: UInt64(address.port) + 1)
    }

    private func hash(_ address: SocketAddress, port: UInt64) -> UInt64 {
        var state = State(key0, key1)
        state.absorb(address.high)
        state.absorb(address.low)
        state.absorb(UInt64(address.scope) << 32 | port)
        return state.finish()
    }

    /// Up to eight bytes, the first one lowest; missing ones are 0.
    private static func word(_ bytes: RawSpan, _ offset: Int, _ count: Int) -> UInt64 {
        if count == 8 {
            // In bounds: the caller counts in whole words.
            return unsafe UInt64(
                littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        var word: UInt64 = 0
        for index in 0..<count {
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: offset + index, as: UInt8.self)
            word |= UInt64(byte) << UInt64(8 * index)
        }
        return word
    }
}

extension KeyedHash {
    /// The four words of the algorithm, under its names.
    private struct State {
        private var v0: UInt64
        private var v1: UInt64
        private var v2: UInt64
        private var v3: UInt64

        init(_ key0: UInt64, _ key1: UInt64) {
            v0 = key0 ^ 0x736F_6D65_7073_6575
            v1 = key1 ^ 0x646F_7261_6E64_6F6D
            v2 = key0 ^ 0x6C79_6765_6E65_7261
            v3 = key1 ^ 0x7465_6462_7974_6573
        }

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func finish() -> UInt64 {
            v2 ^= 0xFF
            round()
            round()
            round()
            round()
            let result = v0 ^ v1 ^ v2 ^ v3
            return result == 0 ? 1 : result
        }

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

        private static func rotate(_ word: UInt64, _ bits: UInt64) -> UInt64 {
            word << bits | word >> (64 - bits)
        }
    }
}
