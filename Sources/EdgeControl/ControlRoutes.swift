internal import EdgeControlAPI
internal import EdgeCore

/// What each path of the admin server does. Over TCP there is only what is safe for anybody on
/// this host to read, and for probes from elsewhere whether it serves.
enum ControlRoute: CaseIterable {
    case status, upstreams, member, dns, explain, configuration, certificates
    case metrics, livez, readyz, reload
    case confirm, upgrade, drain, undrain, figures, incidents, doctor, vip, yieldVIP
    case limits, limitTop, limitClient, ban, unban, reset

    /// From which side a connection came.
    enum Origin {
        case unixSocket(PeerCredentials)
        case tcp
        case probe
    }

    var path: String {
        switch self {
        case .status: "/status"
        case .upstreams: "/upstreams"
        case .member: MemberRoute.pattern
        case .dns: "/dns"
        case .explain: "/explain"
        case .configuration: "/config"
        case .certificates: "/certificates"
        case .metrics: "/metrics"
        case .livez: "/livez"
        case .readyz: "/readyz"
        case .reload: "/reload"
        case .confirm: "/confirm"
        case .upgrade: "/upgrade"
        case .drain: "/node/drain"
        case .undrain: "/node/undrain"
        case .figures: "/figures"
        case .incidents: "/incidents"
        case .doctor: "/doctor"
        case .vip: "/vip"
        case .yieldVIP: "/vip/yield"
        case .limits: "/limits"
        case .limitTop: "/limits/top"
        case .limitClient: "/limits/client"
        case .ban: "/limits/ban"
        case .unban: "/limits/unban"
        case .reset: "/limits/reset"
        }
    }

    var methods: [String] {
        switch self {
        case .status, .upstreams, .dns, .explain, .configuration, .certificates, .metrics, .livez,
            .readyz, .figures, .incidents, .doctor, .vip, .limits, .limitTop, .limitClient:
            ["GET", "HEAD"]
        case .member, .reload, .confirm, .upgrade, .drain, .undrain, .yieldVIP, .ban, .unban,
            .reset:
            ["POST"]
        }
    }

    func isOpen(to origin: Origin) -> Bool {
        switch (origin, self) {
        case (.unixSocket, _), (.tcp, .metrics), (_, .livez), (_, .readyz): true
        case (.tcp, _), (.probe, _): false
        }
    }

    /// Answers now or, for a reload, when it is done; `reply` is called once.
    static func answer(
        _ request: ControlRequestParser.Request, from origin: Origin, target: any ControlTarget,
        reply: @escaping (ControlResponse) -> Void
    ) {
        let member = MemberRoute(request.path)
        let fixed = allCases.first { $0 != .member && $0.path == request.path }
        guard let route = member == nil ? fixed : .member, route.isOpen(to: origin) else {
            return reply(.error(404, "no such path"))
        }
        guard route.methods.contains(request.method) else {
            let allow = route.methods.joined(separator: ", ")
            return reply(.error(405, "\(route.path) takes \(allow)", allow: allow))
        }
        switch route {
        case .status: reply(.json(200, target.status().json))
        case .upstreams:
            let status = target.status()
            reply(.json(200, UpstreamsReply(now: status.now, upstreams: status.upstreams).json))
        case .member:
            guard case .unixSocket(let peer) = origin, let member else {
                return reply(.error(403, "only over the admin socket"))
            }
            reply(member.answer(by: peer, target: target))
        case .dns: reply(dns(request.query, target))
        case .explain: reply(explain(request.query, target))
        case .configuration: reply(configuration(request.query, target))
        case .certificates: reply(.json(200, target.certificates().json))
        case .metrics:
            var text = ""
            target.metrics(into: &text)
            target.traffic { reply(.metrics(text, $0)) }
        case .livez: reply(.text(200, "ok"))
        case .readyz: reply(readiness(request.query, target))
        case .figures: reply(.json(200, target.figures().json))
        case .incidents: reply(.json(200, target.incidents().json))
        case .doctor: reply(.json(200, target.doctor().json))
        case .vip:
            guard let vip = target.vip() else {
                return reply(.error(404, "no address moves between nodes"))
            }
            reply(.json(200, vip.json))
        case .limits: reply(.json(200, target.limits().json))
        case .limitTop: reply(.json(200, target.limitTop().json))
        case .limitClient: reply(limitClient(request.query, target))
        case .reload, .confirm, .upgrade, .drain, .undrain, .yieldVIP, .ban, .unban, .reset:
            guard case .unixSocket(let peer) = origin else {
                return reply(.error(403, "only over the admin socket"))
            }
            route.order(request.query, by: peer, target: target, reply: reply)
        }
    }

    /// `GET /readyz`, or `GET /readyz?view=NAME` about one view.
    private static func readiness(
        _ query: String, _ target: any ControlTarget
    ) -> ControlResponse {
        var (isReady, why) = target.isReady()
        if isReady, !query.isEmpty {
            guard let view = PercentText.parameter("view", in: query) else {
                return .error(400, "only /readyz and /readyz?view=NAME are known")
            }
            guard let known = target.isReady(view: view) else {
                return .error(404, "there is no view '\(view)'")
            }
            (isReady, why) = known
        }
        return .text(isReady ? 200 : 503, isReady && why.isEmpty ? "ok" : why)
    }

    /// `GET /config?effective=yes`.
    private static func configuration(
        _ query: String, _ target: any ControlTarget
    ) -> ControlResponse {
        guard PercentText.parameter("effective", in: query) == "yes" else {
            return .error(400, "only /config?effective=yes is known")
        }
        guard let reply = target.effectiveConfiguration() else {
            return .error(503, "no configuration is in use yet")
        }
        return .json(200, reply.json)
    }

    /// `GET /explain?url=URL&view=NAME`, and more as `ExplainQuestion` has it.
    private static func explain(
        _ query: String, _ target: any ControlTarget
    ) -> ControlResponse {
        let question = ExplainQuestion { PercentText.parameter($0, in: query) }
        guard let question else { return .error(400, "say which URL, /explain?url=URL&view=NAME") }
        switch target.explain(question) {
        case .success(let explanation): return .json(200, explanation.json)
        case .failure(.unclear(let reason)): return .error(400, reason)
        case .failure(.unknown(let reason)): return .error(404, reason)
        case .failure(.notServing(let reason)): return .error(503, reason)
        }
    }

    /// `GET /dns?view=NAME`.
    private static func dns(_ query: String, _ target: any ControlTarget) -> ControlResponse {
        switch target.dnsRecords(view: PercentText.parameter("view", in: query)) {
        case .success(let records): .json(200, records.json)
        case .failure(.unnamed(let reason)): .error(400, reason)
        case .failure(.unknown(let reason)): .error(404, reason)
        case .failure(.withoutAddresses(let reason)): .error(409, reason)
        }
    }
}
