/// A value of a configuration file with the place where it was written.
package struct Node: Sendable {
    package enum Content: Sendable {
        /// `isPlain`: written without quotes, so YAML might take it for a number or a boolean.
        case scalar(String, isPlain: Bool)
        case sequence([Node])
        case mapping([Entry])
    }

    /// A key of a mapping with its value, in the order written; keys are unique.
    package struct Entry: Sendable {
        package let key: String
        package let location: Location
        package let value: Node
    }

    package let content: Content
    package let location: Location

    /// What the reader of an error message would call this value.
    var kindText: String {
        switch content {
        case .scalar(let text, let isPlain):
            if isPlain, let special = PlainMeaning(text) { return special.kindText }
            return "a string"
        case .sequence: return "a list"
        case .mapping: return "a mapping"
        }
    }

    var isSequence: Bool {
        guard case .sequence = content else { return false }
        return true
    }

    /// Written with nothing behind the colon, or as `null`.
    var isEmpty: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return PlainMeaning(text) == .null
    }
}

/// What YAML readers make of an unquoted scalar that is not a string.
enum PlainMeaning: Equatable {
    case null, boolean, number

    private static let booleans: Set<String> = [
        "true", "false", "yes", "no", "on", "off", "y", "n",
    ]

    init?(_ text: String) {
        // Most values begin with a letter that none of these begins with.
        if let first = text.utf8.first, Self.isOrdinary(first) { return nil }
        let lower = text.utf8.count <= 5 ? text.lowercased() : text
        if lower.isEmpty || lower == "~" || lower == "null" {
            self = .null
        } else if Self.booleans.contains(lower) {
            self = .boolean
        } else if Self.isNumber(text) {
            self = .number
        } else {
            return nil
        }
    }

    /// Whether nothing but a string begins so: letters other than those of `booleans` and `null`.
    private static func isOrdinary(_ byte: UInt8) -> Bool {
        let letter = byte | 0x20
        guard letter >= UInt8(ascii: "a"), letter <= UInt8(ascii: "z") else { return false }
        switch letter {
        case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "y"), UInt8(ascii: "n"),
            UInt8(ascii: "o"):
            return false
        default: return true
        }
    }

    var kindText: String {
        switch self {
        case .null: "empty"
        case .boolean: "a boolean"
        case .number: "a number"
        }
    }

    private static func isNumber(_ text: String) -> Bool {
        var digits = text.utf8[...]
        if let sign = digits.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            digits = digits.dropFirst()
        }
        var points = 0
        var count = 0
        for byte in digits {
            switch byte {
            case 0x30...0x39: count += 1
            case UInt8(ascii: "."): points += 1
            case UInt8(ascii: "_") where count > 0: continue
            default: return false
            }
        }
        return count > 0 && points <= 1
    }
}

/// One configuration file as a tree: strict YAML without anchors, aliases, tags and merge keys,
/// so that what is read is what is written. A file without a document is an empty mapping.
package struct Document: Sendable {
    package static let depthMax = 64
    package static let nodesMax = 100_000

    package let path: String
    package let root: Node

    package init(path: String, root: Node) {
        self.path = path
        self.root = root
    }

    /// - Throws: every violation up to and including the first syntax error.
    package init(path: String, bytes: [UInt8]) throws(ConfigError) {
        let collector = DiagnosticCollector(files: [path])
        let root = bytes.withUnsafeBufferPointer {
            let parser = DocumentParser(path: path, bytes: $0, collector: collector)
            return parser.parse()
        }
        if let error = collector.makeError() { throw error }
        self.init(
            path: path,
            root: root ?? Node(content: .mapping([]), location: .start(of: path)))
    }
}
