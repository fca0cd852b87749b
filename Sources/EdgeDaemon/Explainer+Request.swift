internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeTLS
internal import EdgeUpstream

/// The handshake, and the request on the connection.
extension Explainer {
    // MARK: - Handshake

    /// - Returns: whether requests are read on the connection.
    func explainHandshake(
        _ name: String, _ view: ClientView, _ answer: inout Explanation
    ) -> Bool {
        var number = view.profile
        var knowledge = NameKnowledge.known
        if view.looksAtHellos {
            switch answer.trace?.connection {
            case .passthrough(let pool, let site)?:
                answer.step("site", siteText(site, under: name, view))
                passOn(pool, "passed through as they are", &answer)
                return false
            case .refuse?, nil: knowledge = .refused
            case .terminate(_, let policy)?: number = policy
            case .terminateUnknown(_, let policy)?:
                number = policy
                knowledge = .unknown
            }
        }
        guard number >= 0, Int(number) < routing.profiles.count,
            let profile = routing.profiles[Int(number)]
        else {
            answer.end(.closed, "the view's TLS cannot be served: closed")
            return false
        }
        let selection = CertificateSelection(store: snapshot.certificates, profile: profile)
        answer.certificates = selection.shown(name, knowledge, at: now)
        let asked = name.isEmpty ? "no server name" : "server name \(name)"
        guard !answer.certificates.isEmpty else {
            answer.step("certificate", "none for \(asked)")
            answer.end(.alert, "the handshake ends in the alert unrecognized_name")
            return false
        }
        let files = answer.certificates.map { entry in
            "\(entry.file) (\(entry.key.rawValue): \(entry.names.joined(separator: ", ")))"
        }
        answer.step("certificate", "\(files.joined(separator: " or ")) for \(asked)")
        explainPolicy(profile, &answer)
        let speaksHTTP2 = snapshot.tls.offersHTTP2 && answer.question.protocols.contains("h2")
        let speaksHTTP1 = answer.question.protocols.contains("http/1.1")
        guard speaksHTTP2 || speaksHTTP1 || answer.question.protocols.isEmpty else {
            answer.end(.alert, "the handshake ends in the alert no_application_protocol")
            return false
        }
        answer.step("protocol", speaksHTTP2 ? "HTTP/2" : "HTTP/1.1")
        return true
    }

    private func explainPolicy(_ profile: ServerProfile, _ answer: inout Explanation) {
        let isTLS13 = profile.requiresTLS13 || snapshot.tls.minimum == .tls13
        var text = "TLS \(isTLS13 ? "1.3" : "1.2") or later"
        if let clients = profile.clients {
            text +=
                clients.isRequired
                ? ", a client certificate is needed" : ", a client certificate is asked for"
        }
        answer.step("policy", text)
    }

    // MARK: - Request

    func explainRequest(
        _ request: ExplainedRequest, _ view: ClientView, _ answer: inout Explanation
    ) {
        let listener = snapshot.listeners[answer.listener]
        if let port = listener.redirectPort {
            if let pool = listener.challengePool,
                RuntimeSnapshot.Listener.isChallenge(request.target.span)
            {
                answer.step("path", "a challenge of ACME's")
                forward(request, Route(pool: pool), nil, &answer)
                return
            }
            let location = request.read { head, bytes in
                RuntimeSnapshot.Listener.secureLocation(of: head, bytes, port: port)
            }
            redirect(308, location ?? [], &answer)
            return
        }
        let route = answer.trace?.route
        if let route { answer.step("site", siteText(route.site, under: request.host, view)) }
        guard mayServe(request.host, route, view, &answer) else { return }
        guard let route else {
            answer.refuse(404, "no site has the host \(request.host) in this view")
            return
        }
        guard !route.isPassthrough else {
            answer.refuse(404, "connections for this site are passed through, with TLS only")
            return
        }
        explainPath(request, route, view, &answer)
        guard !route.isAmbiguous else {
            answer.refuse(400, "upstreams may read the path otherwise")
            return
        }
        let rules = rules(route.policy)
        if let rules, !explainLimits(rules, &answer) { return }
        if let rules, !permits(request, route, rules, &answer) { return }
        guard route.pool >= 0 else {
            answer.refuse(404, "the site has no upstream, and no rule answers")
            return
        }
        forward(request, route, rules, &answer)
    }

    private func rules(_ number: Int32) -> RequestRules? {
        number >= 0 && Int(number) < routing.rules.count ? routing.rules[Int(number)] : nil
    }

    /// Whether a connection with this name and certificate is for the host.
    private func mayServe(
        _ host: String, _ route: Route?, _ view: ClientView, _ answer: inout Explanation
    ) -> Bool {
        guard let name = answer.serverName else { return true }
        let isNamed = Router.areSameHost(Array(host.utf8).span, Array(name.utf8).span)
        let isCovered = answer.certificates.contains { $0.covers(host) }
        guard route != nil else {
            if !view.refusesUnknown, isNamed || isCovered { return true }
            answer.refuse(421, "the connection is not for the host \(host)")
            return false
        }
        switch answer.trace?.coverage {
        case .misdirected?:
            answer.refuse(421, "the site asks for another policy than the connection's")
            return false
        case .askCertificate? where !isCovered:
            answer.refuse(421, "the certificate is not for \(host)")
            return false
        case .askCertificate?, .serve?, nil: return true
        }
    }

    private func explainPath(
        _ request: ExplainedRequest, _ route: Route, _ view: ClientView,
        _ answer: inout Explanation
    ) {
        let prefix = routing.router.prefix(
            view: view.index, host: Array(request.host.utf8).span,
            path: Array(request.path.utf8).span)
        var text =
            prefix.map { "\(request.path) is below \($0)" } ?? "\(request.path): the site's own"
        switch route.reading {
        case .literal: break
        case .normalised: text += ", as upstreams read it"
        case .ambiguous: text += ", but upstreams may read it otherwise"
        }
        answer.step("path", text)
    }

    /// Access, maintenance, redirects: in the order of the data path.
    private func permits(
        _ request: ExplainedRequest, _ route: Route, _ rules: RequestRules,
        _ answer: inout Explanation
    ) -> Bool {
        let client = answer.place.client.addressText
        switch answer.trace?.access {
        case .forbidden?:
            answer.step("access", "\(client) is kept out")
            answer.refuse(403, "\(client) is not let in")
            return false
        case .methodNotAllowed?:
            let allowed = routing.access.allowText(policy: route.policy)
            answer.step("access", "only \(allowed)")
            answer.refuse(405, "\(answer.question.method) is not allowed, only \(allowed)")
            return false
        case .allow?, nil: answer.step("access", "\(client) may \(answer.question.method)")
        }
        if rules.isUnderMaintenance {
            answer.refuse(503, "under maintenance")
            return false
        }
        if let template = rules.redirect {
            let location = request.read { head, bytes in
                let values = HTTP1Writer.values(
                    template.location.variables, head, bytes, context(answer))
                return template.location.bytes(values, bytes)
            }
            redirect(Int64(template.status), location ?? [], &answer)
            return false
        }
        if let replaced = rules.head, !replaced.replacement.isEmpty, !route.isLiteral {
            answer.refuse(400, "the prefix to be replaced is not written as it stands")
            return false
        }
        return true
    }

    private func redirect(_ status: Int64, _ location: [UInt8], _ answer: inout Explanation) {
        let text = String(decoding: location, as: UTF8.self)
        answer.end(.redirected, "\(status) to \(text)")
        answer.reply.status = status
        answer.reply.location = text
    }

    // MARK: - Upstream

    private func context(_ answer: Explanation) -> ForwardingContext {
        let client = answer.place.client
        var context = ForwardingContext(
            client: client, scheme: answer.serverName == nil ? .http : .https,
            requestID: (0, 0), framing: .none)
        context.port = snapshot.listeners[answer.listener].port
        context.isClientTrusted = snapshot.client.trusted.contains(client)
        context.sendsForwarded = snapshot.client.sendsForwarded
        context.passesUnderscores = snapshot.client.passesUnderscores
        return context
    }

    private func forward(
        _ request: ExplainedRequest, _ route: Route, _ rules: RequestRules?,
        _ answer: inout Explanation
    ) {
        guard let pool = pool(route.pool) else {
            answer.refuse(503, "there is no such pool")
            return
        }
        let context = context(answer)
        var adding: [UInt8] = []
        if let field = rules?.subjectField, !field.isEmpty, answer.serverName != nil {
            adding = field + Array(": (subject of the client's certificate)\r\n".utf8)
        }
        let lines = request.written(context, rules?.head, adding: adding)
        answer.reply.target = lines.first.flatMap { line in
            let words = line.split(separator: " ")
            return words.count > 1 ? String(words[1]) : nil
        }
        let host = lines.dropFirst().first.map { String($0.dropFirst("Host: ".count)) }
        answer.reply.host = host
        answer.reply.head = lines.filter { !$0.hasPrefix("X-Request-ID: ") }
        if let head = rules?.head, let host {
            for line in request.answer(context, head, from: host) {
                answer.step("answer", "\(line)")
            }
        }
        reach(pool, &answer)
        guard answer.reply.outcome != .refused else { return }
        answer.end(.forwarded, "sent to upstream \(pool.upstream) as \(host ?? "")")
    }

    /// Bytes of a connection.
    func passOn(_ number: Int32, _ how: String, _ answer: inout Explanation) {
        guard let pool = pool(number) else {
            answer.end(.closed, "there is no such pool: closed")
            return
        }
        reach(pool, &answer)
        guard answer.reply.outcome != .refused else {
            answer.end(.closed, "no server of \(pool.upstream) may be asked: closed")
            answer.reply.status = nil
            return
        }
        answer.end(.passthrough, "bytes are \(how), to upstream \(pool.upstream)")
    }

    private func pool(_ number: Int32) -> RuntimeSnapshot.Pool? {
        snapshot.pools.first { $0.id == number }
    }

    private func reach(_ pool: RuntimeSnapshot.Pool, _ answer: inout Explanation) {
        answer.reply.upstream = pool.upstream
        var text = "\(pool.upstream), \(pool.version)"
        if let tls = pool.tls {
            let name = tls.name.map { name in
                String(
                    decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            }
            text += name.map { " over TLS for \($0)" } ?? " over TLS"
            if tls.identity != nil { text += ", with a certificate" }
        } else {
            text += " without TLS"
        }
        if pool.sendsProxyHeader { text += ", behind a PROXY header" }
        answer.step("upstream", text)
        let servers = configuration.upstreams.first { $0.name == pool.upstream }?.servers ?? []
        guard let members else {
            answer.reply.members = servers.map {
                ExplainMember(address: $0.explained, state: "configured")
            }
            return
        }
        let found = members(pool.upstream)
        answer.reply.members = found.members
        if found.isDown { answer.refuse(503, "no server of \(pool.upstream) may be asked") }
    }

    private func siteText(_ site: Int32, under name: String, _ view: ClientView) -> String {
        guard site >= 0, Int(site) < configuration.sites.count else { return "none" }
        let hosts = configuration.sites[Int(site)].hosts.filter { $0.view == view.index }
        let patterns = hosts.map(\.pattern).joined(separator: ", ")
        let pattern = routing.router.pattern(view: view.index, host: Array(name.utf8).span)
        let why =
            pattern.map { $0.isFallback ? ", for unknown names" : ", by \($0.text)" } ?? ""
        return "sites[\(site)] (\(patterns))\(why)"
    }
}

extension UpstreamConfiguration.Server {
    /// As it is written.
    fileprivate var explained: String {
        switch host {
        case .address(let address): "\(address)"
        case .name(let name): "\(name):\(port)"
        case .service(let name): name
        }
    }
}
