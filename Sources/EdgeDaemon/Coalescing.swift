internal import EdgeConfig
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeTLS

/// Where clients of HTTP/2 may take a connection that ends here for one to a server behind us (RFC
/// 9113 §9.1.1): the certificate that they were shown stands for a name that is passed through, in
/// the same view. They get 421 and have to come again.
struct Coalescing {
    /// A sentence each, in the order of views and sites.
    private(set) var findings: [String] = []

    /// - Parameter seconds: since 1970: which certificates are shown.
    init(_ preparation: Preparation, _ routing: Routing, at seconds: Int64) {
        let configuration = preparation.configuration
        for (index, view) in configuration.views.enumerated() {
            let number = Int(routing.viewNumbers[index])
            guard let known = routing.views[number],
                let profile = Self.profile(known.profile, routing)
            else { continue }
            let passed = configuration.sites.filter(\.isMultiplexedPassthrough).flatMap(\.hosts)
                .filter { $0.view == index }
            guard !passed.isEmpty else { continue }
            let all = CertificateSelection(store: preparation.certificates, profile: profile)
            var shown: [ObjectIdentifier: String] = [:]
            for entry in all.shown("", .known, at: seconds) {
                shown[ObjectIdentifier(entry)] = "clients without a known name"
            }
            for host in configuration.sites.flatMap(\.hosts) where host.view == index {
                let name = Self.sample(host.pattern)
                let route = routing.router.connection(
                    view: index, serverName: Array(name.utf8).span, offers: { _ in false })
                guard case .terminate(_, let policy) = route,
                    let profile = Self.profile(policy, routing)
                else { continue }
                let own = CertificateSelection(store: preparation.certificates, profile: profile)
                for entry in own.shown(name, .known, at: seconds) {
                    let key = ObjectIdentifier(entry)
                    shown[key] = shown[key] ?? "clients of '\(host.pattern)'"
                }
            }
            let place = view.name.isEmpty ? "" : "view '\(view.name)': "
            for host in passed {
                for entry in all.covering(Self.sample(host.pattern)) {
                    guard let clients = shown[ObjectIdentifier(entry)] else { continue }
                    findings.append(
                        "\(place)\(entry.file), which \(clients) are shown, is for "
                            + "'\(host.pattern)' too, whose connections are passed through: "
                            + "browsers may ask for it on the wrong connection, and get 421 "
                            + "(a certificate without that name avoids it)")
                }
            }
        }
    }

    private static func profile(_ number: Int32, _ routing: Routing) -> ServerProfile? {
        number >= 0 && Int(number) < routing.profiles.count ? routing.profiles[Int(number)] : nil
    }

    /// A name that a pattern stands for.
    private static func sample(_ pattern: String) -> String {
        pattern.hasPrefix("*") ? "any" + pattern.dropFirst() : pattern
    }
}

extension SiteConfiguration {
    /// Its connections may carry requests for several names.
    fileprivate var isMultiplexedPassthrough: Bool {
        isPassthrough && (protocols.isEmpty || protocols.contains("h2"))
    }
}
