import EdgeCore

/// What one decoding pass shares: the schema it follows and what it has found so far.
final class DecodingPass {
    let schema: Schema
    let diagnostics: DiagnosticCollector
    /// Relative paths are resolved against this folder; empty: the current one.
    let folder: String
    /// What this machine is called; nil: not known.
    let node: String?
    /// Where listeners name upstreams, by listener and key: judged when upstreams are known.
    var listenerPlaces: [String: Location] = [:]
    /// Policies that views, sites and paths may name.
    let rateLimits = RateLimitList()
    /// By the path of the mappings.
    private var lists: [String: KeyList] = [:]

    init(
        schema: Schema, diagnostics: DiagnosticCollector, folder: String, node: String? = nil
    ) {
        self.node = node
        self.schema = schema
        self.diagnostics = diagnostics
        self.folder = folder
    }

    /// Paths of the schema that were read, for the test that none is forgotten.
    var visited: Set<String> { Set(lists.values.flatMap(\.visited)) }

    /// What mappings at `path` may have.
    func keys(of path: String) -> KeyList {
        if let known = lists[path] { return known }
        let made = KeyList(schema.children(of: path))
        lists[path] = made
        return made
    }

    /// `path` as seen from the folder of the main file.
    func resolve(_ path: String) -> String { Self.resolve(path, in: folder) }

    static func resolve(_ path: String, in folder: String) -> String {
        if path.hasPrefix("/") || folder.isEmpty { return path }
        return folder.hasSuffix("/") ? folder + path : "\(folder)/\(path)"
    }
}

/// The keys that mappings at one place of the schema may have, and which of them were read.
final class KeyList {
    let keys: [Schema.Key]
    /// A bit per key.
    private var marks: UInt64 = 0

    /// A bit per key that is one of the rules.
    let rules: UInt64

    init(_ keys: [Schema.Key]) {
        invariant(keys.count <= 64, "a mapping has at most 64 keys")
        self.keys = keys
        rules = keys.indices.reduce(0) {
            $0 | (keys[$1].parent == Schema.rules ? 1 << UInt64($1) : 0)
        }
    }

    var visited: [String] {
        keys.indices.filter { marks >> UInt64($0) & 1 == 1 }.map { keys[$0].path }
    }

    /// The key, and its bit.
    func visit(_ name: String) -> (Schema.Key, bit: UInt64) {
        for index in keys.indices where keys[index].name == name {
            marks |= 1 << UInt64(index)
            return (keys[index], 1 << UInt64(index))
        }
        brokenInvariant("the decoder reads only keys of the schema", file: #fileID, line: #line)
    }
}

/// A value with the place where it was written.
struct Located<Value> {
    let value: Value
    let location: Location
}

extension Located: Sendable where Value: Sendable {}

/// One mapping of the configuration, read by the schema's rules: unknown and missing keys are
/// reported when it is made, wrong values when they are asked for. After a report, reading goes
/// on with the default or with nothing, so that one pass finds every error.
struct Section {
    let pass: DecodingPass
    let location: Location
    /// As the operator would call it: `sites[0]`, `upstreams.grafana.tls`; empty: the top level.
    /// Put together when it is asked for: only messages show it.
    var title: String { index < 0 ? name : "\(name)[\(index)]" }
    private let name: String
    /// Place in a list; -1: it is not in one.
    private let index: Int
    /// What it may have, by the schema.
    private let list: KeyList
    private let entries: [Node.Entry]
    /// A bit per key of `list` that is written.
    private var present: UInt64 = 0

    /// - Returns: nil, after a report, if `node` is not a mapping.
    init?(
        _ node: Node, title: String, index: Int = -1, keys list: KeyList, pass: DecodingPass,
        isFragment: Bool = false
    ) {
        guard case .mapping(let entries) = node.content else {
            let name = title.isEmpty ? "the file" : index < 0 ? title : "\(title)[\(index)]"
            pass.diagnostics.error(
                node.location, "\(name) must be a mapping, not \(node.kindText)",
                hint: Self.mappingHint(node, list, isNamed: !title.isEmpty))
            return nil
        }
        self.pass = pass
        self.location = node.location
        name = title
        self.index = index
        self.list = list
        self.entries = entries
        checkKeys(isFragment: isFragment)
    }

    /// A section that was not written: every key has its default.
    init(empty title: String, keys list: KeyList, parent: Section) {
        pass = parent.pass
        location = parent.location
        name = title
        index = -1
        self.list = list
        entries = []
    }

    /// How it should have been written.
    private static func mappingHint(_ node: Node, _ list: KeyList, isNamed: Bool) -> String? {
        if node.isEmpty { return isNamed ? "'{}' is the empty mapping" : nil }
        let names = list.keys.prefix(3).map { "'\($0.name): …'" }.joined(separator: ", ")
        return list.keys.isEmpty ? nil : "keys with their values: \(names)"
    }

    private mutating func checkKeys(isFragment: Bool) {
        let keys = list.keys
        for entry in entries {
            guard let index = keys.firstIndex(where: { $0.name == entry.key }),
                !isFragment || keys[index].isAllowedInFragments
            else {
                refuse(entry, isFragment: isFragment)
                continue
            }
            present |= 1 << UInt64(index)
        }
        guard !isFragment else { return }
        for (index, key) in keys.enumerated()
        where key.isRequired && present >> UInt64(index) & 1 == 0 && !key.parent.isEmpty {
            requireKey(key.name)
        }
    }

    private func refuse(_ entry: Node.Entry, isFragment: Bool) {
        let keys = list.keys
        let valid = isFragment ? keys.filter(\.isAllowedInFragments) : keys
        if isFragment, keys.contains(where: { $0.name == entry.key }) {
            pass.diagnostics.error(
                entry.location, "\(quoted(entry.key)) is not allowed in an included file",
                hint: "allowed: \(valid.map(\.name).joined(separator: ", "))")
            return
        }
        pass.diagnostics.error(
            entry.location,
            "unknown key \(quoted(entry.key)) "
                + (title.isEmpty ? "at the top level" : "in \(title)"),
            hint: Suggestion.key(
                entry.key, among: valid.map(\.name),
                elsewhere: pass.schema.keys.filter { $0.name == entry.key }.map(\.parent)))
    }

    /// Reports a missing key; for those at the top level, which fragments may supply.
    func requireKey(_ name: String) {
        guard !entries.contains(where: { $0.key == name }) else { return }
        let owner = title.isEmpty ? "the configuration" : title
        pass.diagnostics.error(
            location, "\(owner) has no '\(name)'",
            hint: list.keys.first { $0.name == name }?.type.example.map { "\(name): \($0)" })
    }

    /// Where the key, or the lack of it, is to be seen.
    func location(of name: String) -> Location {
        entries.first { $0.key == name }?.location ?? location
    }

    /// Where what the key holds is to be seen.
    func valueLocation(of name: String) -> Location {
        entries.first { $0.key == name }?.value.location ?? location
    }

    func has(_ name: String) -> Bool {
        entries.contains { $0.key == name }
    }

    func error(
        _ location: Location, _ reason: String, hint: @autoclosure () -> String? = nil
    ) {
        pass.diagnostics.error(location, reason, hint: hint())
    }

    func warning(_ location: Location, _ reason: String, hint: String? = nil) {
        pass.diagnostics.warning(location, reason, hint: hint)
    }

    func displayPath(_ name: String) -> String {
        title.isEmpty ? name : "\(title).\(name)"
    }

    /// Any of those keys is written that views, sites and paths may all have.
    var hasRules: Bool { present & list.rules != 0 }

    func find(_ name: String) -> (key: Schema.Key, node: Node?) {
        let (key, bit) = list.visit(name)
        return (key, present & bit == 0 ? nil : entries.first { $0.key == name }?.value)
    }
}

// MARK: - Nested sections

extension Section {
    /// What the mappings that `key` holds may have.
    func children(of key: Schema.Key) -> KeyList {
        pass.keys(of: key.childrenPath ?? key.path)
    }

    func section(_ name: String) -> Section? {
        let (key, node) = find(name)
        guard let node else { return nil }
        return Section(node, title: displayPath(name), keys: children(of: key), pass: pass)
    }

    /// As `section(_:)`; one with nothing but defaults if it is absent or wrong.
    func sectionOrDefaults(_ name: String) -> Section {
        section(name)
            ?? Section(
                empty: displayPath(name), keys: children(of: find(name).key), parent: self)
    }

    func sections(_ name: String) -> [Section] {
        var result: [Section] = []
        forEachSection(name) { result.append($0) }
        return result
    }

    /// As `sections(_:)`, for lists that may be long: one at a time.
    func forEachSection(_ name: String, _ body: (Section) -> Void) {
        let (key, node) = find(name)
        guard let node else { return }
        guard case .sequence(let items) = node.content else {
            error(
                node.location, "\(displayPath(name)) must be a list, not \(node.kindText)",
                hint: "each entry begins with '- '")
            return
        }
        let title = displayPath(name)
        let children = children(of: key)
        for (index, item) in items.enumerated() {
            if let section = Section(item, title: title, index: index, keys: children, pass: pass) {
                body(section)
            }
        }
    }

    /// How many entries the list has, wrong ones included.
    func itemCount(_ name: String) -> Int {
        guard case .sequence(let items)? = entries.first(where: { $0.key == name })?.value.content
        else { return 0 }
        return items.count
    }

    /// The sections under the names the operator chose, in the order written.
    func namedSections(_ name: String) -> [(name: Located<String>, section: Section)] {
        let (key, node) = find(name)
        guard let node else { return [] }
        let children = children(of: key)
        guard case .mapping(let entries) = node.content else {
            error(
                node.location, "\(displayPath(name)) must be a mapping, not \(node.kindText)",
                hint: "names with their settings")
            return []
        }
        return entries.map { entry in
            var chosen = entry.key
            do throws(ValueProblem) {
                chosen = try TextValue.name(entry.key)
            } catch {
                self.error(entry.location, error.reason, hint: error.hint)
                // From here on it appears in messages only.
                chosen = quoted(entry.key)
            }
            let title = "\(displayPath(name)).\(chosen)"
            let section = Section(entry.value, title: title, keys: children, pass: pass)
            let owner = Located(value: chosen, location: entry.location)
            // What is not a mapping keeps its name, or those who use it would be reported too.
            return (owner, section ?? Section(empty: title, keys: children, parent: self))
        }
    }
}

// MARK: - Numbers, durations, sizes

extension Section {
    /// Nil if it is absent, `auto` or wrong.
    func integer(_ name: String) -> Int? {
        let (key, node) = find(name)
        let range: ClosedRange<Int>
        let words: String
        switch key.type {
        case .integer(let allowed): (range, words) = (allowed, "")
        case .integerOrAuto(let allowed): (range, words) = (allowed, "'auto' or ")
        case .duration, .durationOrUnlimited, .size, .sizeOrUnlimited, .choice, .text, .texts,
            .textsByView, .textOrMapping, .fields, .statuses, .mapping, .mappingOrOff, .mappings,
            .textsOrMappings, .named:
            return nil
        }
        guard let node else { return key.defaultText.flatMap { Int($0) } }
        let expected =
            range.count == 1
            ? "\(words)\(range.lowerBound), and no other"
            : "\(words)\(range.lowerBound) to \(range.upperBound)"
        guard case .scalar(let text, let isPlain) = node.content else {
            error(
                node.location, "\(displayPath(name)) must be a number, not \(node.kindText)",
                hint: expected)
            return nil
        }
        if !words.isEmpty, text == "auto" { return nil }
        let isDecimal = text.utf8.allSatisfy(HostName.isDigit) && !text.isEmpty
        guard isPlain, isDecimal, text == "0" || !text.hasPrefix("0") else {
            error(
                node.location, "\(displayPath(name)) must be a number, not \(quoted(text))",
                hint: isDecimal && !isPlain ? "without quotes" : expected)
            return nil
        }
        guard text.utf8.count <= 18, let value = Int(text), range.contains(value) else {
            error(
                node.location, "\(displayPath(name)) is out of range: \(quoted(text))",
                hint: expected)
            return nil
        }
        return value
    }

    /// The default if it is absent or wrong.
    func duration(_ name: String) -> Duration {
        let (key, node) = find(name)
        guard case .duration(let range) = key.type else { return .zero }
        // A test holds that every default of the schema is valid.
        let fallback = key.defaultText.flatMap { try? Quantity.duration($0) } ?? range.lowerBound
        return bounded(
            name, node, in: range, fallback: fallback, parse: Quantity.duration,
            text: { Quantity.text($0) })
    }

    /// In bytes; the default if it is absent or wrong.
    func size(_ name: String) -> Int {
        let (key, node) = find(name)
        guard case .size(let range) = key.type else { return 0 }
        // As above: the schema's defaults are valid.
        let fallback = key.defaultText.flatMap { try? Quantity.size($0) } ?? range.lowerBound
        return bounded(
            name, node, in: range, fallback: fallback, parse: Quantity.size,
            text: { Quantity.text(bytes: $0) })
    }

    /// In bytes; nil if it is `unlimited`, absent or wrong.
    func sizeOrUnlimited(_ name: String) -> Int? {
        let (key, node) = find(name)
        guard case .sizeOrUnlimited(let range) = key.type, let node else { return nil }
        if case .scalar("unlimited", _) = node.content { return nil }
        return bounded(
            name, node, in: range, fallback: range.upperBound, parse: Quantity.size,
            orWord: "unlimited",
            text: { Quantity.text(bytes: $0) })
    }

    /// - Parameter word: what may stand instead, which the caller has looked for.
    func bounded<Value: Comparable>(
        _ name: String, _ node: Node?, in range: ClosedRange<Value>, fallback: Value,
        parse: (String) throws(ValueProblem) -> Value, orWord word: String? = nil,
        text: (Value) -> String
    ) -> Value {
        guard let node else { return fallback }
        let choice = word.map { "'\($0)' or " } ?? ""
        let expected = choice + "\(text(range.lowerBound)) to \(text(range.upperBound))"
        guard case .scalar(let written, _) = node.content, !node.isEmpty else {
            error(
                node.location, "\(displayPath(name)) must have a value, not \(node.kindText)",
                hint: expected)
            return fallback
        }
        do throws(ValueProblem) {
            let value = try parse(written)
            if range.contains(value) { return value }
            error(
                node.location, "\(displayPath(name)) is out of range: \(quoted(written))",
                hint: expected)
        } catch {
            self.error(node.location, error.reason, hint: error.hint.map { choice + $0 })
        }
        return fallback
    }
}

// MARK: - Strings

extension Section {
    /// One of the schema's words; the default if it is absent or wrong.
    func choice<Word: RawRepresentable<String>>(_ name: String, as: Word.Type) -> Word? {
        let (key, node) = find(name)
        guard case .choice(let words) = key.type else { return nil }
        guard let node else { return key.defaultText.flatMap(Word.init(rawValue:)) }
        guard case .scalar(let written, _) = node.content else {
            error(
                node.location, "\(displayPath(name)) must be a word, not \(node.kindText)",
                hint: "one of: \(words.joined(separator: ", "))")
            return nil
        }
        // To YAML these are the same, and so they are to whoever writes them.
        let isAnswer = words.contains("yes") && words.contains("no")
        let text = isAnswer ? ["true": "yes", "false": "no"][written] ?? written : written
        guard words.contains(text), let word = Word(rawValue: text) else {
            error(
                node.location, "\(displayPath(name)) cannot be \(quoted(text))",
                hint: "one of: \(words.joined(separator: ", "))")
            return nil
        }
        return word
    }

    /// In the form that the schema asks for.
    func text(_ name: String) -> Located<String>? {
        let (key, node) = find(name)
        guard let node, case .text(let kind) = key.type else { return nil }
        return text(
            node, called: displayPath(name),
            hint: kind == .transport ? "a duration, such as 8760h; or leave it out" : "quote it",
            parse: kind.checked)
    }

    /// As `text(_:)`, for a form that is more than a string.
    func text<Value>(
        _ name: String, as expected: Schema.Text,
        parse: (String) throws(ValueProblem) -> Value
    ) -> Located<Value>? {
        let (key, node) = find(name)
        guard let node, case .text(let kind) = key.type else { return nil }
        invariant(kind == expected, "schema and decoder agree on the form of a string")
        return text(node, called: displayPath(name), parse: parse)
    }

    /// Every valid entry of a list, in the form that the schema asks for; empty if it is absent.
    func texts(_ name: String) -> [Located<String>] {
        guard case .texts(let kind, _) = find(name).key.type else { return [] }
        return texts(name, as: kind, parse: kind.checked)
    }

    /// As `texts(_:)`, for a form that is more than a string.
    func texts<Value>(
        _ name: String, as expected: Schema.Text,
        parse: (String) throws(ValueProblem) -> Value
    ) -> [Located<Value>] {
        let (key, node) = find(name)
        guard let node, case .texts(let kind, let orSingle) = key.type else { return [] }
        invariant(kind == expected, "schema and decoder agree on the form of a string")
        return texts(node, called: displayPath(name), orSingle: orSingle, parse: parse)
    }

    func texts<Value>(
        _ node: Node, called name: @autoclosure () -> String, orSingle: Bool,
        parse: (String) throws(ValueProblem) -> Value
    ) -> [Located<Value>] {
        switch node.content {
        case .sequence(let items):
            if items.isEmpty { error(node.location, "\(name()) is an empty list") }
            return items.enumerated().compactMap { index, item in
                text(item, called: "\(name())[\(index)]", parse: parse)
            }
        case .scalar where orSingle:
            return text(node, called: name(), parse: parse).map { [$0] } ?? []
        case .scalar, .mapping:
            error(
                node.location, "\(name()) must be a list, not \(node.kindText)",
                hint: "entries in brackets: [a, b]")
            return []
        }
    }

    /// A path, seen from the folder of the main file.
    func path(_ name: String) -> Located<String>? {
        text(name).map {
            Located(value: pass.resolve($0.value), location: $0.location)
        }
    }

    func text<Value>(
        _ node: Node, called name: @autoclosure () -> String, hint: String = "quote it",
        parse: (String) throws(ValueProblem) -> Value
    ) -> Located<Value>? {
        guard case .scalar(let text, let isPlain) = node.content else {
            error(
                node.location, "\(name()) must be a string, not \(node.kindText)",
                hint: node.isSequence ? "one value, without brackets and '-'" : nil)
            return nil
        }
        if isPlain, let meaning = PlainMeaning(text) {
            let reason =
                meaning == .null
                ? "\(name()) has no value"
                : "\(name()) must be a string: YAML reads \(quoted(text)) as \(meaning.kindText)"
            error(
                node.location, reason,
                hint: meaning == .null ? "give it one, or leave out the key" : hint)
            return nil
        }
        // All other bytes of UTF-8 are above.
        guard !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            error(node.location, "\(name()) contains a control character: \(quoted(text))")
            return nil
        }
        do throws(ValueProblem) {
            return Located(value: try parse(text), location: node.location)
        } catch {
            self.error(node.location, error.reason, hint: error.hint)
            return nil
        }
    }
}
