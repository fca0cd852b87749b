import EdgeCore
import EdgeDNS
import Testing

@Suite("Drift between views and DNS") struct DNSDriftTests {
    static func expectation(
        _ view: String, _ addresses: [String], names: [String] = ["a.example"],
        resolver: ResolverGroup? = nil
    ) -> DNSExpectation {
        DNSExpectation(
            view: view, names: names,
            addresses: addresses.compactMap { SocketAddress(address: $0, port: 0) },
            resolver: resolver)
    }

    private static func drift(
        _ expected: [String], _ found: [String], failure: String? = nil
    ) -> [DNSDrift] {
        expectation("v", expected).drift(
            of: "a.example",
            DNSFinding(
                addresses: found.compactMap { SocketAddress(address: $0, port: 0) },
                failure: failure, resolver: "internal"))
    }

    private static let lan = ["192.168.1.13"]
    private static let outside = ["203.0.113.10"]
    private static let both = ["203.0.113.10", "2001:db8::10"]

    @Test(
        "what is as it should be is no drift",
        arguments: [
            (lan, lan, nil), (both, both, nil), (both, both.reversed(), nil),
            // Nobody expects the family that failed.
            (lan, lan, "timeout"), (["100.64.0.1"], ["100.64.0.1"], nil),
        ] as [([String], [String], String?)])
    func fine(expected: [String], found: [String], failure: String?) {
        #expect(Self.drift(expected, found, failure: failure) == [])
    }

    static let cases: [([String], [String], String?, [DNSDrift.Kind])] = [
        (outside, [], "name_not_found", [.missing]), (outside, [], "empty", [.missing]),
        (outside, [], "timeout", [.unanswered]), (outside, [], "server_failure", [.unanswered]),
        (outside, [], "unusable_addresses", [.unanswered]),
        // One family or one address of two.
        (both, outside, nil, [.missing]), (both, outside, "empty", [.missing]),
        (both, outside, "timeout", [.unanswered]),
        // Another address instead of the view's, or beside it.
        (outside, ["203.0.113.11"], nil, [.elsewhere]),
        (both, ["203.0.113.11"], nil, [.elsewhere]),
        (outside, ["203.0.113.10", "203.0.113.11"], nil, [.elsewhere]),
        (both, ["203.0.113.10", "2001:db8::11"], nil, [.elsewhere, .missing]),
        (lan, ["192.168.1.14"], nil, [.elsewhere]),
        // From inside to outside and the other way round.
        (outside, lan, nil, [.privateAddress]), (outside, ["fd00::1"], nil, [.privateAddress]),
        (outside, ["127.0.0.1"], nil, [.privateAddress]),
        (outside, ["169.254.1.1"], nil, [.privateAddress]),
        (outside, ["fe80::1"], nil, [.privateAddress]),
        (outside, ["100.64.0.1"], nil, [.privateAddress]),
        (outside, outside + lan, nil, [.privateAddress]),
        (outside, ["203.0.113.11", "10.0.0.1"], nil, [.privateAddress, .elsewhere]),
        (lan, outside, nil, [.publicAddress]), (lan, lan + outside, nil, [.publicAddress]),
        (lan, ["203.0.113.10", "192.168.1.14"], nil, [.publicAddress, .elsewhere]),
        // A view with both kinds of addresses is neither.
        (lan + outside, ["203.0.113.11"], nil, [.elsewhere]),
        (lan + outside, ["192.168.1.14"], nil, [.elsewhere]),
        (lan + outside, lan, nil, [.missing]),
    ]

    @Test("each difference has its kind", arguments: cases)
    func kinds(
        expected: [String], found: [String], failure: String?, kinds: [DNSDrift.Kind]
    ) {
        #expect(Self.drift(expected, found, failure: failure).map(\.kind) == kinds)
    }

    @Test("a line says view, name, what, expected, found and what to do")
    func lines() {
        func line(_ expected: [String], _ found: [String], _ failure: String? = nil) -> String {
            Self.drift(expected, found, failure: failure).map(\.description).joined()
        }

        #expect(
            line(Self.both, [], "name_not_found")
                == "v: a.example: missing, expected 203.0.113.10, 2001:db8::10, found nothing "
                + "(name_not_found by internal): add what is missing: edgectl dns export --view v")
        #expect(
            line(Self.both, Self.outside, "timeout")
                == "v: a.example: unanswered, expected 203.0.113.10, 2001:db8::10, found "
                + "203.0.113.10 (timeout by internal for the rest): look at the resolver "
                + "'internal', then check again")
        #expect(
            line(Self.outside, ["10.1.2.3", "100.64.0.1"])
                == "v: a.example: private address in public DNS, expected 203.0.113.10, found "
                + "10.1.2.3 (private), 100.64.0.1 (shared): nobody outside can use it, and it "
                + "tells about the inside: remove it from the public zone")
        #expect(
            line(Self.lan, Self.outside)
                == "v: a.example: public address on the LAN, expected 192.168.1.13, found "
                + "203.0.113.10: these clients go out and come back as another view's: "
                + "edgectl dns export --view v")
        #expect(
            line(Self.outside, ["203.0.113.11"])
                == "v: a.example: elsewhere, expected 203.0.113.10, found 203.0.113.11: correct "
                + "the record, or the view's addresses")
        #expect(
            Self.expectation("v", Self.lan).notAsked("b.example").description
                == "v: b.example: not asked, expected 192.168.1.13, found nothing: time was up; "
                + "check again when servers answer")
    }
}
