import EdgeCore
import Testing

@testable import EdgePreface

@Suite("PROXY protocol: version 2 is written") struct ProxyHeaderWriteTests {
    private func written(_ source: String, _ destination: String) throws -> [UInt8] {
        var storage = ProxyHeader.Storage(repeating: 0xEE)
        let count = ProxyHeader.write(
            from: try #require(SocketAddress(source)),
            to: try #require(SocketAddress(destination)), into: &storage)
        #expect((count..<52).allSatisfy { storage[$0] == 0xEE })
        return (0..<count).map { storage[$0] }
    }

    @Test("An IPv4 client is written as version 2 wants it")
    func ipv4() throws {
        let header = try written("192.0.2.7:50000", "198.51.100.9:443")

        #expect(
            header == HeaderBlock.signature
                + [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 9, 0xC3, 0x50, 0x01, 0xBB])
    }

    @Test("An IPv6 client of an IPv4 address is written as IPv6 on both sides")
    func mixed() throws {
        let header = try written("[2001:db8::1]:1", "198.51.100.9:2")

        #expect(header.count == 52)
        #expect(header[12..<16] == [0x21, 0x21, 0, 36])
        #expect(header[32..<48] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 198, 51, 100, 9])
        #expect(header[48...] == [0, 1, 0, 2])
    }

    @Test(
        "What is written is read as it was",
        arguments: [
            ("192.0.2.7:50000", "198.51.100.9:443"), ("[2001:db8::1]:1", "198.51.100.9:2"),
            ("[2001:db8::1]:65535", "[fe80::1]:0"), ("10.0.0.1:1", "[2001:db8::1]:2"),
        ])
    func roundTrip(_ source: String, _ destination: String) throws {
        let header = try written(source, destination)

        #expect(
            readHeaderInSegments(header)
                == .complete(
                    byteCount: header.count,
                    ProxyHeader(
                        source: SocketAddress(source), destination: SocketAddress(destination))))
    }

    @Test("The name that the client asked for goes with it")
    func authority() throws {
        let name = Array("www.home.example".utf8)
        var bytes = [UInt8](repeating: 0, count: 71)
        var output = bytes.mutableSpan

        let count = ProxyHeader.write(
            from: try #require(SocketAddress("[2001:db8::1]:1")),
            to: try #require(SocketAddress("[2001:db8::2]:2")), authority: name.span, into: &output)

        #expect(count == 71)
        #expect(Array(bytes[52...]) == [0x02, 0x00, 0x10] + name)
        guard case .complete(71, let header) = readHeader(bytes) else {
            Issue.record("it is not complete")
            return
        }
        #expect(header.source == SocketAddress("[2001:db8::1]:1"))
    }

    @Test("A check's header says that it is nobody's")
    func local() {
        #expect(ProxyHeader.local == HeaderBlock.signature + [0x20, 0, 0, 0])
    }
}
