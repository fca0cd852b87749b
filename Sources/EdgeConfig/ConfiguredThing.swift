/// One key of a thing, as it is written.
package struct ConfiguredSetting: Sendable, Equatable {
    /// By its path below the thing, such as `timeouts.response` or `paths[/api].upstream`.
    package let key: String
    /// An entry each of a list; one of anything else.
    package let values: [String]
    /// What holds if it is not written, as it would be written; nil: nothing is assumed.
    package let defaultText: String?
}

/// A listener, view, site, upstream or resolver of a configuration, or one of its other keys, with
/// all that is written about it: what two configurations are compared by. Made by the schema and
/// the files alone, so that no key can be forgotten.
package struct ConfiguredThing: Sendable, Equatable {
    /// The top-level key that it is part of, such as `sites`; it is `name` of a thing that is not
    /// one of several.
    package let section: String
    /// As the operator calls it; a site by its first host.
    package let name: String
    /// What tells it from others of this name in its section: views, protocols; else empty.
    package let detail: String
    package let settings: [ConfiguredSetting]

    /// Everything the files say, in their order; the order of keys within a thing is the files'.
    ///
    /// - Throws: what is wrong with the files' syntax.
    package static func all(of bundle: ConfigurationBundle) throws(ConfigError) -> [Self] {
        var reader = ConfiguredThingReader()
        for file in bundle.files {
            let document = try Document(path: file.path, bytes: file.bytes)
            guard case .mapping(let entries) = document.root.content else { continue }
            for entry in entries where entry.key != "include" && entry.key != "version" {
                reader.read(entry)
            }
        }
        return reader.things
    }
}

private struct ConfiguredThingReader {
    private let schema = Schema.current
    private(set) var things: [ConfiguredThing] = []
    private var settings: [ConfiguredSetting] = []

    mutating func read(_ entry: Node.Entry) {
        guard let key = schema.children(of: "").first(where: { $0.name == entry.key }) else {
            return
        }
        switch (key.type, entry.value.content) {
        case (.named, .mapping(let named)):
            for own in named {
                flatten(own.value, key: nil, path: key.childrenPath, name: "")
                finish(key.name, own.key)
            }
        case (.mappings, .sequence(let items)):
            for item in items {
                flatten(item, key: nil, path: key.childrenPath, name: "")
                let (name, detail) = Self.name(of: item)
                finish(key.name, name, detail)
            }
        default:
            flatten(entry.value, key: key, path: key.childrenPath, name: key.name)
            finish(key.name, key.name)
        }
    }

    private mutating func finish(_ section: String, _ name: String, _ detail: String = "") {
        things.append(
            ConfiguredThing(section: section, name: name, detail: detail, settings: settings))
        settings = []
    }

    /// - Parameters:
    ///   - path: of the schema's mappings that `node` is one of, if it is one.
    ///   - name: the node's path below the thing.
    private mutating func flatten(
        _ node: Node, key: Schema.Key?, path: String?, name: String
    ) {
        switch node.content {
        case .scalar(let text, _): add(name, [text], key)
        case .mapping(let entries):
            let keys = path.map { schema.children(of: $0) } ?? []
            for entry in entries {
                let own = keys.first { $0.name == entry.key }
                flatten(
                    entry.value, key: own, path: own?.childrenPath,
                    name: name.isEmpty ? entry.key : "\(name).\(entry.key)")
            }
            if entries.isEmpty, !name.isEmpty { add(name, ["{}"], nil) }
        case .sequence(let items):
            let prefixes = items.map { Self.text(of: "prefix", in: $0) }
            guard !items.isEmpty, prefixes.allSatisfy({ $0 != nil }) else {
                return add(name, items.map { Self.flow($0) }, key)
            }
            for (item, prefix) in zip(items, prefixes) {
                flatten(item, key: nil, path: path, name: "\(name)[\(prefix ?? "")]")
            }
        }
    }

    private mutating func add(_ name: String, _ values: [String], _ key: Schema.Key?) {
        settings.append(
            ConfiguredSetting(key: name, values: values, defaultText: key?.defaultText))
    }

    // MARK: - Names

    /// Of an entry of a list: its name, or its first host with what that is not enough for.
    private static func name(of node: Node) -> (String, detail: String) {
        if let name = text(of: "name", in: node) { return (name, "") }
        guard case .mapping(let entries) = node.content,
            let hosts = entries.first(where: { $0.key == "hosts" })?.value
        else { return ("", "") }
        let protocols = entries.first { $0.key == "alpn" }.map { flow($0.value) }
        guard case .mapping(let views) = hosts.content else {
            return (first(hosts), protocols ?? "")
        }
        let names = views.map(\.key).joined(separator: ", ")
        return (
            views.first.map { first($0.value) } ?? "", protocols.map { "\(names), \($0)" } ?? names
        )
    }

    private static func first(_ node: Node) -> String {
        guard case .sequence(let items) = node.content else { return flow(node) }
        return items.first.map { flow($0) } ?? ""
    }

    private static func text(of key: String, in node: Node) -> String? {
        guard case .mapping(let entries) = node.content,
            case .scalar(let text, _)? = entries.first(where: { $0.key == key })?.value.content
        else { return nil }
        return text
    }

    /// On one line, as YAML's flow style has it.
    private static func flow(_ node: Node) -> String {
        switch node.content {
        case .scalar(let text, _): text
        case .sequence(let items): "[" + items.map { flow($0) }.joined(separator: ", ") + "]"
        case .mapping(let entries):
            "{ " + entries.map { "\($0.key): \(flow($0.value))" }.joined(separator: ", ") + " }"
        }
    }
}
