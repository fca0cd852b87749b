import EdgeCore
import EdgeUpstream

/// An upstream with what the checks between sections need to know about where it was written.
struct UpstreamDraft {
    let section: Section
    let name: Located<String>
    let configuration: UpstreamConfiguration

    /// Whether the name to ask for and to verify is the site's own host name.
    var followsSiteName: Bool {
        guard let tls = configuration.tls else { return false }
        return tls.name == nil && tls.verify == .full
    }
}

extension UpstreamConfiguration {
    private enum VerifyWord: String {
        case full, none
    }

    private enum ProxyWord: String {
        case off, v2
    }

    private enum AllDownWord: String {
        case open, closed
    }

    private enum ProtocolWord: String {
        case http1, h2, auto
    }

    /// Every upstream of all files, in the order written; names are unique.
    static func decode(_ roots: [Section]) -> [UpstreamDraft] {
        var places: [String: Location] = [:]
        var drafts: [UpstreamDraft] = []
        for (name, section) in roots.flatMap({ $0.namedSections("upstreams") }) {
            let configuration = decode(section, name: name.value)
            if let first = places[name.value] {
                section.error(
                    name.location, "a second upstream is called '\(name.value)'",
                    hint: "first at \(first)")
                continue
            }
            places[name.value] = name.location
            drafts.append(
                UpstreamDraft(section: section, name: name, configuration: configuration))
        }
        return drafts
    }

    private static func decode(_ section: Section, name: String) -> UpstreamConfiguration {
        let servers = Server.decode(section)
        let timeouts = section.sectionOrDefaults("timeouts")
        let limits = section.sectionOrDefaults("limits")
        let sendsProxyHeader = section.choice("proxy_protocol", as: ProxyWord.self) == .v2
        let tls = tls(section.section("tls"))
        let version = version(section, sendsProxyHeader: sendsProxyHeader)
        let response = timeouts.duration("response")
        var result = UpstreamConfiguration(
            name: name, servers: servers.map(\.value), tls: tls, version: version,
            sendsProxyHeader: sendsProxyHeader,
            memberConnectionsMax: limits.integer("connections"),
            queueMax: limits.integer("queue") ?? 0,
            queueTimeout: timeouts.duration("queue"),
            connectTimeout: timeouts.duration("connect"),
            responseTimeout: response,
            bodyTimeout: timeouts.duration("body"),
            keepAlive: timeouts.duration("keep_alive"))
        let retries = section.sectionOrDefaults("retries")
        result.balance = .decode(section)
        result.sticky = .decode(section.section("sticky"))
        result.health = HealthDraft.policy(section, traffic: tls, version: version)
        result.ejection = .decode(section)
        result.slowStart = section.duration("slow_start")
        result.failsOpen = section.choice("all_down", as: AllDownWord.self) != .closed
        result.retries = .decode(retries, response: response)
        result.requestsMax = limits.integer("requests")
        result.raceAfter = retries.duration("race")
        return result
    }

    private static func version(
        _ section: Section, sendsProxyHeader: Bool
    ) -> UpstreamProtocol {
        let word = section.choice("protocol", as: ProtocolWord.self) ?? .http1
        let version: UpstreamProtocol
        switch word {
        case .http1: return .http1
        case .h2: version = .http2
        case .auto: version = .auto
        }
        if sendsProxyHeader {
            section.error(
                section.location(of: "proxy_protocol"),
                "\(section.title).proxy_protocol does not go with 'protocol: \(word.rawValue)'",
                hint: "it makes a connection one client's, and HTTP/2 shares connections")
        }
        if word == .auto, !section.has("tls") {
            section.warning(
                section.location(of: "protocol"),
                "\(section.title).protocol: without 'tls' there is nothing to choose, so it is "
                    + "HTTP/1.1",
                hint: "'h2' if all servers speak it")
        }
        return version
    }

    /// Of `tls:`, and of `health:` where it differs from traffic: the keys are the same.
    static func tls(_ section: Section?) -> TLS? {
        guard let section else { return nil }
        let authorities = section.path("ca")
        // Checks have no key of their own for it.
        let revocations = section.has("crl") ? section.path("crl") : nil
        if let revocations, authorities == nil, !section.has("ca") {
            section.error(
                revocations.location, "\(section.title).crl needs 'ca'",
                hint: "name the authorities whose certificates may be revoked")
        }
        let name = section.text("name")
        let identity = identity(section)
        switch section.choice("verify", as: VerifyWord.self) {
        case VerifyWord.none?:
            section.warning(
                section.location(of: "verify"),
                "\(section.title): the servers' certificates are not checked",
                hint: "'verify: full' with 'ca'")
            if let authorities {
                section.error(
                    authorities.location, "\(section.title).ca has no effect with 'verify: none'",
                    hint: "remove one of them")
            }
            return TLS(
                authorityFile: nil, name: name?.value, verify: .none, identity: identity)
        case .full?, nil:
            return TLS(
                authorityFile: authorities?.value, name: name?.value, verify: .full,
                identity: identity, revocationFile: revocations?.value)
        }
    }

    private static func identity(_ section: Section) -> TLS.Identity? {
        let certificate = section.path("certificate")
        let key = section.path("key")
        if let key, certificate == nil, !section.has("certificate") {
            section.error(
                key.location, "\(section.title).key has no effect without a certificate",
                hint: "set 'certificate'")
        }
        return certificate.map {
            TLS.Identity(certificateFile: $0.value, keyFile: key?.value ?? $0.value)
        }
    }
}
