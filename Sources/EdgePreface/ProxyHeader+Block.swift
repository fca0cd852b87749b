internal import EdgeCore

/// Version 2 (proxy-protocol.txt, section 2.2).
extension ProxyHeader {
    static let signature: InlineArray<12, UInt8> = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    /// Signature, version, command, family and length.
    static let fixedByteCount = 16
    /// PP2_TYPE_CRC32C.
    private static let checksumType: UInt8 = 0x03

    /// What the second half of the 13th byte and the 14th say.
    private enum Subject {
        /// LOCAL or UNSPEC: what follows says nothing about addresses and is skipped.
        case nobody
        case ipv4, ipv6

        /// Both addresses and both ports.
        var byteCount: Int {
            switch self {
            case .nobody: 0
            case .ipv4: 12
            case .ipv6: 36
            }
        }
    }

    static func readBlock(_ bytes: Span<UInt8>) throws(ProxyHeaderStop) -> ProxyHeaderOutcome {
        for index in signature.indices {
            guard try byte(bytes, index) == signature[index] else { throw .violation(.noHeader) }
        }
        let subject = try readSubject(bytes)
        let half = Int(try byte(bytes, 14)) << 8
        guard half <= byteCountMax - fixedByteCount else { throw .violation(.tooLong) }
        let end = fixedByteCount + (half | Int(try byte(bytes, 15)))
        guard end <= byteCountMax else { throw .violation(.tooLong) }
        let addressesEnd = fixedByteCount + subject.byteCount
        guard end >= addressesEnd else { throw .violation(.badLength) }
        guard bytes.count >= end else { throw .incomplete }

        var header = ProxyHeader()
        switch subject {
        case .nobody: return .complete(byteCount: end, header)
        case .ipv4:
            header.source = ipv4(bytes, 16, port: 24)
            header.destination = ipv4(bytes, 20, port: 26)
        case .ipv6:
            header.source = ipv6(bytes, 16, port: 48)
            header.destination = ipv6(bytes, 32, port: 50)
        }
        try checkExtensions(bytes, addressesEnd..<end)
        return .complete(byteCount: end, header)
    }

    private static func readSubject(_ bytes: Span<UInt8>) throws(ProxyHeaderStop) -> Subject {
        let command = try byte(bytes, 12)
        guard command >> 4 == 2 else { throw .violation(.badVersion) }
        guard command & 0x0F <= 1 else { throw .violation(.badCommand) }
        let family = try byte(bytes, 13)
        // "…and discard the protocol block including the family which is ignored".
        guard command & 0x0F == 1 else { return .nobody }
        switch family {
        case 0x00: return .nobody
        case 0x11: return .ipv4
        case 0x21: return .ipv6
        default: throw .violation(.unsupportedFamily)
        }
    }

    /// Types, lengths and values fill the rest exactly, and a checksum is right.
    private static func checkExtensions(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(ProxyHeaderStop) {
        var position = range.lowerBound
        var checksum: Int?
        while position < range.upperBound {
            guard range.upperBound - position >= 3 else { throw .violation(.badExtension) }
            let count = Int(number(bytes, position + 1, byteCount: 2))
            let value = position + 3
            guard count <= range.upperBound - value else { throw .violation(.badExtension) }
            if bytes[position] == checksumType {
                guard count == 4, checksum == nil else { throw .violation(.badExtension) }
                checksum = value
            }
            position = value + count
        }
        guard let checksum else { return }
        // Section 2.2.3: of the whole header, its own four bytes taken as zero.
        var crc = CRC32C()
        crc.add(bytes, 0..<checksum)
        crc.addZeros(4)
        crc.add(bytes, checksum + 4..<range.upperBound)
        guard UInt64(crc.value) == number(bytes, checksum, byteCount: 4) else {
            throw .violation(.badChecksum)
        }
    }

    // MARK: - Numbers

    private static func byte(
        _ bytes: Span<UInt8>, _ index: Int
    ) throws(ProxyHeaderStop) -> UInt8 {
        guard index < bytes.count else { throw .incomplete }
        return bytes[index]
    }

    private static func number(_ bytes: Span<UInt8>, _ start: Int, byteCount: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in start..<start + byteCount { value = value << 8 | UInt64(bytes[index]) }
        return value
    }

    private static func port(_ bytes: Span<UInt8>, _ start: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: number(bytes, start, byteCount: 2))
    }

    private static func ipv4(_ bytes: Span<UInt8>, _ start: Int, port: Int) -> SocketAddress {
        let address = UInt32(truncatingIfNeeded: number(bytes, start, byteCount: 4))
        return SocketAddress(ipv4: address, port: Self.port(bytes, port))
    }

    private static func ipv6(_ bytes: Span<UInt8>, _ start: Int, port: Int) -> SocketAddress {
        SocketAddress(
            ipv6High: number(bytes, start, byteCount: 8),
            low: number(bytes, start + 8, byteCount: 8), port: Self.port(bytes, port))
    }
}
