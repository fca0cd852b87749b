import Testing

@testable import EdgeControlAPI

@Suite("JSON") struct JSONTests {
    private static func parse(_ text: String) throws(JSONParser.Failure) -> JSONValue {
        try JSONValue(parsing: Array(text.utf8))
    }

    private static let sample = JSONValue.object([
        .init("b", .array([.null, .bool(true), .bool(false), .integer(-7), .real(1.5)])),
        .init("a", .object([])), .init("c", .array([])),
        .init("text", .string("é\"\\\n\r\t\u{1}\u{7F}😀/")),
    ])

    @Test("what is written is read back, also when pretty")
    func roundTrip() throws {
        #expect(try Self.parse(Self.sample.text) == Self.sample)
        #expect(try Self.parse(Self.sample.prettyText) == Self.sample)
    }

    @Test("the same value is the same text, members in their order")
    func deterministic() {
        let start = #"{"b":[null,true,false,-7,1.5],"a":{},"c":[],"#
        #expect(Self.sample.text == start + #""text":"é\"\\\n\r\t\u0001\u007f😀/"}"#)
        #expect(JSONValue.real(.infinity).text == "null")
    }

    static let validDocuments: [(String, JSONValue)] = [
        ("  1 ", .integer(1)), ("-0", .integer(0)), ("9223372036854775807", .integer(.max)),
        ("9223372036854775808", .real(9_223_372_036_854_775_808)), ("1e2", .real(100)),
        ("0.5E-1", .real(0.05)), (#""\u00e9\uD83D\uDE00\b\f\/""#, .string("é😀\u{8}\u{C}/")),
        ("\t[\n1\r, 2 ]", .array([.integer(1), .integer(2)])),
    ]

    @Test("valid documents", arguments: validDocuments)
    func valid(text: String, value: JSONValue) throws {
        #expect(try Self.parse(text) == value)
    }

    static let invalidDocuments: [(String, JSONParser.Failure.Kind)] = [
        ("", .truncated), ("nul", .truncated), ("nulL", .unexpectedByte), ("[1,]", .unexpectedByte),
        ("{\"a\":1,}", .unexpectedByte), ("[1 2]", .unexpectedByte), ("01", .trailingBytes),
        ("+1", .unexpectedByte), ("1.", .badNumber), (".5", .unexpectedByte), ("1e", .truncated),
        ("1e999", .badNumber), ("-", .truncated), ("'a'", .unexpectedByte),
        ("\"\u{1}\"", .unexpectedByte), (#""\x""#, .badEscape), (#""\u12g4""#, .badEscape),
        (#""\ud800""#, .unexpectedByte), (#""\udc00""#, .badEscape),
        (#""\ud800\u0041""#, .badEscape), (#"{"a":1,"a":2}"#, .duplicateName),
        (#"{"a" 1}"#, .unexpectedByte), ("{1:2}", .unexpectedByte), ("1 1", .trailingBytes),
        ("NaN", .unexpectedByte), ("// c\n1", .unexpectedByte),
    ]

    @Test("invalid documents are refused by name", arguments: invalidDocuments)
    func invalid(text: String, kind: JSONParser.Failure.Kind) {
        #expect { try Self.parse(text) } throws: { error in
            (error as? JSONParser.Failure)?.kind == kind
        }
    }

    @Test("invalid UTF-8 is refused")
    func badUTF8() {
        #expect(throws: JSONParser.Failure(kind: .badUTF8, offset: 0)) {
            try JSONValue(parsing: [0x22, 0xC3, 0x28, 0x22])
        }
    }

    @Test("depth and size are bounded")
    func bounds() {
        let deep = String(repeating: "[", count: 100_000)
        #expect { try Self.parse(deep) } throws: {
            ($0 as? JSONParser.Failure)?.kind == .tooDeep
        }
        #expect(throws: JSONParser.Failure(kind: .tooLarge, offset: 0)) {
            try JSONValue(parsing: Array("[1,2]".utf8), limits: .init(byteCountMax: 4, depthMax: 9))
        }
    }

    @Test("every prefix of a document is refused, without a trap")
    func truncated() {
        let bytes = Array(Self.sample.text.utf8)
        for count in 0..<bytes.count {
            #expect(throws: JSONParser.Failure.self) {
                try JSONValue(parsing: Array(bytes[..<count]))
            }
        }
    }

    @Test("mutated documents are read or refused, and what is read is written and read again")
    func fuzz() throws {
        var random = SystemRandomNumberGenerator()
        let original = Array(Self.sample.text.utf8)
        for _ in 0..<20_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                default: bytes.insert(contentsOf: bytes[index...].prefix(5), at: index)
                }
            }
            guard let value = try? JSONValue(parsing: bytes) else { continue }
            #expect(try Self.parse(value.text) == value)
        }
    }
}

@Suite("Replies") struct ReplyTests {
    @Test("a full status survives the wire")
    func status() throws {
        let reply = Samples.status
        #expect(try StatusReply(json: JSONValue(parsing: Array(reply.json.text.utf8))) == reply)
    }

    @Test("a status without lists survives the wire", arguments: NodeState.allCases)
    func bareStatus(state: NodeState) throws {
        var reply = Samples.bare
        reply.state = state
        #expect(try StatusReply(json: reply.json) == reply)
    }

    @Test("reload outcomes survive the wire", arguments: ReloadOutcome.allCases)
    func reload(outcome: ReloadOutcome) throws {
        let reply = ReloadReply(
            outcome: outcome, diagnostics: ["a.yaml:1:2: error: é"], epoch: 3, milliseconds: 4)
        #expect(try ReloadReply(json: reply.json) == reply)
    }

    @Test("unknown members are ignored, missing and wrong ones named")
    func strictness() throws {
        let reply = try ErrorReply(
            json: .object([.init("new", .null), .init("error", .string("no"))]))
        #expect(reply.error == "no")
        #expect(throws: WireFailure.missing("error")) { try ErrorReply(json: .object([])) }
        #expect(throws: WireFailure.wrongType("error")) {
            try ErrorReply(json: .object([.init("error", .integer(1))]))
        }
        #expect(throws: WireFailure.wrongType("(object)")) { try ErrorReply(json: .null) }
        let odd = ReloadReply(outcome: .reloaded, epoch: 0, milliseconds: 0).json.text
            .split(separator: "reloaded").joined(separator: "vanished")
        #expect(throws: WireFailure.unknownWord("outcome", "vanished")) {
            try ReloadReply(json: JSONValue(parsing: Array(odd.utf8)))
        }
    }

    @Test("the status text is aligned, has no escapes and no trailing space")
    func text() {
        var status = Samples.status
        status.log = ["first", "\u{1B}[31mred\u{9B}31m"]
        var text = StatusText(status)
        let lines = text.render().split(separator: "\n", omittingEmptySubsequences: false)

        #expect(lines.allSatisfy { $0.last != " " })
        #expect(!lines.joined().unicodeScalars.contains { $0 == "\u{1B}" || $0 == "\u{9B}" })
        #expect(lines[1] == "state    serving for 1 min 40 s")
        #expect(lines.contains("  name   address     protocol  connections"))
        #expect(lines.contains("  https  [::]:443    tls       12"))
        #expect(lines.contains("  ingress  tls  192.0.2.1:443  w1.home.example  up"))
        #expect(
            lines.contains(
                "                192.0.2.6:443                   down   1 min  2 backup  4     1.2 ms"
            ))
        #expect(lines.contains("  upstream_connect_refused  4"))
    }

    @Test(
        "spans have two units at most",
        arguments: [
            (-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"),
            (3661, "1 h 1 min"), (90061, "1 d 1 h"), (86401, "1 d"),
        ] as [(Int64, String)])
    func spans(seconds: Int64, text: String) {
        #expect(StatusText.span(seconds) == text)
    }
}
