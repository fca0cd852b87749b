import EdgeCore
import EdgeTesting
import Testing

@testable import EdgePreface

@Suite("PROXY protocol: version 1 is read") struct ProxyLineTests {
    private func line(_ text: String) throws -> ProxyHeader {
        let bytes = Array((text + "\r\n").utf8)
        let outcome = readHeaderInSegments(bytes)
        guard case .complete(bytes.count, let header) = outcome else {
            Issue.record("\(text): \(outcome)")
            return ProxyHeader()
        }
        #expect(readHeader(bytes + Array("GET / HTTP/1.1".utf8)) == outcome)
        return header
    }

    @Test(
        "An IPv4 client and its destination",
        arguments: [
            ("192.0.2.7", 50000, "198.51.100.9", 443), ("0.0.0.0", 0, "255.255.255.255", 65535),
            ("127.0.0.1", 1, "10.20.30.40", 8080),
        ] as [(String, UInt16, String, UInt16)])
    func ipv4(_ client: String, _ port: UInt16, _ server: String, _ serverPort: UInt16) throws {
        let header = try line("PROXY TCP4 \(client) \(server) \(port) \(serverPort)")

        #expect(header.source == SocketAddress(address: client, port: port))
        #expect(header.destination == SocketAddress(address: server, port: serverPort))
    }

    @Test(
        "An IPv6 client, however its address is written",
        arguments: [
            "2001:db8::7", "::", "::1", "1::", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
            "2001:DB8:0:0:8:800:200C:417A", "1:2:3:4:5:6:7:8", "1::3:4:5:6:7:8",
            "1::3:4:5:6:192.0.2.1",
            "1:2:3:4:5:6:192.0.2.1", "64:ff9b::192.0.2.33", "::ffff:192.0.2.1", "::192.0.2.1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::0001:02", "::ffff:c000:0201",
        ])
    func ipv6(address: String) throws {
        let header = try line("PROXY TCP6 \(address) 2001:db8::9 50000 443")

        #expect(header.source == SocketAddress(address: address, port: 50000))
        #expect(header.destination == SocketAddress("[2001:db8::9]:443"))
    }

    @Test("A mapped IPv4 address is IPv4")
    func mapped() throws {
        let header = try line("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6409 1 2")

        #expect(header.source == SocketAddress("192.0.2.7:1"))
        #expect(header.destination == SocketAddress("198.51.100.9:2"))
    }

    @Test(
        "An unknown connection keeps its own address, whatever else the line says",
        arguments: [
            "", " ", " ffff::1 ffff::2 65535 65535", " anything\0at all",
            " " + String(repeating: "x", count: 107 - 16),
        ])
    func unknown(rest: String) throws {
        #expect(try line("PROXY UNKNOWN" + rest) == ProxyHeader())
    }

    @Test("What HAProxy 2.6 writes")
    func haproxy() throws {
        let header = try line("PROXY TCP4 127.0.0.1 127.0.0.1 54186 60923")

        #expect(header.source == SocketAddress("127.0.0.1:54186"))
        #expect(header.destination == SocketAddress("127.0.0.1:60923"))
    }

    @Test(
        "A line that is not exactly one is refused at its first wrong byte",
        arguments: [
            ("X", .noHeader), ("G", .noHeader), ("PROXX", .noHeader),
            ("p", .noHeader), ("PROXY\t", .noHeader), ("PROXY  ", .badLine),
            ("PROXY TCP5", .badLine), ("PROXY UD", .badLine), ("PROXY t", .badLine),
            ("PROXY UNKNOWNS", .badLine), ("PROXY UNKNOWN\n", .badLine),
            ("PROXY UNKNOWN \n", .badLine), ("PROXY UNKNOWN x\ry", .badLine),
            ("PROXY TCP4\r", .badLine), ("PROXY TCP4  ", .badAddress),
            ("PROXY TCP4 256", .badAddress), ("PROXY TCP4 01", .badAddress),
            ("PROXY TCP4 1.2.3 ", .badAddress), ("PROXY TCP4 1.2.3.4.", .badAddress),
            ("PROXY TCP4 1..", .badAddress), ("PROXY TCP4 -", .badAddress),
            ("PROXY TCP4 :", .badAddress), ("PROXY TCP4 0x", .badAddress),
            ("PROXY TCP4 1.2.3.4  ", .badAddress), ("PROXY TCP4 1.2.3.4\t", .badAddress),
            ("PROXY TCP6 :1", .badAddress), ("PROXY TCP6 :::", .badAddress),
            ("PROXY TCP6 1::2::", .badAddress), ("PROXY TCP6 12345", .badAddress),
            ("PROXY TCP6 1:2:3:4:5:6:7:8:", .badAddress), ("PROXY TCP6 1:2 ", .badAddress),
            ("PROXY TCP6 1::3:4:5:6:7:8:", .badAddress), ("PROXY TCP6 1: ", .badAddress),
            ("PROXY TCP6 1:2:3:4:5:6:7::8", .badAddress), ("PROXY TCP6 1.", .badAddress),
            ("PROXY TCP6 1:2:3:4:5:1.", .badAddress), ("PROXY TCP6 1::3:4:5:6:7:1.", .badAddress),
            ("PROXY TCP6 ::1.2.3.4:", .badAddress), ("PROXY TCP6 ::1.2.3.256", .badAddress),
            ("PROXY TCP6 ::1a.", .badAddress), ("PROXY TCP6 fe80::1%", .badAddress),
            ("PROXY TCP6 [", .badAddress), ("PROXY TCP6 g", .badAddress),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 65536", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 00", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 08", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8  ", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 -", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", .badPort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r", .badLine),
        ] as [(String, ProxyHeaderViolation)])
    func malformed(_ text: String, _ violation: ProxyHeaderViolation) {
        let bytes = Array(text.utf8)

        #expect(readHeader(bytes) == .malformed(violation), "\(text)")
        #expect(readHeader(Array(bytes.dropLast())) == .incomplete, "\(text)")
    }

    @Test("A line ends within 107 bytes")
    func tooLong() {
        let longest = "PROXY UNKNOWN " + String(repeating: "x", count: 91)

        #expect(readHeader(longest + "\r\n") == .complete(byteCount: 107, ProxyHeader()))
        #expect(readHeader(longest + "x") == .incomplete)
        #expect(readHeader(longest + "x\r") == .malformed(.tooLong))
        #expect(readHeader(longest + "x\r\n") == .malformed(.tooLong))
        #expect(readHeader(longest + "xxx") == .malformed(.tooLong))
    }

    @Test("Addresses are read as the system reads them, whatever is written")
    func randomAddresses() {
        var random = SeededRandom(seed: 20)
        let letters = Array(":::::0129afF.g".utf8)
        var accepted = 0
        for _ in 0..<30_000 {
            let count = Int.random(in: 2...12, using: &random)
            let text = String(
                decoding: (0..<count).map { _ in letters.randomElement(using: &random) ?? 0 },
                as: UTF8.self)
            let wanted = SocketAddress(address: text, port: 1)
            for (word, isRight) in [("4", wanted?.isIPv4 == true), ("6", text.contains(":"))] {
                let outcome = readHeader(
                    "PROXY TCP\(word) \(text) \(word == "4" ? "1.2.3.4" : "::") 1 2\r\n")
                if let wanted, isRight {
                    guard case .complete(_, let header) = outcome else {
                        Issue.record("\(text): \(outcome)")
                        continue
                    }
                    #expect(header.source == wanted, "\(text)")
                    accepted += 1
                } else {
                    #expect(outcome == .malformed(.badAddress), "\(text)")
                }
            }
        }
        #expect(accepted > 100, "some are addresses")
    }
}
