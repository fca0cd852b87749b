import EdgeCore
import EdgeRouting

/// One entry of a list whose entries are strings or mappings.
enum MixedEntry<Value> {
    case text(Located<Value>)
    case section(Section)
}

/// Strings that hold for all views, or for each that is named.
enum TextsByView {
    case all([Located<String>])
    case named([(view: Located<String>, texts: [Located<String>])])
}

// MARK: - Sections that may be switched off, lists of two forms

extension Section {
    /// The section; one with nothing but defaults if it is absent or wrong; nil: it is `off`.
    func sectionUnlessOff(_ name: String) -> Section? {
        let (key, node) = find(name)
        let children = children(of: key)
        let defaults = Section(empty: displayPath(name), keys: children, parent: self)
        guard let node else { return defaults }
        guard case .scalar(let text, _) = node.content else {
            return section(name) ?? defaults
        }
        if text == "off" { return nil }
        error(
            node.location, "\(displayPath(name)) must be a mapping or 'off', not \(node.kindText)",
            hint: node.isEmpty ? "'{}' is the empty mapping" : nil)
        return defaults
    }

    /// Every valid entry, in the order written.
    func entries<Value>(
        _ name: String, as expected: Schema.Text,
        parse: (String) throws(ValueProblem) -> Value
    ) -> [MixedEntry<Value>] {
        let (key, node) = find(name)
        guard let node, case .textsOrMappings(let kind) = key.type else { return [] }
        invariant(kind == expected, "schema and decoder agree on the form of a string")
        guard case .sequence(let items) = node.content else {
            error(
                node.location, "\(displayPath(name)) must be a list, not \(node.kindText)",
                hint: "entries in brackets: [a, b]")
            return []
        }
        if items.isEmpty { error(node.location, "\(displayPath(name)) is an empty list") }
        let title = displayPath(name)
        let children = children(of: key)
        return items.enumerated().compactMap { index, item in
            if case .mapping = item.content {
                let section = Section(
                    item, title: title, index: index, keys: children, pass: pass)
                return section.map(MixedEntry.section)
            }
            return text(item, called: "\(title)[\(index)]", parse: parse).map(MixedEntry.text)
        }
    }
}

// MARK: - A string or a section, header fields

extension Section {
    /// Nil if it is absent or wrong.
    func textOrSection<Value>(
        _ name: String, as expected: Schema.Text,
        parse: (String) throws(ValueProblem) -> Value
    ) -> MixedEntry<Value>? {
        let (key, node) = find(name)
        let children = children(of: key)
        guard let node, case .textOrMapping(let kind) = key.type else { return nil }
        invariant(kind == expected, "schema and decoder agree on the form of a string")
        if case .mapping = node.content {
            return Section(node, title: displayPath(name), keys: children, pass: pass)
                .map(MixedEntry.section)
        }
        return text(node, called: displayPath(name), parse: parse).map(MixedEntry.text)
    }

    /// Every valid field, in the order written; each name once, whatever its letters' case.
    func fields(_ name: String) -> [(name: Located<String>, value: Template)] {
        let (key, node) = find(name)
        guard let node, case .fields = key.type else { return [] }
        let title = displayPath(name)
        guard case .mapping(let entries) = node.content else {
            error(
                node.location, "\(title) must be a mapping, not \(node.kindText)",
                hint: "names of fields with their values")
            return []
        }
        if entries.isEmpty { error(node.location, "\(title) is an empty mapping") }
        var places: [String: Location] = [:]
        return entries.compactMap { entry in
            do throws(ValueProblem) {
                _ = try TextValue.fieldName(entry.key)
            } catch {
                self.error(entry.location, error.reason, hint: error.hint)
                return nil
            }
            if let first = places[entry.key.lowercased()] {
                error(
                    entry.location, "\(title) has the field '\(entry.key)' twice",
                    hint: "first at \(first)")
            }
            places[entry.key.lowercased()] = entry.location
            let value = text(
                entry.value, called: "\(title).\(entry.key)", parse: TextValue.template)
            return value.map {
                (Located(value: entry.key, location: entry.location), $0.value)
            }
        }
    }
}

// MARK: - Strings by view

extension Section {
    /// Every valid string in the form that the schema asks for; of a mapping, in the order written.
    func textsByView(_ name: String) -> TextsByView {
        let (key, node) = find(name)
        guard let node, case .textsByView(let kind) = key.type else { return .all([]) }
        guard case .mapping(let entries) = node.content else {
            return .all(
                texts(node, called: displayPath(name), orSingle: true, parse: kind.checked))
        }
        if entries.isEmpty { error(node.location, "\(displayPath(name)) is an empty mapping") }
        return .named(
            entries.map { entry in
                let texts = texts(
                    entry.value, called: "\(displayPath(name)).\(Self.shown(entry.key))",
                    orSingle: true, parse: kind.checked)
                return (Located(value: entry.key, location: entry.location), texts)
            })
    }

    /// A key that an operator chose, in a message.
    static func shown(_ key: String) -> String {
        (try? TextValue.name(key)) ?? quoted(key)
    }
}

// MARK: - Durations that may be missing, statuses

extension Section {
    /// Nil if it is absent; the lowest that is allowed if it is wrong.
    func durationIfWritten(_ name: String) -> Duration? {
        let (key, node) = find(name)
        guard case .duration(let range) = key.type, node != nil else { return nil }
        return bounded(
            name, node, in: range, fallback: range.lowerBound, parse: Quantity.duration,
            text: { Quantity.text($0) })
    }

    /// Nil if it is `unlimited`, absent or wrong.
    func durationOrUnlimited(_ name: String) -> Duration? {
        let (key, node) = find(name)
        guard case .durationOrUnlimited(let range) = key.type, let node else { return nil }
        if case .scalar("unlimited", _) = node.content { return nil }
        return bounded(
            name, node, in: range, fallback: range.upperBound, parse: Quantity.duration,
            orWord: "unlimited", text: { Quantity.text($0) })
    }

    /// Every valid status or span of them; empty if it is absent.
    func statuses(_ name: String) -> [ClosedRange<UInt16>] {
        let (key, node) = find(name)
        guard case .statuses(let range) = key.type, let node else { return [] }
        let items: [Node]
        switch node.content {
        case .sequence(let list):
            if list.isEmpty { error(node.location, "\(displayPath(name)) is an empty list") }
            items = list
        case .scalar: items = [node]
        case .mapping:
            error(node.location, "\(displayPath(name)) must be a list, not \(node.kindText)")
            items = []
        }
        return items.compactMap { item in
            guard case .scalar(let text, _) = item.content, let span = Self.span(text) else {
                error(
                    item.location, "\(displayPath(name)) must be statuses, not \(describe(item))",
                    hint: "such as \(range.lowerBound) or "
                        + "\(range.lowerBound)-\(range.lowerBound + 99)")
                return nil
            }
            guard range.contains(Int(span.lowerBound)), range.contains(Int(span.upperBound)) else {
                error(
                    item.location, "\(displayPath(name)) is out of range: \(describe(item))",
                    hint: "\(range.lowerBound) to \(range.upperBound)")
                return nil
            }
            return span
        }
    }

    private func describe(_ node: Node) -> String {
        guard case .scalar(let text, _) = node.content, !text.isEmpty else { return node.kindText }
        return quoted(text)
    }

    /// `204` or `200-399`.
    private static func span(_ text: String) -> ClosedRange<UInt16>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count <= 2 else { return nil }
        let numbers = parts.compactMap { part -> UInt16? in
            part.utf8.count == 3 ? UInt16(decimal: part) : nil
        }
        guard numbers.count == parts.count, let first = numbers.first, let last = numbers.last,
            first <= last
        else { return nil }
        return first...last
    }
}
