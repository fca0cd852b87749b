internal import Glibc

/// One request for rtnetlink(7): a header, a fixed part, attributes, all of them 4-aligned and in
/// the byte order of the machine.
package struct NetlinkMessage: Sendable {
    /// The length is right after every call.
    package private(set) var bytes: [UInt8]

    package static let headerCount = 16

    /// - Parameters:
    ///   - type: `RTM_…`.
    ///   - flags: `NLM_F_…`; NLM_F_REQUEST is added.
    ///   - fixed: what follows the header, such as an `ifaddrmsg`.
    package init(type: UInt16, flags: UInt16, fixed: [UInt8]) {
        bytes = [UInt8](repeating: 0, count: Self.headerCount)
        store(type, at: 4)
        store(flags | 1, at: 6)
        bytes += fixed
        finish()
    }

    package var type: UInt16 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 4, as: UInt16.self) }
    }

    /// `NLM_F_…`.
    package var flags: UInt16 {
        get { bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 6, as: UInt16.self) } }
        set { store(newValue, at: 6) }
    }

    /// What the answer repeats.
    package var sequence: UInt32 {
        get { bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8, as: UInt32.self) } }
        set { store(newValue, at: 8) }
    }

    package mutating func append(_ type: UInt16, _ value: [UInt8]) {
        append(header: type, valueCount: value.count)
        bytes += value
        finish()
    }

    package mutating func append(_ type: UInt16, _ value: UInt32) {
        append(type, withUnsafeBytes(of: value) { Array($0) })
    }

    /// Text with a zero behind it.
    package mutating func append(_ type: UInt16, _ value: String) {
        append(type, Array(value.utf8) + [0])
    }

    /// Attributes inside an attribute (NLA_F_NESTED).
    package mutating func nest(_ type: UInt16, _ body: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(header: type | 0x8000, valueCount: 0)
        body(&self)
        store(UInt16(truncatingIfNeeded: bytes.count - start), at: start)
        finish()
    }

    private mutating func append(header type: UInt16, valueCount: Int) {
        let start = bytes.count
        bytes += [0, 0, 0, 0]
        store(UInt16(truncatingIfNeeded: 4 + valueCount), at: start)
        store(type, at: start + 2)
    }

    private mutating func finish() {
        while bytes.count % 4 != 0 { bytes.append(0) }
        store(UInt32(truncatingIfNeeded: bytes.count), at: 0)
    }

    private mutating func store<Number: FixedWidthInteger>(_ value: Number, at offset: Int) {
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: value, toByteOffset: offset, as: Number.self)
        }
    }
}

/// What the kernel sends: messages with a header, in each of them attributes. Lengths that make no
/// sense end the walk; nothing is read beyond the end.
package enum NetlinkReader {
    /// The head of a message.
    package struct Header {
        package let type: UInt16
        package let flags: UInt16
        package let sequence: UInt32

        /// What is listed changed while it was (NLM_F_DUMP_INTR): some of it may be missing.
        package var isInterrupted: Bool { flags & 0x10 != 0 }
    }

    /// Calls `body` with each message's head and what follows it, until it returns false.
    package static func forEachMessage<Failure: Error>(
        _ bytes: Span<UInt8>, _ body: (Header, Span<UInt8>) throws(Failure) -> Bool
    ) throws(Failure) {
        let head = NetlinkMessage.headerCount
        var offset = 0
        while offset + head <= bytes.count {
            let length = Int(word(bytes, offset))
            guard length >= head, offset + length <= bytes.count else { return }
            let header = Header(
                type: half(bytes, offset + 4), flags: half(bytes, offset + 6),
                sequence: word(bytes, offset + 8))
            guard try body(header, bytes.extracting(offset + head..<offset + length)) else {
                return
            }
            offset += (length + 3) & ~3
        }
    }

    /// Calls `body` with each attribute's type, without the bits that say how it is to be read,
    /// and its value.
    package static func forEachAttribute(
        _ bytes: Span<UInt8>, _ body: (UInt16, Span<UInt8>) -> Void
    ) {
        var offset = 0
        while offset + 4 <= bytes.count {
            let length = Int(half(bytes, offset))
            guard length >= 4, offset + length <= bytes.count else { return }
            body(
                half(bytes, offset + 2) & 0x3FFF, bytes.extracting(offset + 4..<offset + length))
            offset += (length + 3) & ~3
        }
    }

    /// What an NLMSG_ERROR says: 0 is an acknowledgement.
    ///
    /// - Parameter bytes: an `nlmsgerr`, the head of the request capped (NETLINK_CAP_ACK).
    package static func verdict(_ bytes: Span<UInt8>) -> (code: Int32, text: String?) {
        guard bytes.count >= 4 else { return (EINVAL, nil) }
        let code = 0 &- Int32(bitPattern: word(bytes, 0))
        var said: String?
        if bytes.count > 20 {
            forEachAttribute(bytes.extracting(20...)) { type, value in
                if type == 1 { said = text(value) }  // NLMSGERR_ATTR_MSG
            }
        }
        return (code, said)
    }

    // MARK: - Values

    /// Text up to its zeros.
    package static func text(_ bytes: Span<UInt8>) -> String {
        var result: [UInt8] = []
        for index in 0..<bytes.count where bytes[index] != 0 { result.append(bytes[index]) }
        return String(decoding: result, as: UTF8.self)
    }

    /// - Parameter offset: with four bytes behind it.
    package static func word(_ bytes: Span<UInt8>, _ offset: Int) -> UInt32 {
        withUnsafeTemporaryAllocation(byteCount: 4, alignment: 4) { raw in
            for index in 0..<4 { raw[index] = bytes[offset + index] }
            return raw.load(as: UInt32.self)
        }
    }

    /// - Parameter offset: with two bytes behind it.
    package static func half(_ bytes: Span<UInt8>, _ offset: Int) -> UInt16 {
        withUnsafeTemporaryAllocation(byteCount: 2, alignment: 2) { raw in
            for index in 0..<2 { raw[index] = bytes[offset + index] }
            return raw.load(as: UInt16.self)
        }
    }
}
