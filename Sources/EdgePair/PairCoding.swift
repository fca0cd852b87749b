internal import EdgeCore

/// Why bytes of the peer are not a message.
package enum PairViolation: Error, Equatable, Sendable, CustomStringConvertible {
    /// A body longer than `PairMessage.bodyBytesMax`.
    case tooLong(UInt32)
    /// Reserved bytes that are not zero.
    case reserved
    /// A body that ends early, goes on, or has values that nobody sends.
    case body(PairMessage.Kind)
    /// Anything before the hello, or a second hello.
    case order(PairMessage.Kind)
    /// The hello of another node than the certificate's.
    case identity
    /// More than a peer has to say (`PairTiming.bytesMax`, `messagesMax`).
    case tooMuch

    package var description: String {
        switch self {
        case .tooLong(let count): "a message of \(count) bytes"
        case .reserved: "reserved bytes are not zero"
        case .body(let kind): "a bad \(kind) message"
        case .order(let kind): "a \(kind) message out of turn"
        case .identity: "it is not the node that its certificate says"
        case .tooMuch: "more messages than anybody needs"
        }
    }
}

/// Writes a body; numbers big-endian.
struct PairWriter {
    var bytes: [UInt8] = []

    mutating func number(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes += $0 }
    }

    /// Cut at a character's end if it is too long.
    mutating func text(_ value: String) {
        var rest = value.utf8.prefix(PairMessage.textBytesMax)
        while !rest.isEmpty, String(rest) == nil { rest = rest.dropLast() }
        number(UInt8(rest.count))
        bytes += rest
    }

    mutating func address(_ value: SocketAddress) {
        number(UInt8(value.isIPv4 ? 4 : 6))
        if value.isIPv4 {
            number(value.ipv4)
        } else {
            number(value.high)
            number(value.low)
        }
        number(value.port)
    }
}

/// Takes what a body has to have, or throws.
struct PairReader {
    private let bytes: ArraySlice<UInt8>
    private var at: Int
    private let kind: PairMessage.Kind

    init(_ bytes: ArraySlice<UInt8>, _ kind: PairMessage.Kind) {
        self.bytes = bytes
        self.kind = kind
        at = bytes.startIndex
    }

    var violation: PairViolation { .body(kind) }
    var isAtEnd: Bool { at == bytes.endIndex }

    mutating func take(_ count: Int) throws(PairViolation) -> ArraySlice<UInt8> {
        guard count <= bytes.endIndex - at else { throw violation }
        defer { at += count }
        return bytes[at..<at + count]
    }

    mutating func rest() -> ArraySlice<UInt8> {
        defer { at = bytes.endIndex }
        return bytes[at...]
    }

    mutating func number<Number: FixedWidthInteger>() throws(PairViolation) -> Number {
        try take(Number.bitWidth / 8).reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
    }

    mutating func count(upTo max: Int) throws(PairViolation) -> Int {
        let count: UInt16 = try number()
        guard Int(count) <= max else { throw violation }
        return Int(count)
    }

    mutating func text() throws(PairViolation) -> String {
        let count: UInt8 = try number()
        guard Int(count) <= PairMessage.textBytesMax,
            let text = String(validating: try take(Int(count)), as: UTF8.self)
        else { throw violation }
        return text
    }

    mutating func address() throws(PairViolation) -> SocketAddress {
        let family: UInt8 = try number()
        switch family {
        case 4:
            let value: UInt32 = try number()
            return SocketAddress(ipv4: value, port: try number())
        case 6:
            let high: UInt64 = try number()
            let low: UInt64 = try number()
            let address = SocketAddress(ipv6High: high, low: low, port: try number())
            // An IPv4 address has one form only.
            guard !address.isIPv4 else { throw violation }
            return address
        default: throw violation
        }
    }
}
