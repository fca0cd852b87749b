/// A protocol that a connection may switch to (RFC 9110 §7.8), by a number made of its name in
/// lower case, so that an exchange can carry it: FNV-1a, never 0. The names that are compared come
/// from the configuration, so nobody outside can make two of them meet.
///
/// Public and frozen, so that comparisons in other targets are one instruction.
@frozen
public struct UpgradeProtocol: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// No upgrade.
    @inlinable
    public static var none: UpgradeProtocol { UpgradeProtocol(rawValue: 0) }

    package static let webSocket = UpgradeProtocol("websocket")

    package init(_ name: String) {
        let bytes = Array(name.utf8)
        self.init(bytes.span, 0..<bytes.count)
    }

    /// Of the name in `bytes[range]`, in any letter case.
    package init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for index in range {
            let byte = bytes[index]
            let isUpper = byte &- UInt8(ascii: "A") < 26
            hash = (hash ^ UInt64(isUpper ? byte | 0x20 : byte)) &* 0x100_0000_01B3
        }
        self.init(rawValue: hash == 0 ? 1 : hash)
    }

    /// The first element of the list in `value` that `allowed` contains, and where it stands.
    package static func first(
        of value: ByteRange, in bytes: Span<UInt8>, allowed: [UpgradeProtocol]
    ) -> (UpgradeProtocol, ByteRange)? {
        var position = Int(value.start)
        while position < value.end {
            var start = position
            while position < value.end, bytes[position] != UInt8(ascii: ",") { position += 1 }
            var end = position
            while start < end, bytes[start] == 0x20 || bytes[start] == 0x09 { start += 1 }
            while end > start, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
            let found = UpgradeProtocol(bytes, start..<end)
            if start < end, allowed.contains(found) { return (found, ByteRange(start..<end)) }
            position += 1
        }
        return nil
    }
}
