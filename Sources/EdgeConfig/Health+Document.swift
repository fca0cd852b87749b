import EdgeUpstream

/// `upstreams.*.health` on its way to a policy: what is asked follows from `type`, `preset` or
/// else from the keys that are there; keys that have no effect on it are errors.
struct HealthDraft {
    private enum TypeWord: String { case tcp, tls, http, h2, grpc }

    private enum PresetWord: String {
        case kubeAPIServer = "kube-apiserver"
        case activeMember = "active-member"
    }

    private enum Question { case tcp, tls, http, http2, grpc, kubeAPIServer, activeMember }

    private enum MethodWord: String { case GET, HEAD, OPTIONS, POST }

    private static let requestKeys = [
        "method", "path", "host", "headers", "status", "body", "token_file",
    ]
    private static let tlsKeys = ["ca", "name", "verify", "certificate", "key"]
    private static let headersMax = 32

    let section: Section
    /// What traffic does; nil: plaintext.
    let traffic: UpstreamConfiguration.TLS?
    let version: UpstreamProtocol

    /// - Parameter owner: the upstream's section.
    /// - Returns: nil: `off`.
    static func policy(
        _ owner: Section, traffic: UpstreamConfiguration.TLS?, version: UpstreamProtocol
    ) -> HealthPolicy? {
        guard let section = owner.sectionUnlessOff("health") else { return nil }
        return HealthDraft(section: section, traffic: traffic, version: version).policy()
    }

    private func policy() -> HealthPolicy {
        let (question, words) = self.question()
        let token = section.path("token_file")
        let request = self.request(token: token)
        let service = section.text("service")
        let tls = self.tls(question)
        checkKeys(question, words)
        checkToken(token, isEncrypted: tls != nil || traffic != nil)
        let kind: HealthPolicy.Kind =
            switch question {
            case .tcp: .tcp
            case .tls: .tls
            case .http: .http(request)
            case .http2: .http2(request)
            case .grpc: .grpc(service: service?.value ?? "")
            case .kubeAPIServer: .kubeAPIServer
            case .activeMember: .activeMember(request)
            }
        let interval = section.duration("interval")
        let fastInterval = section.duration("fast_interval")
        if fastInterval > interval, section.has("fast_interval") {
            section.error(
                section.location(of: "fast_interval"),
                "\(section.title).fast_interval is more than interval",
                hint: "at most \(Quantity.text(interval))")
        }
        var policy = HealthPolicy(
            kind: kind, tls: tls, port: section.integer("port").flatMap(UInt16.init(exactly:)),
            interval: interval, fastInterval: min(fastInterval, interval),
            timeout: section.duration("timeout"), rise: section.integer("rise") ?? 1,
            fall: section.integer("fall") ?? 1)
        if question == .kubeAPIServer { policy.tokenFile = token?.value }
        return policy
    }

    // MARK: - What is asked

    /// And what makes it so, for messages.
    private func question() -> (Question, words: String) {
        let preset = section.choice("preset", as: PresetWord.self)
        let type = section.choice("type", as: TypeWord.self)
        if section.has("preset"), section.has("type") {
            section.error(
                section.location(of: "type"), "\(section.title) has 'type' and 'preset'",
                hint: "the preset says what is asked")
        }
        if let preset {
            let words = "'preset: \(preset.rawValue)'"
            return (preset == .kubeAPIServer ? .kubeAPIServer : .activeMember, words)
        }
        if let type {
            let words = "'type: \(type.rawValue)'"
            switch type {
            case .tcp: return (.tcp, words)
            case .tls: return (.tls, words)
            case .http: return (.http, words)
            case .h2: return (.http2, words)
            case .grpc: return (.grpc, words)
            }
        }
        if section.has("service") { return (.grpc, "'service', which is gRPC's") }
        if Self.requestKeys.contains(where: section.has) {
            return version == .http2 ? (.http2, "a request") : (.http, "a request")
        }
        if Self.tlsKeys.contains(where: section.has) || traffic != nil {
            return (.tls, "a TLS handshake")
        }
        return (.tcp, "a TCP connection")
    }

    private func checkKeys(_ question: Question, _ words: String) {
        let allowed: [String]
        switch question {
        case .tcp: allowed = []
        case .tls: allowed = Self.tlsKeys
        case .http, .http2: allowed = Self.requestKeys + Self.tlsKeys
        case .grpc: allowed = ["service"] + Self.tlsKeys
        case .kubeAPIServer: allowed = ["token_file"] + Self.tlsKeys
        case .activeMember:
            allowed = ["method", "path", "host", "headers", "token_file"] + Self.tlsKeys
        }
        let keys = Self.requestKeys + ["service"] + Self.tlsKeys
        for name in keys where section.has(name) && !allowed.contains(name) {
            section.error(
                section.location(of: name), "\(section.title).\(name) has no effect with \(words)",
                hint: allowed.isEmpty ? "remove it" : "with it: \(allowed.joined(separator: ", "))")
        }
    }

    // MARK: - The request

    private func request(token: Located<String>?) -> HealthPolicy.Request {
        let method = section.choice("method", as: MethodWord.self) ?? .GET
        let path = section.text("path")
        let host = section.text("host")
        let headers = section.texts("headers", as: .field, parse: TextValue.field)
        let statuses = section.statuses("status")
        let body = section.text("body")
        if headers.count > Self.headersMax {
            section.error(
                headers[Self.headersMax].location,
                "\(section.title).headers has more than \(Self.headersMax) fields")
        }
        if method == .HEAD, let body {
            section.error(
                body.location, "\(section.title).body has no effect with 'method: HEAD'",
                hint: "answers to HEAD have no content")
        }
        let own = headers.first { $0.value.name.lowercased() == "authorization" }
        if let own, token != nil {
            section.error(
                own.location, "\(section.title) has a token_file and a field 'Authorization'",
                hint: "remove one of them")
        }
        return HealthPolicy.Request(
            method: method.rawValue, path: path?.value ?? "/", host: host?.value,
            headers: headers.prefix(Self.headersMax).map(\.value),
            statuses: statuses.isEmpty ? [200...399] : statuses, bodyContains: body?.value,
            tokenFile: token?.value)
    }

    private func checkToken(_ token: Located<String>?, isEncrypted: Bool) {
        guard let token, !isEncrypted else { return }
        section.warning(
            token.location, "\(section.title): the token is sent in plaintext",
            hint: "'ca' makes the check speak TLS")
    }

    // MARK: - TLS

    /// Nil: as traffic does.
    private func tls(_ question: Question) -> UpstreamConfiguration.TLS? {
        // Read in any case, so that mistakes in it are found.
        let own = UpstreamConfiguration.tls(section)
        let isWritten = Self.tlsKeys.contains(where: section.has)
        guard let traffic else {
            switch question {
            case .tcp: return nil
            case .tls, .kubeAPIServer: return own
            case .http, .http2, .grpc, .activeMember: return isWritten ? own : nil
            }
        }
        guard isWritten, let own else { return nil }
        // Authorities are named to be checked against.
        let verify =
            section.has("verify") || section.has("ca") ? own.verify : traffic.verify
        let inherited = verify == .full ? traffic.authorityFile : nil
        let isOwn = section.has("ca")
        return UpstreamConfiguration.TLS(
            authorityFile: isOwn ? own.authorityFile : inherited,
            name: section.has("name") ? own.name : traffic.name, verify: verify,
            identity: section.has("certificate") ? own.identity : traffic.identity,
            revocationFile: isOwn || inherited == nil ? nil : traffic.revocationFile)
    }
}
