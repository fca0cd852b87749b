import Testing

@testable import EdgeConfig

@Suite("The YAML document")
struct DocumentTests {
    private static func document(_ text: String) throws(ConfigError) -> Document {
        try Document(path: "f", bytes: Array(text.utf8))
    }

    private static func errors(_ bytes: [UInt8]) -> [String] {
        do throws(ConfigError) {
            _ = try Document(path: "f", bytes: bytes)
            return []
        } catch {
            return error.diagnostics.map(\.description)
        }
    }

    @Test("Every value knows the line and column it stands at")
    func positions() throws {
        let root = try Self.document("a: 1\nlist:\n  - ä: [x, 'y']\n").root

        guard case .mapping(let entries) = root.content,
            case .sequence(let items) = entries[1].value.content,
            case .mapping(let inner) = items[0].content,
            case .sequence(let scalars) = inner[0].value.content
        else {
            Issue.record("another tree")
            return
        }
        #expect(entries.map(\.location.description) == ["f:1:1", "f:2:1"])
        #expect(entries[0].value.location.description == "f:1:4")
        #expect(inner[0].location.description == "f:3:5")
        #expect(scalars.map(\.location.description) == ["f:3:9", "f:3:12"])
    }

    @Test("A quoted scalar is told from a plain one")
    func styles() throws {
        let root = try Self.document("[1, '1', \"1\", a]").root

        guard case .sequence(let items) = root.content else {
            Issue.record("not a sequence")
            return
        }
        #expect(items.map(\.kindText) == ["a number", "a string", "a string", "a string"])
    }

    @Test(
        "What YAML takes for something else than a string is called by its name",
        arguments: [
            ("~", "empty"), ("", "empty"), ("Null", "empty"), ("yes", "a boolean"),
            ("True", "a boolean"), ("off", "a boolean"), ("-12", "a number"), ("1.5", "a number"),
            ("1_000", "a number"), ("1.2.3", nil), ("2s", nil), ("nope", nil), ("-", nil),
        ])
    func plainMeaning(text: String, expected: String?) {
        #expect(PlainMeaning(text)?.kindText == expected)
    }

    @Test("A file without a document is an empty mapping", arguments: ["", "# nothing\n", "\n"])
    func empty(text: String) throws {
        let root = try Self.document(text).root

        guard case .mapping(let entries) = root.content else {
            Issue.record("not a mapping")
            return
        }
        #expect(entries.isEmpty)
    }

    @Test("A byte order mark is skipped")
    func byteOrderMark() throws {
        let root = try Document(path: "f", bytes: [0xEF, 0xBB, 0xBF] + Array("a: b".utf8)).root

        guard case .mapping(let entries) = root.content else {
            Issue.record("not a mapping")
            return
        }
        #expect(entries.map(\.key) == ["a"])
    }

    static let refusals: [(String, String)] = [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: duplicate key 'a' (first at f:1:1)"),
        (
            "a: &x 1",
            "f:1:4: YAML anchors are not supported (quote a value that starts with '&', or write "
                + "it out where it is used)"
        ),
        (
            "a: *x",
            "f:1:4: YAML aliases are not supported (quote a value that starts with '*', or write "
                + "it out)"
        ),
        (
            "a: *.example.org",
            "f:1:5: did not find expected alphabetic or numeric character while scanning an alias "
                + "(quote a value that starts with '*')"
        ),
        (
            "a: !!str 1",
            "f:1:4: YAML tags are not supported (quote a value that starts with '!')"
        ),
        ("<<: {}", "f:1:1: YAML merge keys are not supported (write the keys out)"),
        ("[a]: 1", "f:1:1: a key must be a string, not a list"),
        ("---\na: 1\n---\nb: 2\n", "f:3:1: a second document in one file (use 'include:')"),
        (
            "a:\n\t- b\n",
            "f:2:1: found character that cannot start any token while scanning for the next token "
                + "(indent with spaces, not with tabs)"
        ),
        (
            "a: [b\nc: d\n",
            "f:2:2: did not find expected ',' or ']' while parsing a flow sequence "
                + "(is the '[' at f:1:4 closed?)"
        ),
        (
            "a: [b",
            "f:1:6: did not find expected ',' or ']' while parsing a flow sequence "
                + "(is the '[' at f:1:4 closed?)"
        ),
        (
            "a: 1\nb\nc: 1\n",
            "f:2:1: could not find expected ':' while scanning a simple key "
                + "(a blank belongs behind the colon: 'key: value')"
        ),
        (
            "a: @b",
            "f:1:4: found character that cannot start any token while scanning for the next token "
                + "(quote a value that starts with this character)"
        ),
    ]

    @Test("What the strict subset leaves out is refused where it stands", arguments: refusals)
    func refused(text: String, expected: String) {
        #expect(Self.errors(Array(text.utf8)) == [expected])
    }

    @Test("Bytes that are not UTF-8 are refused at their line and column")
    func encoding() {
        let found = Self.errors(Array("a: ä\nbc".utf8) + [0xFF])

        #expect(found == ["f:2:3: invalid leading UTF-8 octet (the file must be UTF-8)"])
    }

    @Test("Control characters are refused at their line and column")
    func controlCharacters() {
        let found = Self.errors(Array("a: b\nc: \u{7}".utf8))

        #expect(
            found == [
                "f:2:4: control characters are not allowed (remove it, or escape it in quotes)"
            ])
    }

    @Test("UTF-16 is refused, not guessed")
    func utf16() {
        #expect(Self.errors([0xFF, 0xFE, 0x61, 0x00]).count == 1)
    }

    @Test("64 levels are read, the 65th is refused")
    func depth() throws {
        let limit = Document.depthMax
        func nested(_ levels: Int) -> String {
            String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }

        _ = try Self.document(nested(limit))

        #expect(
            Self.errors(Array(nested(limit + 1).utf8)) == ["f:1:65: nested deeper than 64 levels"])
        #expect(Self.errors(Array(String(repeating: "[", count: 100_000).utf8)).count == 1)
    }

    @Test("More values than the limit are refused")
    func nodes() {
        let text = "- a\n".utf8
        let bytes = Array(repeatElement(text, count: Document.nodesMax).joined())

        #expect(
            Self.errors(bytes) == [
                "f:\(Document.nodesMax):3: more than 100000 values in one file"
            ])
    }

    @Test("A hostile value is shown on one line, escaped and cut")
    func quoting() {
        #expect(quoted("a\nb\u{1B}[0m") == "'a\\u{a}b\\u{1b}[0m'")
        #expect(quoted(String(repeating: "x", count: 100)).count == 63)
    }
}
