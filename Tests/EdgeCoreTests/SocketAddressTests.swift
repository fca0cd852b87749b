internal import EdgeCore
internal import EdgeTesting
internal import Glibc
internal import Testing

@Suite("Socket address")
struct SocketAddressTests {
    @Test(
        "text goes in and comes out in its canonical form",
        arguments: [
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("255.255.255.255:65535", "255.255.255.255:65535"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:DB8:0:0:0:0:0:1]:80", "[2001:db8::1]:80"),
            ("[::]:1", "[::]:1"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1:443"),
        ])
    func text(given: String, canonical: String) throws {
        let address = try #require(SocketAddress(given))

        #expect(address.description == canonical)
        #expect(SocketAddress(canonical) == address)
    }

    @Test(
        "names and malformed text are refused",
        arguments: [
            "", ":", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:+1", "192.0.2.1: 1",
            "192.0.2.1:000443", "192.0.2:443", "192.0.2.256:443", "192.0.2.01:443",
            "[192.0.2.1]:443", "2001:db8::1:443", "[2001:db8::1]", "[2001:db8::1:443",
            "2001:db8::1]:443", "[]:443", "[fe80::1%eth0]:443", "localhost:443", " 192.0.2.1:443",
        ])
    func malformed(text: String) { #expect(SocketAddress(text) == nil) }

    @Test("an address without port refuses brackets and ports")
    func bare() {
        #expect(SocketAddress(address: "2001:db8::1", port: 7)?.description == "[2001:db8::1]:7")
        #expect(SocketAddress(address: "[2001:db8::1]", port: 7) == nil)
        #expect(SocketAddress(address: "192.0.2.1:80", port: 7) == nil)
    }

    @Test("the kernel's form and back is the same address")
    func kernel() throws {
        try seeded(7) { random in
            for _ in 0..<1000 {
                let port = UInt16.random(in: 0 ... .max, using: &random)
                var address = SocketAddress(
                    ipv4: .random(in: 0 ... .max, using: &random), port: port)
                if random.chance(1, of: 2) {
                    address = SocketAddress(
                        ipv6High: random.next(), low: random.next(),
                        scope: .random(in: 0...9, using: &random), port: port)
                }
                let again = withUnsafeTemporaryAllocation(byteCount: 29, alignment: 1) { storage in
                    // One byte off: the storage may have any alignment.
                    let place = storage.baseAddress! + 1
                    address.write(to: place)
                    return SocketAddress(kernel: place, byteCount: address.kernelByteCount)
                }
                try #require(again == address, "\(random)")
            }
        }
    }

    @Test("a short or foreign kernel form is refused")
    func foreign() {
        var storage = sockaddr_storage()
        let address = SocketAddress(ipv6High: 1, low: 2, port: 3)
        withUnsafeMutableBytes(of: &storage) { address.write(to: $0.baseAddress!) }

        withUnsafeBytes(of: &storage) {
            #expect(SocketAddress(kernel: $0.baseAddress!, byteCount: 27) == nil)
            #expect(SocketAddress(kernel: $0.baseAddress!, byteCount: 0) == nil)
        }
        storage.ss_family = sa_family_t(AF_UNIX)
        withUnsafeBytes(of: &storage) {
            #expect(SocketAddress(kernel: $0.baseAddress!, byteCount: $0.count) == nil)
        }
    }

    @Test("a mapped address is the IPv4 address, whichever way it came in")
    func mapped() {
        let plain = SocketAddress(ipv4: 0xC000_0201, port: 80)
        let mapped = SocketAddress(ipv6High: 0, low: 0xFFFF_C000_0201, port: 80)

        #expect(mapped == plain)
        #expect(mapped.isIPv4)
        #expect(mapped.ipv4 == 0xC000_0201)
        #expect(mapped.kernelByteCount == MemoryLayout<sockaddr_in>.size)
    }

    @Test(
        "loopback is 127/8 and ::1",
        arguments: [
            ("127.0.0.1", true), ("127.255.0.9", true), ("128.0.0.1", false), ("::1", true),
            ("::2", false), ("::ffff:127.0.0.1", true), ("fe80::1", false),
        ])
    func loopback(text: String, expected: Bool) {
        #expect(SocketAddress(address: text, port: 0)?.isLoopback == expected)
    }

    @Test("another port leaves the rest alone")
    func port() throws {
        let address = try #require(SocketAddress("[2001:db8::1]:443"))

        #expect(address.with(port: 80).description == "[2001:db8::1]:80")
        #expect(address.with(port: 443) == address)
    }

    @Test("a port is one to five plain digits")
    func decimal() {
        #expect(UInt16(decimal: "0") == 0)
        #expect(UInt16(decimal: "65535") == 65_535)
        for text in ["", "65536", "99999", "-1", "+1", " 1", "1 ", "0x1", "000001", "١"] {
            #expect(UInt16(decimal: Substring(text)) == nil, "\(text)")
        }
    }
}
