import EdgeCore
import EdgeTesting
import Testing

@testable import EdgePreface

@Suite("PROXY protocol: version 2 is read") struct ProxyBlockTests {
    /// Recorded from HAProxy 2.6 with `proxy-v2-options crc32c,unique-id`; one byte of a client
    /// follows.
    static let haproxy: [UInt8] =
        HeaderBlock.signature + [0x21, 0x11, 0x00, 0x22, 127, 0, 0, 1, 127, 0, 0, 1]
        + [0xE8, 0xBE, 0xAF, 0xCD, 0x03, 0x00, 0x04, 0xEE, 0xCD, 0x5D, 0xB9, 0x05, 0x00, 0x0C]
        + Array("id-127.0.0.1x".utf8)

    private let ipv6 = HeaderBlock(
        family: 0x21,
        addresses: [0x20, 1, 0xD, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]
            + [0x20, 1, 0xD, 0xB8] + [UInt8](repeating: 0, count: 11) + [9]
            + [0xC3, 0x50, 0x01, 0xBB])

    @Test("An IPv4 client and its destination")
    func ipv4() {
        let outcome = readHeaderInSegments(HeaderBlock().bytes + [0x16, 0x03, 0x01])

        #expect(
            outcome
                == .complete(
                    byteCount: 28,
                    ProxyHeader(
                        source: SocketAddress("192.0.2.7:50000"),
                        destination: SocketAddress("198.51.100.9:443"))))
    }

    @Test("An IPv6 client and its destination")
    func ipv6Client() {
        #expect(
            readHeaderInSegments(ipv6.bytes)
                == .complete(
                    byteCount: 52,
                    ProxyHeader(
                        source: SocketAddress("[2001:db8::7]:50000"),
                        destination: SocketAddress("[2001:db8::9]:443"))))
    }

    @Test("A mapped IPv4 address is IPv4")
    func mapped() throws {
        var block = ipv6
        block.addresses.replaceSubrange(
            0..<16, with: [UInt8](repeating: 0, count: 10) + [255, 255, 192, 0, 2, 7])
        guard case .complete(_, let header) = readHeader(block.bytes) else {
            Issue.record("it is not complete")
            return
        }

        #expect(header.source == SocketAddress("192.0.2.7:50000"))
        #expect(header.source?.isIPv4 == true)
    }

    @Test(
        "A connection that is nobody's keeps its own address, whatever else is said",
        arguments: [
            // LOCAL, as checks send it; with a family and addresses; with what is no extension.
            HeaderBlock(command: 0x20, family: 0, addresses: []),
            HeaderBlock(command: 0x20), HeaderBlock(command: 0x20, family: 0xFF),
            HeaderBlock(command: 0x20, family: 0x11, addresses: [1, 2]),
            // PROXY for an unspecified protocol.
            HeaderBlock(family: 0, addresses: []), HeaderBlock(family: 0),
        ])
    func nobody(block: HeaderBlock) {
        #expect(
            readHeaderInSegments(block.bytes)
                == .complete(byteCount: block.bytes.count, ProxyHeader()))
        #expect(readHeader(ProxyHeader.local) == .complete(byteCount: 16, ProxyHeader()))
    }

    @Test("Extensions are skipped, whatever they are")
    func extensions() {
        var block = HeaderBlock()
        block.extensions = [
            (0x01, Array("h2".utf8)), (0x02, Array("www.home.example".utf8)), (0x04, []),
            (0x05, [UInt8](repeating: 1, count: 128)), (0x20, [1, 0, 0, 0, 0]), (0xEA, [9]),
        ]
        let count = block.bytes.count

        guard case .complete(count, let header) = readHeaderInSegments(block.bytes) else {
            Issue.record("it is not complete")
            return
        }
        #expect(header.source == SocketAddress("192.0.2.7:50000"))
    }

    @Test("What HAProxy 2.6 writes, with its checksum")
    func haproxyHeader() {
        #expect(
            readHeaderInSegments(Self.haproxy)
                == .complete(
                    byteCount: Self.haproxy.count - 1,
                    ProxyHeader(
                        source: SocketAddress("127.0.0.1:59582"),
                        destination: SocketAddress("127.0.0.1:45005"))))
    }

    @Test("A header with a checksum is refused with any bit of it changed")
    func damaged() {
        // The 29th byte says that it is a checksum.
        for index in 0..<Self.haproxy.count - 1 where index != 28 {
            for bit in 0..<8 {
                var bytes = Self.haproxy
                bytes[index] ^= 1 << UInt8(bit)
                guard case .complete(let count, let header) = readHeader(bytes) else { continue }
                // Without its address block nobody looks for a checksum in it.
                #expect(index == 12 || index == 13, "bit \(bit) of byte \(index)")
                #expect(header == ProxyHeader() && count == Self.haproxy.count - 1)
            }
        }
    }

    @Test(
        "What is no header, or none of ours, is refused at its first wrong byte",
        arguments: [
            (HeaderBlock(command: 0x11), 13, .badVersion),
            (HeaderBlock(command: 0x31), 13, .badVersion),
            (HeaderBlock(command: 0x22), 13, .badCommand),
            (HeaderBlock(command: 0x2F), 13, .badCommand),
            (HeaderBlock(family: 0x12), 14, .unsupportedFamily),
            (HeaderBlock(family: 0x22), 14, .unsupportedFamily),
            (HeaderBlock(family: 0x31), 14, .unsupportedFamily),
            (HeaderBlock(family: 0x32), 14, .unsupportedFamily),
            (HeaderBlock(family: 0x10), 14, .unsupportedFamily),
            (HeaderBlock(family: 0x01), 14, .unsupportedFamily),
            (HeaderBlock(family: 0x41), 14, .unsupportedFamily),
            (HeaderBlock(length: 11), 16, .badLength),
            (HeaderBlock(family: 0x21, length: 35), 16, .badLength),
            (HeaderBlock(length: 4081), 16, .tooLong),
            (HeaderBlock(length: 0x1000), 15, .tooLong),
            (HeaderBlock(command: 0x20, length: 0xFFFF), 15, .tooLong),
        ] as [(HeaderBlock, Int, ProxyHeaderViolation)])
    func malformed(_ block: HeaderBlock, _ count: Int, _ violation: ProxyHeaderViolation) {
        #expect(readHeader(Array(block.bytes.prefix(count))) == .malformed(violation))
        #expect(readHeader(Array(block.bytes.prefix(count - 1))) == .incomplete)
        #expect(readHeader(block.bytes) == .malformed(violation))
    }

    @Test("The signature is compared byte by byte")
    func signature() {
        for index in 0..<12 {
            var bytes = Array(HeaderBlock.signature.prefix(index + 1))
            #expect(readHeader(bytes) == .incomplete)
            bytes[index] ^= 0x20
            #expect(readHeader(bytes) == .malformed(.noHeader))
        }
    }

    @Test("The longest header is 4,096 bytes, and nothing but its last byte completes it")
    func longest() {
        var block = HeaderBlock()
        block.extensions = [(0x04, [UInt8](repeating: 0, count: 4096 - 28 - 3))]
        let bytes = block.bytes

        #expect(bytes.count == ProxyHeader.byteCountMax)
        #expect(readHeader(Array(bytes.dropLast())) == .incomplete)
        guard case .complete(4096, _) = readHeader(bytes) else {
            Issue.record("it is not complete")
            return
        }
    }

    @Test(
        "Extensions that do not fill the header exactly are refused",
        arguments: [
            [0x04], [0x04, 0], [0x04, 0, 1], [0x04, 0, 0, 0x04], [0x04, 0xFF, 0xFF, 0, 0],
            [0x04, 0, 3, 1, 2],
            // Checksums that are none, or two.
            [0x03, 0, 0], [0x03, 0, 3, 1, 2, 3], [0x03, 0, 5, 1, 2, 3, 4, 5],
        ] as [[UInt8]])
    func badExtensions(rest: [UInt8]) {
        var block = HeaderBlock()
        block.addresses += rest

        #expect(readHeader(block.bytes) == .malformed(.badExtension))
    }

    @Test("A second checksum is refused before the first is looked at")
    func twoChecksums() {
        var block = HeaderBlock()
        block.extensions = [(0x03, [1, 2, 3, 4]), (0x03, [1, 2, 3, 4])]

        #expect(readHeader(block.bytes) == .malformed(.badExtension))
        block.extensions.removeLast()
        #expect(readHeader(block.bytes) == .malformed(.badChecksum))
    }

    @Test("The checksum is CRC-32C")
    func checksum() {
        var crc = CRC32C()
        let digits = Array("123456789".utf8)
        crc.add(digits.span, 0..<9)

        #expect(crc.value == 0xE306_9283)
        var zeros = CRC32C()
        zeros.addZeros(32)
        #expect(zeros.value == 0x8A91_36AA)
    }

    @Test("Headers with bytes changed, cut and added neither trap nor lie outside")
    func mutations() {
        var random = SeededRandom(seed: 21)
        let line = Array("PROXY TCP6 2001:db8::7 2001:db8::9 50000 443\r\n".utf8)
        let seeds = [Self.haproxy, ipv6.bytes, HeaderBlock().bytes, line]
        var complete = 0
        for _ in 0..<2_000 {
            var bytes = seeds.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 0...3, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 1: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 2: bytes.removeSubrange(index...)
                default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
                }
            }
            if case .complete(let count, _) = readHeaderInSegments(bytes) {
                #expect(count <= bytes.count, "\(random)")
                complete += 1
            }
        }
        #expect(complete > 100, "\(random)")
    }

    @Test("Every violation has its word")
    func labels() {
        #expect(ProxyHeaderViolation.badChecksum.label == "bad_checksum")
        #expect(
            Set(ProxyHeaderViolation.allCases.map(\.label)).count
                == ProxyHeaderViolation.allCases.count)
    }
}
