import EdgeCore
import Testing

@testable import EdgeRouting

@Suite("View table") struct ViewTableTests {
    private static func view(
        _ name: String, _ interfaces: [String] = [], from sources: [String] = []
    ) -> ViewConfiguration {
        var view = ViewConfiguration(name: name)
        view.interfaces = interfaces
        view.sources = sources.compactMap { CIDR($0) }
        return view
    }

    private static func address(_ text: String) throws -> SocketAddress {
        try #require(SocketAddress(address: text, port: 1234))
    }

    /// Listener 0 serves all, 1 only the guests' view, 2 the two others.
    private static let table = ViewTable(
        [
            view("admin", ["eth0"], from: ["192.168.1.0/28", "fd00::/64"]),
            view("lan", ["eth0", "eth1"]), view("guests", [], from: ["10.0.0.0/8"]),
        ], listeners: [nil, [2], [0, 1]], interfaces: ["eth0": [2, 7], "eth1": [3], "wg0": [9]])

    @Test(
        "The first view that fits in the order of the file is the one",
        arguments: [
            (2, "192.168.1.5", 0), (7, "192.168.1.5", 0), (2, "fd00::1", 0), (2, "192.168.1.16", 1),
            (3, "192.168.1.5", 1), (2, "10.1.2.3", 1), (9, "10.1.2.3", 2), (0, "10.1.2.3", 2),
            (9, "192.168.1.5", nil), (0, "192.168.1.5", nil), (9, "fd00::1", nil),
            (2, "::ffff:192.168.1.5", 0), (9, "::ffff:10.0.0.1", 2),
        ] as [(Int32, String, Int?)])
    func order(interface: Int32, source: String, view: Int?) throws {
        let found = Self.table.view(
            listener: 0, interface: interface, source: try Self.address(source))

        #expect(found == view)
    }

    @Test(
        "Who belongs to a view that the listener does not serve is refused, not passed to the next")
    func served() throws {
        let admin = try Self.address("192.168.1.5")
        let guest = try Self.address("10.1.2.3")

        #expect(Self.table.verdict(listener: 1, interface: 2, source: admin) == .notServed(0))
        #expect(Self.table.verdict(listener: 1, interface: 2, source: guest) == .notServed(1))
        #expect(Self.table.verdict(listener: 1, interface: 9, source: guest) == .view(2))
        #expect(Self.table.verdict(listener: 2, interface: 9, source: guest) == .notServed(2))
        #expect(Self.table.verdict(listener: 2, interface: 9, source: admin) == .nowhere)
        #expect(Self.table.view(listener: 1, interface: 2, source: guest) == nil)
        #expect(Self.table.view(listener: 3, interface: 2, source: admin) == nil)
        #expect(Self.table.view(listener: -1, interface: 2, source: admin) == nil)
    }

    @Test("A view whose interface is not there is for nobody, and for its clients when it is back")
    func comesAndGoes() throws {
        let source = try Self.address("192.0.2.1")
        let there = ViewTable(
            [Self.view("public", ["wg0"])], listeners: [nil], interfaces: ["wg0": [9]])
        let gone = there.withInterfaces(["eth0": [2]])
        let back = gone.withInterfaces(["wg0": [12]])

        #expect(there.view(listener: 0, interface: 9, source: source) == 0)
        for interface in [0, 2, 9, 12] as [Int32] {
            #expect(gone.view(listener: 0, interface: interface, source: source) == nil)
        }
        #expect(back.view(listener: 0, interface: 9, source: source) == nil)
        #expect(back.view(listener: 0, interface: 12, source: source) == 0)
    }

    @Test("An unknown interface is never a named one")
    func unknown() throws {
        let table = ViewTable(
            [Self.view("a", ["eth0"])], listeners: [nil], interfaces: ["eth0": [0, -1]])

        #expect(
            table.view(listener: 0, interface: 0, source: try Self.address("192.0.2.1")) == nil)
        #expect(
            table.view(listener: 0, interface: -1, source: try Self.address("192.0.2.1")) == nil)
    }

    @Test("The only view of a plain configuration is everybody's")
    func only() throws {
        let table = ViewTable([.only], listeners: [nil, nil], interfaces: [:])

        #expect(table.view(listener: 1, interface: 5, source: try Self.address("::1")) == 0)
    }
}

@Suite("Sets of address blocks") struct CIDRSetsTests {
    @Test("A set has the addresses that one of its blocks has")
    func compare() throws {
        let texts = [
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "0.0.0.0/32"], [], ["::/0"], ["0.0.0.0/0"],
            ["fd00::/8", "2001:db8::/32", "2001:db8:1::/48", "10.0.0.0/9", "10.128.0.0/9"],
        ]
        let blocks = texts.map { $0.compactMap { CIDR($0) } }
        let sets = CIDRSets(blocks)
        let addresses = [
            "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0", "192.0.2.1", "192.0.2.2",
            "0.0.0.0", "0.0.0.1", "::", "fd00::", "fe00::", "2001:db8:1::5", "2001:db9::",
            "255.255.255.255", "::ffff:10.1.1.1", "ffff::",
        ]

        for text in addresses {
            let address = try #require(SocketAddress(address: text, port: 80))
            for (index, set) in blocks.enumerated() {
                let expected = set.contains { $0.contains(address) }
                #expect(sets.contains(address, in: index) == expected, "\(text) in \(texts[index])")
            }
        }
        #expect(sets.isEmpty(1) && !sets.isEmpty(0))
    }
}
