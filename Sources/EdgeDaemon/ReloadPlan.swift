internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeHTTP
internal import EdgeTLS
internal import EdgeUpstream

/// What a reload would change, of two preparations: the one in use and the one that would be. Pure;
/// nothing of it is done. Things are compared by what the files say about them, so that no key can
/// be forgotten, and files that they name by what was read from them.
struct ReloadPlan {
    /// Live connections of a listener or a view, or requests under way of a site (by its first
    /// host) or an upstream; nil: not known.
    typealias Connections = (PlannedKind, String) -> Int64?

    /// Top-level keys of which a reload takes no other value.
    static let restartKeys: Set<String> = ["user", "group", "workers", "admin"]

    let changes: [PlannedChange]

    /// - Parameter connections: asked for each thing that is removed or changed.
    /// - Throws: what is wrong with the files' syntax; they have been read before.
    init(
        from old: Preparation, to new: Preparation, connections: Connections
    ) throws(ConfigError) {
        var changes: [PlannedChange] = []
        if old.fingerprint != new.fingerprint || old.byteCount != new.byteCount {
            changes = Self.changes(
                from: try ConfiguredThing.all(of: old.bundle),
                to: try ConfiguredThing.all(of: new.bundle))
        }
        changes += Self.certificates(old.certificateEntries, new.certificateEntries)
        changes += Self.files(old, new)
        for index in changes.indices {
            let change = changes[index]
            changes[index].fate = Self.fate(of: change)
            changes[index].needsRestart =
                change.kind == .setting && Self.restartKeys.contains(change.name)
            guard change.action != .added else { continue }
            switch change.kind {
            case .listener, .view, .upstream:
                changes[index].connections = connections(change.kind, change.name)
            case .site:
                // Without what tells it from others of the same first host.
                let host = change.name.prefix { $0 != " " }
                changes[index].connections = connections(.site, String(host))
            case .resolver, .certificate, .file, .setting: break
            }
        }
        self.changes = changes
    }

    /// The answer about a configuration that was prepared and is not used.
    func reply(epoch: Int64, drainSeconds: Int64) -> ReloadPlanReply {
        let isRefused = changes.contains { $0.needsRestart }
        return ReloadPlanReply(
            outcome: isRefused ? .refused : changes.isEmpty ? .unchanged : .planned,
            epoch: epoch, drainSeconds: drainSeconds, changes: changes)
    }

    // MARK: - What the files say

    private static func changes(
        from old: [ConfiguredThing], to new: [ConfiguredThing]
    ) -> [PlannedChange] {
        let (before, after) = (keyed(old), keyed(new))
        let known = Dictionary(uniqueKeysWithValues: before)
        let left = Set(after.map(\.0))
        var result: [PlannedChange] = []
        for (key, thing) in after {
            guard let other = known[key] else {
                // What has but one place holds its defaults where it is not written.
                result +=
                    key.kind == .setting
                    ? changed(key, values(from: [], to: thing.settings))
                    : [PlannedChange(kind: key.kind, name: key.name, action: .added)]
                continue
            }
            guard other.settings != thing.settings else { continue }
            result += changed(key, values(from: other.settings, to: thing.settings))
        }
        for (key, thing) in before where !left.contains(key) {
            result +=
                key.kind == .setting
                ? changed(key, values(from: thing.settings, to: []))
                : [PlannedChange(kind: key.kind, name: key.name, action: .removed)]
        }
        return result
    }

    private static func changed(_ key: Key, _ values: [PlannedValue]) -> [PlannedChange] {
        guard !values.isEmpty else { return [] }
        return [PlannedChange(kind: key.kind, name: key.name, action: .changed, values: values)]
    }

    private struct Key: Hashable {
        let kind: PlannedKind
        let name: String
    }

    /// Things by name; those of one name in their order.
    private static func keyed(_ things: [ConfiguredThing]) -> [(Key, ConfiguredThing)] {
        var seen: [Key: Int] = [:]
        return things.map { thing in
            var key = Key(kind: kind(of: thing.section), name: thing.name)
            if !thing.detail.isEmpty {
                key = Key(kind: key.kind, name: "\(thing.name) (\(thing.detail))")
            }
            let count = seen[key, default: 0] + 1
            seen[key] = count
            return (count == 1 ? key : Key(kind: key.kind, name: "\(key.name) #\(count)"), thing)
        }
    }

    private static func kind(of section: String) -> PlannedKind {
        switch section {
        case "listeners": .listener
        case "views": .view
        case "sites": .site
        case "upstreams": .upstream
        case "resolvers": .resolver
        default: .setting
        }
    }

    /// A key that is not written holds its default.
    private static func values(
        from old: [ConfiguredSetting], to new: [ConfiguredSetting]
    ) -> [PlannedValue] {
        let before = Dictionary(old.map { ($0.key, $0) }) { first, _ in first }
        let after = Dictionary(new.map { ($0.key, $0) }) { first, _ in first }
        let keys = new.map(\.key) + old.map(\.key).filter { after[$0] == nil }
        return keys.compactMap { key in
            let fallback = (before[key] ?? after[key])?.defaultText.map { [$0] } ?? []
            let value = PlannedValue(
                key: key, before: before[key]?.values ?? fallback,
                after: after[key]?.values ?? fallback)
            return value.before == value.after ? nil : value
        }
    }

    // MARK: - What the files name

    private static func certificates(
        _ old: [CertificateEntry], _ new: [CertificateEntry]
    ) -> [PlannedChange] {
        var left = Dictionary(old.map { ($0.file, $0) }) { first, _ in first }
        var result: [PlannedChange] = []
        for entry in new {
            guard let known = left.removeValue(forKey: entry.file) else {
                result.append(
                    PlannedChange(kind: .certificate, name: entry.file, action: .added))
                continue
            }
            if known !== entry {
                result.append(
                    PlannedChange(kind: .certificate, name: entry.file, action: .changed))
            }
        }
        result += left.keys.sorted().map {
            PlannedChange(kind: .certificate, name: $0, action: .removed)
        }
        return result.sorted { $0.name < $1.name }
    }

    /// Files under the same names with other contents; other names are told by the keys. What
    /// upstreams trusted, or were shown, is not what their connections go on with.
    private static func files(_ old: Preparation, _ new: Preparation) -> [PlannedChange] {
        var names: Set<String> = []
        var drained: Set<String> = []
        let upstreams = new.configuration.upstreams
        let ofUpstreams = Set(
            upstreams.flatMap { [$0.tls, $0.health?.tls] }.compactMap { $0?.trustFiles })
        for (files, trust) in new.files.trusts {
            guard let known = old.files.trusts[files], known !== trust else { continue }
            if ofUpstreams.contains(files) {
                drained.insert(files.authorities)
            } else {
                names.insert(files.authorities)
            }
        }
        for (files, identity) in new.files.identities {
            guard let known = old.files.identities[files], known !== identity else { continue }
            drained.insert(files.certificateFile)
        }
        if let folder = new.configuration.requests.errorPages,
            folder == old.configuration.requests.errorPages, new.errorPages != old.errorPages
        {
            names.insert(folder)
        }
        return names.union(drained).sorted().map {
            PlannedChange(
                kind: .file, name: $0, action: .changed,
                fate: drained.contains($0) ? .drained : .untouched)
        }
    }

    // MARK: - What becomes of connections

    /// Keys of an upstream that tell its connections from others: those of the old kind end.
    private static let connectionKeys = ["tls", "protocol"]
    /// Keys of a site that decide which connections its requests are sent on.
    private static let destinationKeys = ["hosts", "internal", "upstream", "passthrough"]

    /// Never better than it will be: what is `drained` may go on for longer.
    private static func fate(of change: PlannedChange) -> PlannedFate {
        func touches(_ keys: [String]) -> Bool {
            change.values.contains { value in
                keys.contains { value.key == $0 || value.key.hasPrefix($0 + ".") }
            }
        }
        switch (change.kind, change.action) {
        case (_, .added), (.resolver, _), (.certificate, _), (.setting, _), (.view, .changed),
            (.file, .removed):
            return .untouched
        case (.file, .changed): return change.fate
        case (.listener, .changed): return touches(["address", "port"]) ? .drained : .untouched
        case (.upstream, .changed): return touches(connectionKeys) ? .drained : .untouched
        case (.site, .changed):
            let isMoved = change.values.contains { $0.key.hasSuffix("].upstream") }
            return isMoved || touches(destinationKeys) ? .drained : .untouched
        case (.listener, .removed), (.view, .removed), (.site, .removed), (.upstream, .removed):
            return .drained
        }
    }
}
