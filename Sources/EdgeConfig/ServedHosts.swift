import EdgeRouting

/// Who serves which host in which view, while sites are read. Cost: one look-up per view and host.
struct ServedHosts {
    enum Service { case terminated, passthrough }

    private struct Entry {
        let location: Location
        let service: Service
    }

    private let views: ViewList
    /// By view.
    private var served: [[String: Entry]]
    /// By view: protocol, space, host.
    private var passedByProtocol: [[String: Location]]
    /// By view: the first mapping that names it.
    private(set) var firstNamed: [Location?]

    init(_ views: ViewList, countMax: Int) {
        self.views = views
        served = Array(repeating: [:], count: views.count)
        for index in served.indices { served[index].reserveCapacity(countMax) }
        passedByProtocol = Array(repeating: [:], count: views.count)
        firstNamed = Array(repeating: nil, count: views.count)
    }

    func isEmpty(_ view: Int) -> Bool { served[view].isEmpty && passedByProtocol[view].isEmpty }

    /// Who serves `name`: a site with that host, else one with a wildcard for it.
    func find(_ name: String, view: Int) -> Service? {
        if let entry = served[view][name] { return entry.service }
        let labels = name.split(separator: ".", maxSplits: 1)
        if labels.count == 2, let entry = served[view]["*.\(labels[1])"] { return entry.service }
        return served[view]["*"]?.service
    }

    mutating func noteNamed(_ view: Int, at location: Location) {
        firstNamed[view] = firstNamed[view] ?? location
    }

    /// Reports a host that another site has in one of the views, or this one already.
    mutating func insert(
        _ host: Located<String>, views indexes: Range<Int>, _ service: Service,
        in section: Section
    ) {
        for view in indexes {
            let entry = Entry(location: host.location, service: service)
            guard let first = served[view].updateValue(entry, forKey: host.value) else { continue }
            served[view][host.value] = first
            section.error(
                host.location, "the host '\(host.value)' is served twice\(views.place(view))",
                hint: "first at \(first.location)")
            return
        }
    }

    /// As above, of a site that passes through connections for one protocol only.
    mutating func insert(
        _ host: Located<String>, views indexes: Range<Int>, protocol name: String,
        in section: Section
    ) {
        let key = "\(name) \(host.value)"
        for view in indexes {
            guard let first = passedByProtocol[view][key] else {
                passedByProtocol[view][key] = host.location
                continue
            }
            section.error(
                host.location,
                "the host '\(host.value)' is passed through twice for '\(name)'\(views.place(view))",
                hint: "first at \(first)")
            return
        }
    }
}

/// The hosts of one site.
struct SiteHosts {
    private(set) var hosts: [SiteConfiguration.Host] = []
    /// Each as it was written.
    private(set) var names: [Located<String>] = []
    /// Views know the site by different names.
    private(set) var differ = false

    /// Cost: O(views × names).
    static func decode(_ section: Section, views: ViewList) -> (
        SiteHosts, named: [(view: Int, place: Location, names: Range<Int>)]
    ) {
        var result = SiteHosts()
        var named: [(view: Int, place: Location, names: Range<Int>)] = []
        switch section.textsByView("hosts") {
        case .all(let names):
            result.names = names
            result.hosts.reserveCapacity(names.count * views.count)
            for view in 0..<views.count {
                for name in names { result.hosts.append(.init(view: view, pattern: name.value)) }
            }
        case .named(let entries):
            guard !views.isEmpty else {
                if views.isReadable {
                    section.error(
                        section.location(of: "hosts"),
                        "\(section.title).hosts names views, and none is defined",
                        hint: "define them in 'views', or list the hosts")
                }
                return (result, [])
            }
            for (view, names) in entries {
                guard let index = views.index(of: view, key: "hosts", in: section) else { continue }
                let start = result.names.count
                result.names += names
                named.append((index, view.location, start..<result.names.count))
                for name in names { result.hosts.append(.init(view: index, pattern: name.value)) }
            }
            if let first = named.first {
                result.differ = named.dropFirst().contains {
                    !result.haveSameNames(first.names, $0.names)
                }
            }
        }
        return (result, named)
    }

    /// In whatever order.
    private func haveSameNames(_ one: Range<Int>, _ other: Range<Int>) -> Bool {
        let (one, other) = (names[one], names[other])
        if one.count == 1, other.count == 1 { return one.first?.value == other.first?.value }
        return Set(one.map(\.value)) == Set(other.map(\.value))
    }

    // MARK: - The name that servers know

    private enum Kind { case name, wildcard, any }

    private static func kind(_ pattern: String) -> Kind {
        pattern == "*" ? .any : pattern.hasPrefix("*.") ? .wildcard : .name
    }

    /// The name that servers know a site by that ends TLS here; nil: the one that was asked for.
    func internalHost(_ section: Section) -> String? {
        let written = section.text("internal")
        guard let first = names.first else { return nil }
        if differ {
            let kind = Self.kind(first.value)
            for name in names where Self.kind(name.value) != kind {
                let others = kind == .name ? "names" : "wildcards"
                section.error(
                    name.location,
                    "\(section.title).hosts: '\(name.value)' does not go with \(others) in other "
                        + "views", hint: "a wildcard stands for a wildcard, label by label")
                return nil
            }
        }
        guard let written else {
            return differ && !section.has("internal") ? first.value : nil
        }
        let kind = Self.kind(written.value)
        if kind == .any {
            section.error(
                written.location, "\(section.title).internal is no name",
                hint: "left out, the servers see the host that the client asked for")
        } else if let other = names.first(where: { Self.kind($0.value) != kind }) {
            section.error(
                written.location,
                "\(section.title).internal: '\(written.value)' does not go with "
                    + "'\(other.value)'", hint: "a wildcard stands for a wildcard, label by label")
        }
        return written.value
    }
}
