/// A configuration as one file: what is written, and every default that is not, each with its
/// place, but for defaults that have no effect beside what is written. Loaded again from the same
/// folder it is the same configuration. Made by the schema alone: no key is treated in particular
/// but `include`, as its files are in there. Names of files stay names; none is read.
package struct EffectiveText {
    /// What mappings say that are not written although all of their keys have defaults.
    private static let filled = "the defaults of its keys"

    /// Defaults that have no effect beside what is written are found by reading the text again:
    /// so often at most.
    private static let roundsMax = 64

    private let schema = Schema.current
    private var lines: [String] = []
    /// Defaults that are left out, in mappings of one shape: that have the same keys, and the same
    /// words where there is a choice.
    private let skipped: Set<String>
    /// Of the lines that are defaults.
    private var defaults: [Int: String] = [:]

    private init(skipping skipped: Set<String>) { self.skipped = skipped }

    /// - Throws: what is wrong with the files.
    package static func render(_ bundle: ConfigurationBundle) throws(ConfigError) -> String {
        var entries: [Node.Entry] = []
        for file in bundle.files {
            let document = try Document(path: file.path, bytes: file.bytes)
            guard case .mapping(let own) = document.root.content else { continue }
            for entry in own where entry.key != "include" { Self.join(entry, to: &entries) }
        }
        var skipped: Set<String> = []
        for _ in 0..<roundsMax {
            let text = Self.text(entries, skipped)
            let idle = text.idleDefaults(in: bundle)
            guard !idle.isEmpty else { return text.joined }
            skipped.formUnion(idle)
        }
        return Self.text(entries, skipped).joined
    }

    private static func text(_ entries: [Node.Entry], _ skipped: Set<String>) -> EffectiveText {
        var text = EffectiveText(skipping: skipped)
        text.mapping(entries, path: "", indent: 0)
        return text
    }

    private var joined: String { lines.map { $0 + "\n" }.joined() }

    /// Defaults that may not be written beside what is written.
    private func idleDefaults(in bundle: ConfigurationBundle) -> [String] {
        let file = ConfigurationBundle.File(path: bundle.main.path, bytes: Array(joined.utf8))
        do throws(ConfigError) {
            _ = try Configuration.load(ConfigurationBundle(main: file, node: bundle.node))
            return []
        } catch {
            return error.diagnostics.compactMap { defaults[$0.location.line - 1] }
        }
    }

    /// Included files go on with what the main file begins.
    private static func join(_ entry: Node.Entry, to entries: inout [Node.Entry]) {
        guard let index = entries.firstIndex(where: { $0.key == entry.key }) else {
            entries.append(entry)
            return
        }
        let first = entries[index]
        let content: Node.Content
        switch (first.value.content, entry.value.content) {
        case (.sequence(let own), .sequence(let more)): content = .sequence(own + more)
        case (.mapping(let own), .mapping(let more)): content = .mapping(own + more)
        default: return
        }
        entries[index] = Node.Entry(
            key: first.key, location: first.location,
            value: Node(content: content, location: first.value.location))
    }

    // MARK: - By the schema

    private mutating func mapping(
        _ entries: [Node.Entry], path: String, indent: Int
    ) {
        let keys = schema.children(of: path)
        let shape = Self.shape(entries, keys)
        for key in keys {
            let own = "\(shape) \(key.path)"
            if let entry = entries.first(where: { $0.key == key.name }) {
                write(entry, key, indent)
            } else if skipped.contains(own) {
                continue
            } else if let text = key.defaultText {
                defaults[lines.count] = own
                line(indent, "\(key.name): \(text)", "default")
            } else if key.absence == Self.filled, let path = key.childrenPath {
                defaults[lines.count] = own
                line(indent, "\(key.name):", "default")
                mapping([], path: path, indent: indent + 2)
            }
        }
    }

    private mutating func write(
        _ entry: Node.Entry, _ key: Schema.Key, _ indent: Int
    ) {
        guard let path = key.childrenPath else { return write(entry, indent) }
        switch (entry.value.content, key.type) {
        case (.mapping(let named), .named):
            line(indent, "\(entry.key):" + (named.isEmpty ? " {}" : ""), entry.location)
            for own in named { nested(own, path, indent + 2) }
        case (.mapping, _): nested(entry, path, indent)
        case (.sequence(let items), _):
            line(indent, "\(entry.key):" + (items.isEmpty ? " []" : ""), entry.location)
            for item in items {
                self.item(item, path, indent + 2)
            }
        case (.scalar, _): write(entry, indent)
        }
    }

    private mutating func nested(
        _ entry: Node.Entry, _ path: String, _ indent: Int
    ) {
        guard case .mapping(let own) = entry.value.content else { return write(entry, indent) }
        let start = lines.count
        line(indent, "\(Self.name(entry.key)):", entry.location)
        mapping(own, path: path, indent: indent + 2)
        guard lines.count == start + 1 else { return }
        lines.removeLast()
        line(indent, "\(Self.name(entry.key)): {}", entry.location)
    }

    private mutating func item(_ node: Node, _ path: String, _ indent: Int) {
        guard case .mapping(let own) = node.content else { return item(node, indent) }
        let start = lines.count
        mapping(own, path: path, indent: indent + 2)
        begin(at: start, indent)
    }

    private static func shape(_ entries: [Node.Entry], _ keys: [Schema.Key]) -> String {
        entries.map { entry in
            guard case .choice? = keys.first(where: { $0.name == entry.key })?.type,
                case .scalar(let word, _) = entry.value.content
            else { return entry.key }
            return "\(entry.key)=\(word)"
        }.joined(separator: ",")
    }

    // MARK: - As it is

    private mutating func write(_ entry: Node.Entry, _ indent: Int) {
        let name = Self.name(entry.key)
        switch entry.value.content {
        case .scalar: line(indent, "\(name): \(Self.scalar(entry.value))", entry.location)
        case .sequence(let items):
            line(indent, "\(name):" + (items.isEmpty ? " []" : ""), entry.location)
            for item in items { self.item(item, indent + 2) }
        case .mapping(let own):
            line(indent, "\(name):" + (own.isEmpty ? " {}" : ""), entry.location)
            for entry in own { write(entry, indent + 2) }
        }
    }

    private mutating func item(_ node: Node, _ indent: Int) {
        switch node.content {
        case .scalar: line(indent, "- \(Self.scalar(node))", node.location)
        case .sequence(let items):
            let start = lines.count
            for item in items { self.item(item, indent + 2) }
            begin(at: start, indent)
        case .mapping(let own):
            let start = lines.count
            for entry in own { write(entry, indent + 2) }
            begin(at: start, indent)
        }
    }

    /// The lines from `start` on are an entry of a list.
    private mutating func begin(at start: Int, _ indent: Int) {
        guard start < lines.count else { return lines.append(Self.spaces(indent) + "- {}") }
        lines[start] = Self.spaces(indent) + "- " + lines[start].dropFirst(indent + 2)
    }

    // MARK: - Text

    private mutating func line(_ indent: Int, _ text: String, _ location: Location) {
        line(indent, text, "\(location.file):\(location.line)")
    }

    private mutating func line(_ indent: Int, _ text: String, _ place: String) {
        let start = Self.spaces(indent) + text
        lines.append(start + Self.spaces(max(40 - start.count, 2)) + "# " + place)
    }

    private static func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }

    private static func name(_ key: String) -> String {
        let isPlain = key.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
            default: false
            }
        }
        return isPlain && !key.hasPrefix("-") && PlainMeaning(key) == nil ? key : quoted(key)
    }

    private static func scalar(_ node: Node) -> String {
        guard case .scalar(let text, let isPlain) = node.content else { return "" }
        return isPlain ? text : quoted(text)
    }

    /// In double quotes (YAML 1.2 §5.7).
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\x" + String(repeating: "0", count: 2 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
