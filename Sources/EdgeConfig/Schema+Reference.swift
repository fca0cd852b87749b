extension Schema {
    /// The text of `docs/configuration.md`: one entry per key, all by one template.
    package func reference() -> String {
        var text = Self.introduction
        var section = ""
        for key in keys {
            let title = title(for: key)
            if title != section {
                section = title
                text += "\n## \(title)\n"
            }
            text += "\n" + entry(for: key)
        }
        return text
    }

    private static let introduction = """
        # Configuration reference

        <!-- Rendered from the schema in Sources/EdgeConfig; a test compares. Do not edit. -->

        The configuration is one YAML file and the fragments it includes. It is strict: unknown
        keys, duplicate keys, undefined and unused names are errors, and so are YAML's anchors,
        aliases, tags and merge keys. `edged --check -c FILE` reports every finding as
        `file:line:column: reason (hint)`.

        - **Durations** are a number and `ms`, `s`, `m` or `h`: `500ms`, `1.5s`, `5m`.
        - **Sizes** are a whole number and `B`, `KiB`, `MiB` or `GiB`, powers of two: `64KiB`.
        - **Numbers** are written without quotes; **strings** that YAML would take for a number or
          a boolean are quoted, and so is a host that begins with `*`.
        - **`yes`** and **`no`** may be written `true` and `false`.
        - **Paths** are relative to the folder of the main file.
        - **Names** are a letter, then letters, digits, `-`, `_` or `.`.

        In the headings, `[]` is an entry of a list and `*` a name of your choice; `(rules)` stands
        for a view, a site and a path of a site: what is said there can be said of each. A request
        has to be allowed by all of them; where they contradict each other, the path counts more
        than the site, and the site more than the view. Commented examples are in `conf/`.

        """

    /// Keys that hold keys have a part of their own; what is left is general.
    private func title(for key: Key) -> String {
        let top = String(key.path.prefix { $0 != "." && $0 != "[" })
        let holdsKeys = self.key(top)?.childrenPath != nil
        if let name = Self.abbreviations[top] { return name }
        let words = top.map { $0 == "_" ? " " : $0 }
        return holdsKeys
            ? words.prefix(1).map { $0.uppercased() }.joined() + words.dropFirst() : "General"
    }

    private static let abbreviations = [
        "http2": "HTTP/2", "tls": "TLS", "dns": "DNS", rules: "Rules",
    ]

    private func entry(for key: Key) -> String {
        var lines = ["### `\(key.path)`", "", key.effect, ""]
        lines.append("- Where: \(Self.place(of: key))")
        lines.append("- Value: \(Self.valueText(of: key.type))")
        lines.append("- Default: \(Self.defaultText(of: key))")
        if let pitfalls = key.pitfalls { lines.append("- Pitfalls: \(pitfalls)") }
        if !key.seeAlso.isEmpty {
            lines.append("- See also: \(key.seeAlso.map { "`\($0)`" }.joined(separator: ", "))")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func place(of key: Key) -> String {
        if key.parent == rules {
            return "in " + ruleOwners.map { "`\($0)`" }.joined(separator: ", ")
        }
        guard key.parent.isEmpty else { return "in `\(key.parent)`" }
        return key.isAllowedInFragments
            ? "top level of the main file and of included files" : "top level of the main file"
    }

    private static func defaultText(of key: Key) -> String {
        if key.isRequired { return "none, the key is required" }
        if let text = key.defaultText { return "`\(text)`" }
        return key.absence ?? "none"
    }

    private static func valueText(of type: ValueType) -> String {
        switch type {
        case .integer(let range):
            return range.count == 1
                ? "the number \(range.lowerBound)"
                : "a number, \(range.lowerBound) to \(range.upperBound)"
        case .integerOrAuto(let range):
            return "`auto` or a number, \(range.lowerBound) to \(range.upperBound)"
        case .duration(let range):
            return "a duration, \(Quantity.text(range.lowerBound)) to "
                + Quantity.text(range.upperBound)
        case .durationOrUnlimited(let range):
            return "`unlimited` or a duration, \(Quantity.text(range.lowerBound)) to "
                + Quantity.text(range.upperBound)
        case .size(let range):
            return "a size, \(Quantity.text(bytes: range.lowerBound)) to "
                + Quantity.text(bytes: range.upperBound)
        case .sizeOrUnlimited(let range):
            return "`unlimited` or a size, \(Quantity.text(bytes: range.lowerBound)) to "
                + Quantity.text(bytes: range.upperBound)
        case .choice(let words):
            return words.map { "`\($0)`" }.joined(separator: " or ")
        case .text(let kind):
            return kind.rawValue
        case .texts(let kind, orSingle: true):
            return "\(kind.rawValue); or a list of such"
        case .texts(let kind, orSingle: false):
            return "a list, each entry \(kind.rawValue)"
        case .textOrMapping(let kind):
            return "\(kind.rawValue); or a mapping with the keys below"
        case .fields:
            return "a mapping from names of header fields to their values"
        case .textsByView(let kind):
            return "\(kind.rawValue); or a list of such; or a mapping from views to one of both"
        case .statuses(let range):
            return "a status or a span such as \(range.lowerBound)-\(range.upperBound), or a list "
                + "of such"
        case .mappingOrOff:
            return "`off` or a mapping with the keys below"
        case .textsOrMappings(let kind):
            return "a list, each entry \(kind.rawValue) or a mapping with the keys below"
        case .mapping:
            return "a mapping with the keys below"
        case .mappings:
            return "a list of mappings with the keys below"
        case .named:
            return "a mapping of names to mappings with the keys below"
        }
    }
}
