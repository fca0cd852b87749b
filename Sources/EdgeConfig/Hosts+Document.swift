import EdgeRouting

/// Who serves which host in which view, while sites are read. Cost: one look-up per view and host.
struct HostTable {
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

    /// - Returns: the host's first place and the view, if it is served there already.
    private mutating func insert(
        _ host: Located<String>, view: Int, _ service: Service
    ) -> Location? {
        if let first = served[view][host.value] { return first.location }
        served[view][host.value] = Entry(location: host.location, service: service)
        return nil
    }

    /// Reports a host that another site has in one of the views, or this one already.
    ///
    /// - Parameter protocols: of a site that passes through only these; empty: it takes all.
    mutating func insert(
        _ host: Located<String>, views indexes: Range<Int>, _ service: Service,
        protocols: [Located<String>], in section: Section
    ) {
        var isReported = false
        func report(_ what: String, _ first: Location) {
            guard !isReported else { return }
            isReported = true
            section.error(
                host.location, "the host '\(host.value)' is \(what)", hint: "first at \(first)")
        }
        for view in indexes {
            if protocols.isEmpty {
                guard let first = insert(host, view: view, service) else { continue }
                report("served twice\(views.place(view))", first)
                continue
            }
            for name in protocols {
                let key = "\(name.value) \(host.value)"
                guard let first = passedByProtocol[view][key] else {
                    passedByProtocol[view][key] = host.location
                    continue
                }
                report("passed through twice for '\(name.value)'\(views.place(view))", first)
            }
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
            if let first = named.first.map({ Set(result.names[$0.names].map(\.value)) }) {
                result.differ = named.dropFirst().contains {
                    Set(result.names[$0.names].map(\.value)) != first
                }
            }
        }
        return (result, named)
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
        switch Self.kind(written.value) {
        case .name: break
        case .any:
            section.error(
                written.location, "\(section.title).internal is no name",
                hint: "left out, the servers see the host that the client asked for")
        case .wildcard:
            if let plain = names.first(where: { Self.kind($0.value) != .wildcard }) {
                section.error(
                    written.location,
                    "\(section.title).internal: '\(plain.value)' has no label for "
                        + "'\(written.value)'", hint: "a wildcard stands for wildcards only")
            }
        }
        return written.value
    }
}
