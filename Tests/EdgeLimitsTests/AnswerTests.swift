import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("What clients are told, costs and lists")
struct AnswerTests {
    @Test("Fields as the draft writes them")
    func fields() throws {
        let limit = try RateLimit(120, per: .seconds(10))
        var bytes: [UInt8] = []

        LimitFields.appendState("public", limit, debt: limit.span / 2, to: &bytes)

        #expect(String(decoding: bytes, as: UTF8.self) == #""public";r=60;t=6"#)
        bytes.removeAll()
        LimitFields.appendState("public", limit, debt: limit.span, to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == #""public";r=0;t=11"#)
        #expect(
            String(decoding: LimitFields.policy("public", limit), as: UTF8.self)
                == #""public";q=120;w=10"#)
        #expect(LimitFields.policy("public", nil).isEmpty)
        #expect(LimitFields.retryAfter(limit, debt: limit.span, cost: 1) == 1)
        #expect(LimitFields.retryAfter(limit, debt: limit.span, cost: 60) == 6)
        #expect(LimitFields.retryAfter(limit, debt: limit.span, cost: 121) == 11)
        #expect(LimitFields.seconds(0) == 0 && LimitFields.seconds(1) == 1)
    }

    @Test(
        "The first rule that fits says what a request costs",
        arguments: [
            ("POST", "/login", true, 10), ("POST", "/login/x", true, 10),
            ("GET", "/login", true, 1),
            ("POST", "/loginx", true, 3), ("DELETE", "/x", true, 3), ("GET", "/health", true, 0),
            ("GET", "/healthy", true, 1), ("GET", "/", true, 1),
            // As it is written, nobody knows what it is.
            ("POST", "/./login", false, 10), ("GET", "/./health", false, 1),
        ] as [(String, String, Bool, UInt32)])
    func costs(method: String, path: String, isLiteral: Bool, cost: UInt32) {
        let costs = RequestCosts([
            LimitPolicy.Cost(methods: ["POST"], path: "/login/", cost: 10),
            LimitPolicy.Cost(methods: ["POST", "DELETE"], cost: 3),
            LimitPolicy.Cost(path: "/health", cost: 0),
        ])
        let (verb, text) = (Array(method.utf8), Array(path.utf8))

        #expect(costs.cost(method: verb.span, path: text.span, isLiteral: isLiteral) == cost)
    }

    @Test("A list of blocks answers as its blocks do, one by one", arguments: 0..<6)
    func ranges(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var blocks: [CIDR] = []
        for _ in 0..<300 {
            let bits = Int(random.next() % 33)
            let four = UInt32(truncatingIfNeeded: random.next()) & 0x0F0F_FFFF
            let base = bits == 0 ? 0 : four & ~UInt32(truncatingIfNeeded: (1 << (32 - bits)) - 1)
            if random.next() % 2 == 0, bits > 3,
                let block = CIDR(SocketAddress(ipv4: base, port: 0), bits: bits)
            {
                blocks.append(block)
            }
            let wide = Int(random.next() % 61) + 4
            let high = random.next() & (UInt64.max << UInt64(64 - wide)) & 0xF0F0_FFFF_FFFF_FFFF
            if let block = CIDR(SocketAddress(ipv6High: high, low: 0, port: 0), bits: wide) {
                blocks.append(block)
            }
        }
        let ranges = AddressRanges(blocks)

        for _ in 0..<3_000 {
            let address =
                random.next() % 2 == 0
                ? SocketAddress(
                    ipv4: UInt32(truncatingIfNeeded: random.next()) & 0x0F0F_FFFF, port: 1)
                : SocketAddress(
                    ipv6High: random.next() & 0xF0F0_FFFF_FFFF_FFFF, low: random.next(), port: 1)
            #expect(ranges.contains(address) == blocks.contains { $0.contains(address) })
        }
        #expect(ranges.count > 0 && ranges.count <= blocks.count)
    }

    @Test("All of IPv6 is nothing of IPv4")
    func families() throws {
        let ranges = AddressRanges([try #require(CIDR("::/0"))])

        #expect(!ranges.contains(SocketAddress(ipv4: 1, port: 0)))
        #expect(ranges.contains(SocketAddress(ipv6High: 9, low: 0, port: 0)))
        #expect(!AddressRanges().contains(SocketAddress(ipv4: 1, port: 0)))
    }

    @Test("A file of blocks is read line by line, and a wrong line is named")
    func files() throws {
        let text = "# list\n192.0.2.0/24 ; ours\r\n\n\t2001:db8::/32\n198.51.100.7"
        let blocks = try AddressRanges.parse(Array(text.utf8).span)

        #expect(blocks.map(\.description) == ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"])
        let wrong = AddressRanges.Failure.noBlock(line: 2, text: "10.0.0.1/8")
        #expect(throws: wrong) { try AddressRanges.parse(Array("::1\n10.0.0.1/8\n".utf8).span) }
        #expect(try AddressRanges.parse([UInt8]().span).isEmpty)
    }
}
