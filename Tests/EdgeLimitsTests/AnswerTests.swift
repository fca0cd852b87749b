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
            ("POST", "/login", 10), ("POST", "/login/x", 10), ("GET", "/login", 1),
            ("POST", "/loginx", 3), ("DELETE", "/x", 3), ("GET", "/health", 0),
            ("GET", "/healthy", 1), ("GET", "/", 1), ("POST", "/login/a%20b", 10),
            ("GET", "/health/a%2Fb", 1), ("GET", "/health/a%41b", 0), ("OPTIONS", "*", 1),
            // As it is written, nobody knows what it is.
            ("POST", "/./login", 10), ("GET", "/./health", 1), ("POST", "//login", 10),
            ("POST", "/%6cogin", 10), ("POST", "/x/../login", 10), ("POST", "/login;a", 10),
            ("POST", "/%2e/login", 10), ("POST", "\\login", 10), ("POST", "/%zzlogin", 10),
            ("POST", "/login/..", 10), ("POST", "/x/%2e%2E/login", 10),
            // What is certain speaks against it.
            ("POST", "/files/%6cogin", 3), ("POST", "/files/a;b/login", 3),
        ] as [(String, String, UInt32)])
    func costs(method: String, path: String, cost: UInt32) {
        let costs = RequestCosts([
            LimitPolicy.Cost(methods: ["POST"], path: "/login/", cost: 10),
            LimitPolicy.Cost(methods: ["POST", "DELETE"], cost: 3),
            LimitPolicy.Cost(path: "/health", cost: 0),
        ])
        let (verb, text) = (Array(method.utf8), Array(path.utf8))

        let certain = RequestCosts.certainPrefix(of: text.span)
        let found = costs.cost(method: verb.span, path: text.span, certain: certain)
        #expect(found == cost)
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

    @Test("What stands behind a long line's blanks is not passed over, remarks may be long")
    func longLines() throws {
        let blanks = String(repeating: " ", count: 300)
        let hidden = Array("192.0.2.1\(blanks)0.0.0.0/0\n".utf8)
        #expect(throws: AddressRanges.Failure.self) { try AddressRanges.parse(hidden.span) }
        let indented = Array("\(blanks)0.0.0.0/0\n".utf8)
        #expect(throws: AddressRanges.Failure.self) { try AddressRanges.parse(indented.span) }

        let remark = Array("192.0.2.1 # \(blanks) 0.0.0.0/0 ; #\n".utf8)
        #expect(try AddressRanges.parse(remark.span).map(\.description) == ["192.0.2.1/32"])
        let wrong = AddressRanges.Failure.noBlock(line: 1, text: "a\u{1B}b")
        #expect("\(wrong)" == "line 1: 'ab' is no address and no block")
    }

    @Test("Whatever a file holds, it is a list or a line that is wrong", arguments: 1...8)
    func walk(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let pieces = [
            "192.0.2.0/24", "::/0", "2001:db8::/32", "198.51.100.7", "\n", "\r\n", " ", "\t", "#",
            ";", "/", "/129", "::ffff:10.0.0.0/104", "0.0.0.0/0", "\u{0}", "é", "1", ":", ".",
            "300.1.1.1", "x",
        ].map { Array($0.utf8) }
        var lists = 0
        for _ in 0..<4_000 {
            var text: [UInt8] = []
            for _ in 0..<random.next() % 12 {
                text += pieces[Int(random.next() % UInt64(pieces.count))]
                if random.next() % 40 == 0 { text.append(UInt8(truncatingIfNeeded: random.next())) }
            }
            let lines = text.reduce(1) { $1 == 10 ? $0 + 1 : $0 }
            do {
                let blocks = try AddressRanges.parse(text.span)
                #expect(blocks.count <= lines)
                let ranges = AddressRanges(blocks)
                for block in blocks { #expect(ranges.contains(block.base)) }
                lists += 1
            } catch {
                guard case .noBlock(let line, _) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(line >= 1 && line <= lines)
            }
        }
        #expect(lists > 100)
    }
}
