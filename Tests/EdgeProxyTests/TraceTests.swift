import EdgeCore
import EdgeHTTP
import Testing

@testable import EdgeProxy

@Suite("Traces of requests (W3C Trace Context)") struct TraceTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let sound = "00-\(trace)-00f067aa0ba902b7-01"

    /// What the upstream gets of a request with these lines, and what stands in the log.
    private static func forwarded(
        _ policy: ClientPolicy.Trace, _ lines: String, trusted: Bool = false
    ) throws -> (lines: [String], logged: String?) {
        let book = try LogBook()
        var options = Bench.Options()
        options.client.trace = policy
        if trusted { options.client.trusted = CIDRList([try #require(CIDR("192.0.2.0/24"))]) }
        options.accessLog = book.log
        let bench = try Bench(options)
        bench.send(bench.client(), bench.get("/", lines))
        let head = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, Bench.ok)
        let fields = head.split(separator: "\r\n").map(String.init)
            .filter { $0.lowercased().hasPrefix("trace") }
        return (fields, try book.lines(of: bench).first?["trace"] as? String)
    }

    @Test("A sound one is passed on as it is, with its state, and its trace is logged")
    func passed() throws {
        let (lines, logged) = try Self.forwarded(
            .pass, "Traceparent: \(Self.sound)\r\ntracestate: a=1\r\nTracestate: b=2\r\n")

        #expect(lines == ["Traceparent: \(Self.sound)", "tracestate: a=1", "Tracestate: b=2"])
        #expect(logged == Self.trace)
    }

    @Test(
        "What is not sound is dropped, and its state with it",
        arguments: [
            "traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\r\n",
            "traceparent: \(sound)\r\ntraceparent: \(sound)\r\n",
            "traceparent: \(sound)\r\nConnection: traceparent\r\n", "",
        ])
    func dropped(lines: String) throws {
        let found = try Self.forwarded(.pass, lines + "tracestate: a=1\r\n")

        #expect(found.lines.isEmpty)
        #expect(found.logged == nil)
    }

    @Test("Nothing is begun unless that is asked for")
    func none() throws {
        #expect(try Self.forwarded(.pass, "").lines.isEmpty)
        #expect(try Self.forwarded(.start, "").lines.count == 1)
        #expect(try Self.forwarded(.restart, "").lines.count == 1)
        let untouched = ["traceparent: x", "tracestate: y"]
        let lines = untouched.map { $0 + "\r\n" }.joined()
        #expect(try Self.forwarded(.off, lines).lines == untouched)
    }

    @Test("A trace that begins here is sound, sampled, and logged")
    func begun() throws {
        let (lines, logged) = try Self.forwarded(.start, "tracestate: a=1\r\n")

        let value = try #require(lines.first).dropFirst("traceparent: ".count)
        let bytes = Array(value.utf8)
        #expect(lines.count == 1)
        #expect(TraceContext(bytes.span, ByteRange(0..<bytes.count)) != nil, "\(value)")
        #expect(value.hasSuffix("-01"))
        #expect(logged.map { value.contains("-\($0)-") } == true)
    }

    @Test("With `restart` only trusted clients choose their trace")
    func restarted() throws {
        let lines = "traceparent: \(Self.sound)\r\ntracestate: a=1\r\n"

        let stranger = try Self.forwarded(.restart, lines)
        let proxy = try Self.forwarded(.restart, lines, trusted: true)
        let believed = try Self.forwarded(.start, lines)

        #expect(stranger.lines.count == 1 && stranger.logged != Self.trace)
        #expect(proxy.lines.count == 2 && proxy.logged == Self.trace)
        #expect(believed.lines.count == 2 && believed.logged == Self.trace)
    }
}
