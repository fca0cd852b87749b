import EdgeTesting
import Testing

@testable import EdgeRouting

@Suite("Route table") struct RouteTableTests {
    private static func table(_ hosts: String...) -> RouteTable {
        RouteTable(
            hosts.enumerated().map { ($1, RouteTable.Route(site: Int32($0), pool: Int32($0))) })
    }

    /// The site's number, for a host of any bytes.
    private static func site(_ table: RouteTable, _ host: [UInt8]) -> Int32? {
        table.resolve(host.span)?.site
    }

    private static func site(_ table: RouteTable, _ host: String) -> Int32? {
        site(table, Array(host.utf8))
    }

    private static let common = table(
        "www.home.example", "*.home.example", "home.example", "*", "*.www.home.example")

    @Test(
        "Exact before wildcard before any",
        arguments: [
            ("www.home.example", 0), ("a.home.example", 1), ("home.example", 2),
            ("other.example", 3), ("x.www.home.example", 4), ("a.b.home.example", 3),
            ("example", 3), ("xhome.example", 3),
        ] as [(String, Int32)])
    func order(host: String, site: Int32) {
        #expect(Self.site(Self.common, host) == site)
    }

    @Test(
        "Letter case and one trailing dot do not count",
        arguments: [
            ("WWW.Home.EXAMPLE", 0), ("www.home.example.", 0), ("A.HOME.EXAMPLE.", 1),
            ("HOME.example.", 2), ("www.home.example..", 3),
        ] as [(String, Int32)])
    func spelling(host: String, site: Int32) {
        #expect(Self.site(Self.common, host) == site)
    }

    @Test(
        "A host that no site has is nobody's",
        arguments: [
            "", ".", "..", ".home.example", "a.b.home.example", "home.example", "*.home.example.x",
            "b..home.example", "-", "@", "[", "home", "www.home.exampl", "www.home.example.org",
            "a.home.example:80", "a.home.example ",
        ])
    func nobody(host: String) {
        let table = Self.table("www.home.example", "*.home.example")

        #expect(Self.site(table, host) == nil)
    }

    @Test("A wildcard is one label of any bytes but none")
    func wildcard() {
        let table = Self.table("*.home.example")

        #expect(Self.site(table, "x.home.example") == 0)
        #expect(Self.site(table, "*.home.example") == 0)
        #expect(Self.site(table, [0xC3, 0xA4] + Array(".home.example".utf8)) == 0)
        #expect(Self.site(table, [0] + Array(".home.example".utf8)) == 0)
        #expect(Self.site(table, ".home.example") == nil)
    }

    @Test("Bytes next to letters are not folded")
    func folding() {
        let table = Self.table("a[b.example", "a@b.example")

        #expect(Self.site(table, "A[B.example") == 0)
        #expect(Self.site(table, "a{b.example") == nil)
        #expect(Self.site(table, "a`b.example") == nil)
        #expect(Self.site(table, "A@B.EXAMPLE") == 1)
    }

    @Test("Longer than a name can be is nobody's, and costs nothing")
    func long() {
        let longest = String(repeating: "a", count: 255)
        let table = Self.table(longest, "*.\(longest)")

        #expect(Self.site(table, longest) == 0)
        #expect(Self.site(table, longest + ".") == 0)
        #expect(Self.site(table, longest + "a") == nil)
        #expect(Self.site(table, "x." + longest) == nil)
        #expect(Self.site(table, [UInt8](repeating: 0x2E, count: 100_000)) == nil)
    }

    @Test("Of equal patterns the first counts")
    func equal() {
        let table = Self.table("a.example", "a.example", "*.example", "*.example", "*", "*")

        #expect(Self.site(table, "a.example") == 0)
        #expect(Self.site(table, "b.example") == 2)
        #expect(Self.site(table, "c") == 4)
    }

    @Test("An empty table has no route, a table of * has one for everything")
    func edges() {
        #expect(Self.site(Self.table(), "a.example") == nil)
        #expect(Self.site(Self.table("*"), "") == 0)
        #expect(Self.site(Self.table("*"), [0xFF, 0x00]) == 0)
    }

    @Test("Ten thousand hosts each find their own")
    func many() throws {
        let hosts = (0..<5_000).flatMap { ["site-\($0).example", "*.wild-\($0).example"] }
        let table = RouteTable(
            hosts.enumerated().map { ($1, .init(site: Int32($0), pool: Int32($0 % 7))) })

        for (index, host) in hosts.enumerated() {
            let name = host.replacing("*.", with: "any.")
            try #require(Self.site(table, name) == Int32(index), "\(name)")
        }
        #expect(Self.site(table, "site-5000.example") == nil)
    }

    @Test("Random bytes are never another's host")
    func hostile() {
        seeded(11) { random in
            let table = Self.table("www.home.example", "*.home.example")
            for _ in 0..<3_000 {
                let host = random.bytes(Int(random.next() % 300))
                #expect(Self.site(table, host) == nil, "\(random)")
            }
        }
    }
}
