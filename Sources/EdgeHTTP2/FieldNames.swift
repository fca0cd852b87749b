/// Names of fields, as a set that may hold more than was put into it: one bit of 64 per name. For
/// fields that a sender wants in no table on the whole way (RFC 7541 §7.1.3): one too many costs a
/// few bytes, one too few tells a secret.
package struct FieldNames: BitwiseCopyable, Sendable, Equatable {
    private var bits: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { bits == 0 }

    /// - Parameter name: in lower case.
    mutating func insert(_ name: UnsafeRawPointer, _ count: Int) { bits |= Self.bit(name, count) }

    func contains(_ name: UnsafeRawPointer, _ count: Int) -> Bool {
        bits != 0 && bits & Self.bit(name, count) != 0
    }

    package mutating func formUnion(_ other: FieldNames) { bits |= other.bits }

    private static func bit(_ name: UnsafeRawPointer, _ count: Int) -> UInt64 {
        let bytes = UnsafeRawBufferPointer(start: name, count: count)
        var hash: UInt32 = 2_166_136_261
        for byte in bytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return 1 << UInt64((hash ^ hash >> 16) & 63)
    }
}
