import EdgeCore
import Testing

@testable import EdgeConfig

/// What `parse` finds wrong with a value, or nil.
private func problem<Value>(
    _ parse: () throws(ValueProblem) -> Value
) -> ValueProblem? {
    do throws(ValueProblem) {
        _ = try parse()
        return nil
    } catch {
        return error
    }
}

@Suite("Values with a form of their own")
struct ValueTests {
    static let durations: [(String, Duration)] = [
        ("500ms", .milliseconds(500)), ("2s", .seconds(2)), ("1.5s", .milliseconds(1500)),
        ("5m", .seconds(300)), ("1h", .seconds(3600)), ("0.001s", .milliseconds(1)),
        ("0ms", .zero), ("999999.999999h", .nanoseconds(3_599_999_999_996_400_000)),
    ]

    @Test("A duration is a number and a unit", arguments: durations)
    func duration(text: String, expected: Duration) throws {
        #expect(try Quantity.duration(text) == expected)
    }

    @Test(
        "Anything else is not a duration",
        arguments: [
            "", "s", "10", "-1s", "1 s", "1S", "1d", "1.s", ".5s", "1..5s", "1.2.3s", "1s2", "1e3s",
            "10000000s", "0.0000001s", "１s", "1us", "auto",
        ])
    func noDuration(text: String) {
        #expect(problem { () throws(ValueProblem) in try Quantity.duration(text) } != nil)
    }

    @Test("A duration without a unit is answered with how to write it")
    func durationHint() {
        let found = problem { () throws(ValueProblem) in try Quantity.duration("10") }

        #expect(found?.reason == "the duration '10' has no unit")
        #expect(found?.hint == "10s for seconds")
    }

    static let sizes: [(String, Int)] = [
        ("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("0B", 0),
        ("999999999GiB", 999_999_999 << 30),
    ]

    @Test("A size is a whole number and a binary unit", arguments: sizes)
    func size(text: String, expected: Int) throws {
        #expect(try Quantity.size(text) == expected)
    }

    @Test(
        "Anything else is not a size",
        arguments: [
            "", "64", "64K", "64KB", "64kib", "1.5MiB", "-1B", "1 B", "KiB", "9999999999GiB", "1B1",
        ])
    func noSize(text: String) {
        #expect(problem { () throws(ValueProblem) in try Quantity.size(text) } != nil)
    }

    @Test("Decimal units are answered with the binary one")
    func sizeHint() {
        let found = problem { () throws(ValueProblem) in try Quantity.size("64KB") }

        #expect(found?.hint == "sizes are powers of two: write 64KiB")
    }

    @Test("Durations and sizes are written with the largest unit that fits")
    func text() {
        #expect(Quantity.text(.milliseconds(1500)) == "1500ms")
        #expect(Quantity.text(.seconds(600)) == "10m")
        #expect(Quantity.text(.zero) == "0s")
        #expect(Quantity.text(bytes: 65536) == "64KiB")
        #expect(Quantity.text(bytes: 1000) == "1000B")
    }

    static let patterns: [(String, String)] = [
        ("grafana.example.org", "grafana.example.org"),
        ("Grafana.Example.ORG", "grafana.example.org"),
        ("*.example.org", "*.example.org"), ("*", "*"), ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"), ("1.example", "1.example"),
        (String(repeating: "a", count: 63) + ".b", String(repeating: "a", count: 63) + ".b"),
    ]

    @Test("A host is a name in lower case, with at most a wildcard label", arguments: patterns)
    func pattern(text: String, expected: String) throws {
        #expect(try HostName.pattern(text) == expected)
    }

    static let noPatterns: [(String, String?)] = [
        ("", nil), (".", "write it without the dot"), ("a.", "write it without the dot"),
        ("a..b", nil), (".a", "write it without the first dot"),
        ("-a.b", "letters, digits and inner hyphens, separated by dots"),
        ("a-.b", "letters, digits and inner hyphens, separated by dots"),
        ("a_b.c", "letters, digits and inner hyphens, separated by dots"),
        ("a b", "letters, digits and inner hyphens, separated by dots"),
        ("bücher.example", "write the name's IDNA form, xn--…"),
        ("a.*.b", "'*.example.org' for one label, '*' for any host"),
        ("*a.b", "'*.example.org' for one label, '*' for any host"),
        ("*.*.b", "letters, digits and inner hyphens, separated by dots"),
        ("*.", nil), ("a.b:443", "without scheme, port and path"),
        ("https://a.b/", "without scheme, port and path"),
        ("192.0.2.1", "'*' matches any host"), ("2001:db8::1", "'*' matches any host"),
        ("192.0.2.300", "the last label of a name is not a number"),
        (String(repeating: "a", count: 64) + ".b", nil),
        (String(repeating: "a.", count: 127) + "a", nil),
    ]

    @Test("Anything else is not a host", arguments: noPatterns)
    func noPattern(text: String, hint: String?) throws {
        let found = problem { () throws(ValueProblem) in try HostName.pattern(text) }

        #expect(try #require(found).hint == hint)
    }

    @Test("A server is an address or a name, with a port")
    func server() throws {
        let address = try #require(SocketAddress("10.0.0.5:3000"))
        let six = try #require(SocketAddress("[2001:db8::1]:80"))

        #expect(try TextValue.server("10.0.0.5:3000") == .init(host: .address(address), port: 3000))
        #expect(try TextValue.server("[2001:db8::1]:80") == .init(host: .address(six), port: 80))
        #expect(
            try TextValue.server("Grafana.Internal:3000")
                == .init(host: .name("grafana.internal"), port: 3000))
        #expect(try TextValue.server("my_app:1") == .init(host: .name("my_app"), port: 1))
    }

    @Test(
        "Anything else is not a server",
        arguments: [
            "", ":80", "a", "a:", "a:0", "a:65536", "a:+1", "a:1 ", "10.0.0.5", "10.0.0.5:0",
            "10.0.0.300:80", "2001:db8::1", "[2001:db8::1]", "[a]:80", "a:b:80", "http://a:80",
            "a.:80", "[::1]:0", "*:80", "a/b:80",
        ])
    func noServer(text: String) {
        #expect(problem { () throws(ValueProblem) in try TextValue.server(text) } != nil)
    }

    @Test("A resolver's port is 53 if none is written")
    func endpoint() throws {
        func parse(_ text: String) throws -> String {
            try TextValue.endpoint(text, defaultPort: 53).description
        }

        #expect(try parse("192.168.1.1") == "192.168.1.1:53")
        #expect(try parse("192.168.1.1:5353") == "192.168.1.1:5353")
        #expect(try parse("2001:db8::1") == "[2001:db8::1]:53")
        #expect(try parse("[2001:db8::1]:5353") == "[2001:db8::1]:5353")
        #expect(throws: ValueProblem.self) { try parse("dns.example:53") }
    }

    @Test("An unknown word is answered with the nearest known one")
    func suggestions() {
        let known = ["hosts", "upstream", "keep_alive"]

        #expect(Suggestion.text(for: "upstrem", among: known) == "did you mean 'upstream'?")
        #expect(Suggestion.text(for: "hsots", among: known) == "did you mean 'hosts'?")
        #expect(Suggestion.text(for: "keep-alive", among: known) == "did you mean 'keep_alive'?")
        #expect(Suggestion.text(for: "Hosts", among: known) == "did you mean 'hosts'?")
        #expect(
            Suggestion.text(for: "zebra", among: known) == "valid: hosts, upstream, keep_alive")
        #expect(Suggestion.text(for: "x", among: []) == nil)
        #expect(Suggestion.distance(Array("kitten".utf8), Array("sitting".utf8)) == 3)
        #expect(Suggestion.distance([], Array("abc".utf8)) == 3)
    }
}
