import EdgeCore
import EdgeRouting

/// A view with what the checks between sections need to know about where it was written.
struct ViewDraft {
    let section: Section
    let name: Located<String>
    var configuration: ViewConfiguration
    let unknown: Located<ViewConfiguration.Unknown>?
    let resolver: Located<String>?
}

/// All views, for those who name them. Without `views:` there is one, and it has no name.
struct ViewList {
    let drafts: [ViewDraft]
    /// What is not defined may have been meant to be.
    let isReadable: Bool
    private let indexes: [String: Int]

    init(_ main: Section) {
        let errorCount = main.pass.diagnostics.errorCount
        drafts = ViewConfiguration.decode(main)
        isReadable = !drafts.isEmpty || main.pass.diagnostics.errorCount == errorCount
        indexes = Dictionary(
            drafts.enumerated().map { ($1.name.value, $0) }, uniquingKeysWith: { first, _ in first }
        )
    }

    var isEmpty: Bool { drafts.isEmpty }

    var count: Int { max(1, drafts.count) }

    var configurations: [ViewConfiguration] {
        drafts.isEmpty ? [.only] : drafts.map(\.configuration)
    }

    /// Where `name` is in the list; nil, after a report, if it is not.
    ///
    /// - Parameter key: of `section`, for the message.
    func index(of name: Located<String>, key: String, in section: Section) -> Int? {
        if let index = indexes[name.value] { return index }
        guard isReadable else { return nil }
        section.error(
            name.location, "\(section.title).\(key): undefined view \(quoted(name.value))",
            hint: Suggestion.defined(for: name.value, among: drafts.map(\.name.value), kind: "view")
        )
        return nil
    }

    /// ` in view 'lan'`; empty if there are no views.
    func place(_ index: Int) -> String {
        drafts.isEmpty ? "" : " in view '\(drafts[index].name.value)'"
    }
}

extension ViewConfiguration {
    private enum ProxyWord: String { case off, required }
    private enum PriorityWord: String { case high, low }

    private static let countMax = 16
    private static let interfacesMax = 16
    private static let sourcesMax = 256
    private static let addressesMax = 16

    /// Every view, in the order written.
    static func decode(_ main: Section) -> [ViewDraft] {
        let named = main.namedSections("views")
        if main.has("views"), named.isEmpty, !main.pass.diagnostics.hasErrors {
            main.error(
                main.location(of: "views"), "there is no view",
                hint: "name at least one, or remove 'views'")
        }
        if named.count > countMax {
            let first = named[countMax]
            main.error(first.name.location, "more than \(countMax) views")
        }
        return named.map { name, section in decode(section, name) }
    }

    private static func decode(_ section: Section, _ name: Located<String>) -> ViewDraft {
        var view = ViewConfiguration(name: name.value)
        view.interfaces = interfaces(section)
        view.sources = blocks("sources", in: section, countMax: sourcesMax)
        view.addresses = addresses(section.section("addresses"))
        view.trustedProxies = blocks("trusted_proxies", in: section, countMax: CIDRList.countMax)
        view.requiresProxyHeader =
            section.choice("proxy_protocol", as: ProxyWord.self) == .required
        checkProxies(of: view, in: section)
        let unknown = section.text("unknown", as: .unknown, parse: TextValue.unknown)
        if let unknown { view.unknown = unknown.value }
        let lowest = section.section("tls")?.choice(
            "min_version", as: Configuration.TLS.Version.self)
        view.requiresTLS13 = lowest == .tls13
        view.clientCertificates = .decode(section.section("client_certificates"))
        view.rules = .decode(section)
        let priority = section.choice("priority", as: PriorityWord.self)
        view.isLow =
            priority.map { $0 == .low }
            ?? (view.requiresProxyHeader || !view.rules.rateLimits.isEmpty)
        let resolver = section.text("resolver")
        view.resolver = resolver?.value
        return ViewDraft(
            section: section, name: name, configuration: view, unknown: unknown,
            resolver: resolver)
    }

    private static func interfaces(_ section: Section) -> [String] {
        let names = section.texts("interfaces")
        var places: [String: Location] = [:]
        for name in names {
            if let first = places[name.value] {
                section.error(
                    name.location, "\(section.title).interfaces has '\(name.value)' twice",
                    hint: "first at \(first)")
            }
            places[name.value] = name.location
        }
        if names.count > interfacesMax {
            section.error(
                names[interfacesMax].location,
                "\(section.title) has more than \(interfacesMax) interfaces")
        }
        return names.map(\.value)
    }

    private static func blocks(
        _ key: String, in section: Section, countMax: Int
    ) -> [CIDR] {
        let blocks = section.texts(key, as: .block, parse: TextValue.block)
        if blocks.count > countMax {
            section.error(
                blocks[countMax].location,
                "\(section.title).\(key) has more than \(countMax) blocks")
        }
        return blocks.prefix(countMax).map(\.value)
    }

    private static func addresses(_ section: Section?) -> [SocketAddress] {
        guard let section else { return [] }
        let all = ["a", "aaaa"].map { key in
            let addresses = section.texts(key, as: .address, parse: TextValue.address)
            let family = key == "a" ? "IPv4" : "IPv6"
            for address in addresses where address.value.isIPv4 != (key == "a") {
                section.error(
                    address.location,
                    "\(section.title).\(key): \(address.value.addressText) is not an \(family) "
                        + "address", hint: "it belongs to '\(key == "a" ? "aaaa" : "a")'")
            }
            if addresses.count > addressesMax {
                section.error(
                    addresses[addressesMax].location,
                    "\(section.title).\(key) has more than \(addressesMax) addresses")
            }
            return addresses.map(\.value)
        }
        return all.flatMap { $0 }
    }

    private static func checkProxies(of view: ViewConfiguration, in section: Section) {
        guard view.requiresProxyHeader else {
            if section.has("trusted_proxies") {
                section.error(
                    section.location(of: "trusted_proxies"),
                    "\(section.title).trusted_proxies has no effect without "
                        + "'proxy_protocol: required'",
                    hint: "no header is read, and so nobody is believed")
            }
            return
        }
        guard section.has("trusted_proxies") else {
            section.error(
                section.location(of: "proxy_protocol"),
                "\(section.title).proxy_protocol trusts nobody: every connection would be closed",
                hint: "set 'trusted_proxies' to the proxies' addresses")
            return
        }
        let arrives = view.trustedProxies.contains { proxy in
            view.sources.isEmpty || view.sources.contains { $0.overlaps(proxy) }
        }
        if !arrives, !view.trustedProxies.isEmpty {
            section.error(
                section.location(of: "trusted_proxies"),
                "\(section.title).trusted_proxies: none of them is in 'sources'",
                hint: "connections come from the proxies: 'sources' are their addresses")
        }
    }
}

extension CIDR {
    /// Every address of `other` is in this block.
    func covers(_ other: CIDR) -> Bool { bits <= other.bits && contains(other.base) }

    func overlaps(_ other: CIDR) -> Bool { covers(other) || other.covers(self) }
}

extension ClientCertificateConfiguration {
    private enum Answer: String { case yes, no }

    static func decode(_ section: Section?) -> Self? {
        guard let section else { return nil }
        let authorities = section.path("ca")
        let revocations = section.path("crl")
        let field = section.text("field")
        let isRequired = section.choice("required", as: Answer.self) != .no
        if !isRequired, !section.has("field") {
            section.error(
                section.location(of: "required"),
                "\(section.title): certificates are asked for, and nobody looks at them",
                hint: "name a 'field' that tells the upstream, or require them")
        }
        // Without a file an error has been reported, and the value is never used.
        return Self(
            authorities: authorities?.value ?? "", revocations: revocations?.value,
            isRequired: isRequired, field: field?.value)
    }
}
