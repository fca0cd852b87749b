import EdgeHTTP
import Testing

@Suite("Names that clients and servers know sites by")
struct HostMapTests {
    private static let map = HostMap([
        ("grafana.example.org", "grafana.home.example"),
        ("wiki.example.org", "wiki.home.example"),
        ("*.apps.example.org", "*.k8s.home.example"),
        ("shop.example.com", "shop-1.lan"),
        ("old.apps.example.org", "legacy.home.example"),
        ("same.example.org", "same.example.org"),
    ])

    private enum Side: CaseIterable { case inside, outside, domain }

    private static func other(_ map: HostMap, _ host: [UInt8], _ side: Side) -> [UInt8]? {
        let name =
            switch side {
            case .inside: map.internalName(of: host.span)
            case .outside: map.externalName(of: host.span)
            case .domain: map.externalDomain(of: host.span)
            }
        guard let name else { return nil }
        let output = written {
            map.write(name, of: host.span, into: &$0)
            return true
        }
        #expect(output?.count == name.byteCount)
        #expect(name.byteCount <= host.count + map.growthMax)
        return output
    }

    private static func other(_ map: HostMap, _ host: String, _ side: Side) -> String? {
        other(map, Array(host.utf8), side).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(
        "An external name becomes the internal one, a wildcard's label stays",
        arguments: [
            ("grafana.example.org", "grafana.home.example"),
            ("GrafanA.EXAMPLE.org", "grafana.home.example"),
            ("grafana.example.org.", "grafana.home.example"),
            ("Ci.apps.example.org", "Ci.k8s.home.example"),
            ("ci.apps.example.org.", "ci.k8s.home.example"),
            ("old.apps.example.org", "legacy.home.example"),
            ("same.example.org", "same.example.org"),
            ("a.ci.apps.example.org", nil), ("apps.example.org", nil), (".apps.example.org", nil),
            ("grafana.home.example", nil), ("example.org", nil), ("grafana", nil), ("", nil),
            (".", nil), ("..", nil), ("grafana.example.org..", nil), ("xgrafana.example.org", nil),
        ])
    func inward(host: String, expected: String?) {
        #expect(Self.other(Self.map, host, .inside) == expected)
    }

    @Test(
        "An internal name becomes the external one, unless that is another site's",
        arguments: [
            ("grafana.home.example", "grafana.example.org"),
            ("SHOP-1.lan", "shop.example.com"), ("ci.k8s.home.example", "ci.apps.example.org"),
            ("legacy.home.example", "old.apps.example.org"),
            ("old.k8s.home.example", nil), ("OLD.k8s.home.example", nil),
            ("same.example.org", "same.example.org"), ("home.example", nil),
            ("grafana.example.org", nil), ("x.grafana.home.example", nil),
        ])
    func outward(host: String, expected: String?) {
        #expect(Self.other(Self.map, host, .outside) == expected)
    }

    @Test(
        "A cookie's Domain is translated where all names agree",
        arguments: [
            ("home.example", "example.org"), ("HOME.example", "example.org"),
            ("grafana.home.example", "grafana.example.org"),
            ("k8s.home.example", "apps.example.org"), ("x.k8s.home.example", "x.apps.example.org"),
            ("lan", nil), ("example", nil), ("example.org", "example.org"), ("", nil),
            ("other.example", nil), ("ome.example", nil),
        ])
    func domains(domain: String, expected: String?) {
        #expect(Self.other(Self.map, domain, .domain) == expected)
    }

    @Test("A Domain that two external ones stand for is neither, a name itself is")
    func ambiguous() {
        let map = HostMap([
            ("a.example.org", "a.home.example"), ("b.example.com", "b.home.example"),
            ("x.y.example.net", "x.y.lan"), ("z.y.example.net", "z.y.lan"),
        ])
        #expect(Self.other(map, "home.example", .domain) == nil)
        #expect(Self.other(map, "b.home.example", .domain) == "b.example.com")
        #expect(Self.other(map, "y.lan", .domain) == "y.example.net")
        #expect(Self.other(map, "lan", .domain) == "example.net")
        let named = HostMap([
            ("a.example.org", "a.home.example"), ("b.example.com", "b.home.example"),
            ("example.net", "home.example"),
        ])
        #expect(Self.other(named, "home.example", .domain) == "example.net")
    }

    @Test("No cookie comes to be for a top-level domain")
    func topLevel() {
        let map = HostMap([("wiki.org", "wiki.lan"), ("*.org", "*.lan")])
        #expect(Self.other(map, "lan", .domain) == nil)
        #expect(Self.other(map, "wiki.lan", .domain) == "wiki.org")
    }

    @Test("Of several external names of one internal name the first is the one")
    func first() {
        let map = HostMap([("a.example.org", "x.lan"), ("b.example.org", "x.lan")])
        #expect(Self.other(map, "b.example.org", .inside) == "x.lan")
        #expect(Self.other(map, "x.lan", .outside) == "a.example.org")
    }

    @Test("Pairs that mean nothing are left out")
    func nonsense() {
        let map = HostMap([
            ("*.example.org", "a.lan"), ("a.example.org", "*.lan"), ("*.", "*."), ("", ""),
            ("*", "*"), ("*.*.example.org", "*.*.lan"),
            (String(repeating: "a", count: 256), "b.lan"),
        ])
        for host in ["b.example.org", "a.example.org", "a.lan", "b.lan", "", "*.example.org"] {
            for side in Side.allCases { #expect(Self.other(map, host, side) == nil) }
        }
        #expect(map.growthMax == 0)
        #expect(Self.other(HostMap([]), "a", .inside) == nil)
    }

    @Test("Only letters have two cases, at every place of a name")
    func letterCase() {
        let name = "ab-z0123456789@[`{_~.org"
        let map = HostMap([(name, "inside.lan")])
        let bytes = Array(name.utf8)
        for index in bytes.indices {
            for value in UInt8.min...UInt8.max {
                var other = bytes
                other[index] = value
                let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(bytes[index])
                let isSame = value == bytes[index] || isLetter && value == bytes[index] ^ 0x20
                #expect((map.internalName(of: other.span) != nil) == isSame)
            }
        }
        for count in 1...40 {
            let short = String(repeating: "x", count: count)
            let map = HostMap([(short, "y"), ("*." + short, "*.z")])
            #expect(Self.other(map, short.uppercased(), .inside) == "y")
            #expect(Self.other(map, "A." + short.uppercased(), .inside) == "A.z")
            #expect(Self.other(map, short + "x", .inside) == nil)
            #expect(Self.other(map, String(short.dropLast()) + "y", .inside) == nil)
            #expect(Self.other(map, "a." + short.dropLast() + "y", .inside) == nil)
        }
    }

    @Test("A name that is longer than any stays what it is")
    func long() {
        let map = HostMap([("*.example.org", "*.lan")])
        let label = String(repeating: "a", count: 243)
        #expect(Self.other(map, label + ".example.org", .inside) == label + ".lan")
        #expect(Self.other(map, label + "a.example.org", .inside) == nil)
        #expect(Self.other(map, label + "a.example.org.", .inside) == nil)
    }

    @Test(
        "There and back again is where one was, over thousands of random names",
        arguments: 1...4 as ClosedRange<UInt64>)
    func identity(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let labels = ["a", "b", "ab", "api", "x-1", "longer-label"]
        func name(_ count: Int) -> String {
            (0..<count).map { _ in labels.randomElement(using: &generator) ?? "" }
                .joined(separator: ".")
        }
        var seen: Set<String> = []
        var pairs: [(external: String, internal: String)] = []
        for index in 0..<2000 {
            let star = index % 3 == 0 ? "*." : ""
            let pair = (
                external: star + name(2) + ".n\(index % 97).org",
                internal: star + name(2) + ".m\(index % 89).lan"
            )
            // Each name of one pair only, wildcards not in the way of names.
            let isNew = [pair.external, pair.internal].allSatisfy { seen.insert($0).inserted }
            if isNew { pairs.append(pair) }
        }
        let plain = pairs.filter { !$0.external.hasPrefix("*") }
        let wild = pairs.filter { $0.external.hasPrefix("*") }
        var shadowed = 0
        let map = HostMap(pairs)
        for (external, inside) in plain {
            #expect(Self.other(map, external, .inside) == inside)
            #expect(Self.other(map, inside, .outside) == external)
        }
        let internals = Set(plain.map(\.internal))
        let externals = Set(plain.map(\.external))
        for (external, inside) in wild {
            let label = labels.randomElement(using: &generator) ?? ""
            let outer = label + external.dropFirst()
            let inner = label + inside.dropFirst()
            guard !externals.contains(outer), !internals.contains(inner) else {
                shadowed += 1
                continue
            }
            #expect(Self.other(map, outer, .inside) == inner)
            #expect(Self.other(map, inner, .outside) == outer)
        }
        #expect(wild.count - shadowed > 100)
        // Whatever bytes come, nothing traps, and what is found goes back.
        for _ in 0..<5000 {
            var bytes = Array((pairs.randomElement(using: &generator)?.external ?? "").utf8)
            for _ in 0..<Int.random(in: 0...2, using: &generator) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[index] = UInt8.random(in: 0...255, using: &generator)
            }
            guard let inner = Self.other(map, bytes, .inside) else { continue }
            guard let back = Self.other(map, inner, .outside) else { continue }
            #expect(
                String(decoding: back, as: UTF8.self).lowercased()
                    == String(decoding: bytes, as: UTF8.self).lowercased())
        }
    }
}
