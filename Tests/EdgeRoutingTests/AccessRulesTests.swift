import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeRouting

@Suite("Access rules") struct AccessRulesTests {
    private static func rules(
        allow: [String] = [], deny: [String] = [], methods: [String] = []
    ) -> RuleConfiguration {
        var rules = RuleConfiguration()
        rules.allowed = allow.compactMap { CIDR($0) }
        rules.denied = deny.compactMap { CIDR($0) }
        rules.methods = methods
        return rules
    }

    private static func verdict(
        _ access: AccessRules, _ policy: Int32, _ client: String, _ method: String = "GET"
    ) throws -> AccessRules.Verdict {
        let address = try #require(SocketAddress(address: client, port: 5))
        return access.verdict(policy: policy, client: address, method: Array(method.utf8).span)
    }

    private static let access = AccessRules([
        [rules(), rules()],
        [rules(allow: ["10.0.0.0/8", "fd00::/8"]), rules(deny: ["10.1.0.0/16"])],
        [rules(allow: ["10.0.0.0/8"]), rules(), rules(allow: ["10.1.0.0/16", "192.0.2.0/24"])],
        [rules(methods: ["GET", "HEAD", "POST"]), rules(methods: ["POST", "GET", "PUT"])],
        [rules(methods: ["GET"]), rules(methods: ["POST"])],
        [rules(deny: ["0.0.0.0/0"], methods: ["GET"])],
    ])

    @Test("No policy, or one that says nothing, allows everything")
    func nothing() throws {
        #expect(try Self.verdict(Self.access, -1, "192.0.2.1", "DELETE") == .allow)
        #expect(try Self.verdict(Self.access, 0, "192.0.2.1", "DELETE") == .allow)
    }

    @Test(
        "A client has to be allowed by each list that there is, and denied by none",
        arguments: [
            (1, "10.2.0.1", true), (1, "10.1.0.1", false), (1, "192.0.2.1", false),
            (1, "fd12::1", true), (1, "2001:db8::1", false), (1, "::ffff:10.2.0.1", true),
            (2, "10.1.0.1", true), (2, "10.2.0.1", false), (2, "192.0.2.1", false),
            (5, "192.0.2.1", false), (5, "2001:db8::1", true),
        ] as [(Int32, String, Bool)])
    func clients(policy: Int32, client: String, isAllowed: Bool) throws {
        let verdict = try Self.verdict(Self.access, policy, client)

        #expect(verdict == (isAllowed ? .allow : .forbidden))
    }

    @Test(
        "A method has to be in each list that there is, as it is written",
        arguments: [
            (3, "GET", true), (3, "POST", true), (3, "HEAD", false), (3, "PUT", false),
            (3, "get", false), (3, "GE", false), (3, "GETS", false), (3, "", false),
            (4, "GET", false), (4, "POST", false),
        ] as [(Int32, String, Bool)])
    func methods(policy: Int32, method: String, isAllowed: Bool) throws {
        let verdict = try Self.verdict(Self.access, policy, "192.0.2.1", method)

        #expect(verdict == (isAllowed ? .allow : .methodNotAllowed))
    }

    @Test("Allow names what every list has, in the innermost one's order")
    func allowText() {
        #expect(Self.access.allowText(policy: 3) == "POST, GET")
        #expect(Self.access.allowText(policy: 4) == "")
        #expect(Self.access.allowText(policy: -1) == "")
    }

    @Test("Who may not come learns nothing about methods")
    func order() throws {
        #expect(try Self.verdict(Self.access, 5, "192.0.2.1", "PUT") == .forbidden)
        #expect(try Self.verdict(Self.access, 5, "2001:db8::1", "PUT") == .methodNotAllowed)
    }

    @Test("Random rules decide as asking every block does")
    func reference() throws {
        seeded(7) { random in
            for _ in 0..<300 {
                func some(_ random: inout SeededRandom) -> [CIDR] {
                    (0..<Int.random(in: 0...4, using: &random)).compactMap { _ in
                        let bits = Int.random(in: 24...32, using: &random)
                        let mask = UInt32.max << UInt32(32 - bits)
                        let value = 0x0A00_0000 | UInt32.random(in: 0...255, using: &random)
                        return CIDR(SocketAddress(ipv4: value & mask, port: 0), bits: bits)
                    }
                }
                let stack = (0..<3).map { _ in
                    var rules = RuleConfiguration()
                    if random.chance(1, of: 2) { rules.allowed = some(&random) }
                    rules.denied = some(&random)
                    return rules
                }
                let access = AccessRules([[], stack])
                for _ in 0..<20 {
                    let value = 0x0A00_0000 | UInt32.random(in: 0...300, using: &random)
                    let client = SocketAddress(ipv4: value, port: 1)
                    let expected = stack.allSatisfy { rules in
                        (rules.allowed.isEmpty || rules.allowed.contains { $0.contains(client) })
                            && !rules.denied.contains { $0.contains(client) }
                    }
                    let verdict = access.verdict(
                        policy: 1, client: client, method: [0x47].span)
                    #expect(verdict == (expected ? .allow : .forbidden), "\(random)")
                }
            }
        }
    }
}
