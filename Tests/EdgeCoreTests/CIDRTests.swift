import EdgeCore
import EdgeTesting
import Testing

@Suite("Blocks of addresses")
struct CIDRTests {
    private func address(_ text: String) throws -> SocketAddress {
        try #require(SocketAddress(address: text, port: 4711))
    }

    @Test(
        "A block holds what its leading bits say, and nothing of the other family",
        arguments: [
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false), ("::/0", "2001:db8::1", true), ("::/0", "10.0.0.1", false),
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
            ("2001:db8::/65", "2001:db8::7fff:0:0:1", true),
            ("2001:db8::/65", "2001:db8::8000:0:0:0", false),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true), ("fe80::1/128", "fe80::1", true),
            ("192.0.2.128/25", "192.0.2.127", false), ("192.0.2.128/25", "192.0.2.255", true),
        ])
    func contains(block: String, member: String, expected: Bool) throws {
        let cidr = try #require(CIDR(block))
        let member = try address(member)

        #expect(cidr.contains(member) == expected)
        #expect(CIDRList([cidr]).contains(member) == expected)
    }

    @Test(
        "What is no block is refused",
        arguments: [
            "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.1/8",
            "10/8", "10.0.0.0/8/8", "2001:db8::/129", "2001:db8::1/64", "::ffff:10.0.0.0/95",
            "host/8", "10.0.0.0/0x8", "10.0.0.0 /8", "[2001:db8::]/32",
        ])
    func refused(text: String) { #expect(CIDR(text) == nil) }

    @Test("A block is written as it is read")
    func text() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "::/0", "0.0.0.0/0", "192.0.2.1/32"] {
            #expect(CIDR(text)?.description == text)
        }
    }

    @Test("A list answers as its blocks do, however they overlap")
    func list() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<200 {
            // Few bits vary, so that blocks overlap and addresses hit them.
            var blocks: [CIDR] = []
            while blocks.count < 12 {
                let isIPv4 = random.next() & 1 == 0
                let bits = Int(random.next() % (isIPv4 ? 7 : 9)) + (isIPv4 ? 26 : 60)
                if let block = CIDR(sample(&random, isIPv4, below: bits), bits: bits) {
                    blocks.append(block)
                }
            }
            let list = CIDRList(blocks)
            for _ in 0..<50 {
                let probe = sample(&random, random.next() & 1 == 0, below: 128)
                #expect(list.contains(probe) == blocks.contains { $0.contains(probe) })
            }
        }
        #expect(CIDRList().isEmpty)
        #expect(!CIDRList().contains(try address("10.0.0.1")))
    }

    /// An address of a small neighbourhood whose bits behind `below` are 0.
    private func sample(
        _ random: inout SeededRandom, _ isIPv4: Bool, below bits: Int
    ) -> SocketAddress {
        let number = random.next()
        if isIPv4 {
            let kept = bits >= 32 ? UInt32.max : ~(UInt32.max >> UInt32(bits))
            return SocketAddress(
                ipv4: (0xC000_0200 | UInt32(number & 63)) & kept, port: 0)
        }
        let high = 0x2001_0DB8_0000_0000 | (number & 15)
        let low = (number >> 8 & 15) << 60
        let keptHigh = bits >= 64 ? UInt64.max : ~(UInt64.max >> UInt64(bits))
        let keptLow =
            bits >= 128 ? UInt64.max : bits <= 64 ? 0 : ~(UInt64.max >> UInt64(bits - 64))
        return SocketAddress(ipv6High: high & keptHigh, low: low & keptLow, port: 0)
    }
}
