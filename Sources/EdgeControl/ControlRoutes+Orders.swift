internal import EdgeControlAPI
internal import EdgeCore

/// What is ordered about the node as a whole. Each order is logged with who gave it, and what has
/// become of it.
extension ControlRoute {
    /// For how long a reload may wait to be confirmed, in milliseconds.
    static let confirmSpans: ClosedRange<Int64> = 1000...3_600_000

    func order(
        _ query: String, by peer: PeerCredentials, target: any ControlTarget,
        reply: @escaping (ControlResponse) -> Void
    ) {
        switch self {
        case .reload: reload(query, by: peer, target: target, reply: reply)
        case .confirm:
            Log.notice("audit: confirm by \(peer)")
            target.confirm(by: peer) { result in
                Self.answer(result, "confirm by \(peer)", reply) { confirmed in
                    ("epoch \(confirmed.epoch)", .json(200, confirmed.json))
                }
            }
        case .upgrade:
            Log.notice("audit: upgrade by \(peer)")
            target.upgrade(by: peer) { result in
                Self.answer(result, "upgrade by \(peer)", reply) { upgraded in
                    let status = upgraded.outcome == .upgraded ? 200 : 422
                    return (upgraded.outcome.rawValue, .json(status, upgraded.json))
                }
            }
        case .drain: node(.drain, by: peer, target: target, reply: reply)
        case .undrain: node(.undrain, by: peer, target: target, reply: reply)
        case .yieldVIP: yieldVIP(query, by: peer, target: target, reply: reply)
        case .ban, .unban, .reset: reply(orderLimits(query, by: peer, target: target))
        case .status, .upstreams, .member, .dns, .explain, .configuration, .certificates, .metrics,
            .livez, .readyz, .figures, .incidents, .doctor, .vip, .limits, .limitTop,
            .limitClient:
            reply(.error(405, "this is asked for with GET"))
        }
    }

    /// `POST /reload`, `?plan=yes`, `?confirm=MILLISECONDS` or `?pair=yes`.
    private func reload(
        _ query: String, by peer: PeerCredentials, target: any ControlTarget,
        reply: @escaping (ControlResponse) -> Void
    ) {
        // A misspelt plan must not become a reload.
        let names = query.split(separator: "&").map { $0.prefix { $0 != "=" } }
        guard names.allSatisfy({ ["plan", "confirm", "pair"].contains($0) }) else {
            return reply(
                .error(400, "/reload takes plan=yes, confirm=MILLISECONDS or pair=yes"))
        }
        if let pair = PercentText.parameter("pair", in: query) {
            guard pair == "yes", names.count == 1 else {
                return reply(.error(400, "only /reload?pair=yes is known, with nothing else"))
            }
            return reloadPair(by: peer, target: target, reply: reply)
        }
        let plan = PercentText.parameter("plan", in: query)
        let confirm = PercentText.parameter("confirm", in: query)
        if let plan {
            guard plan == "yes", confirm == nil else {
                return reply(.error(400, "only /reload?plan=yes is known, without confirm"))
            }
            return target.plan { result in
                switch result {
                case .success(let plan):
                    reply(.json(plan.outcome == .refused ? 422 : 200, plan.json))
                case .failure(let refusal): reply(Self.response(refusal))
                }
            }
        }
        var options = ReloadOptions()
        if let confirm {
            guard let span = Int64(confirm), Self.confirmSpans.contains(span) else {
                let (least, most) = (Self.confirmSpans.lowerBound, Self.confirmSpans.upperBound)
                return reply(.error(400, "confirm takes \(least) to \(most) milliseconds"))
            }
            options.confirmWithin = .milliseconds(span)
        }
        let words = confirm.map { " with confirm in \($0) ms" } ?? ""
        Log.notice("audit: reload\(words) by \(peer)")
        target.reload(by: peer, options: options) { result in
            Log.notice("audit: reload\(words) by \(peer): \(result.outcome.rawValue)")
            reply(.json(result.outcome == .refused ? 422 : 200, result.json))
        }
    }

    private func reloadPair(
        by peer: PeerCredentials, target: any ControlTarget,
        reply: @escaping (ControlResponse) -> Void
    ) {
        Log.notice("audit: reload of both nodes by \(peer)")
        target.reloadPair(by: peer) { result in
            Self.answer(result, "reload of both nodes by \(peer)", reply) { done in
                (
                    done.outcome.rawValue,
                    .json(done.outcome == .refused ? 422 : 200, done.json)
                )
            }
        }
    }

    private func node(
        _ order: NodeOrder, by peer: PeerCredentials, target: any ControlTarget,
        reply: @escaping (ControlResponse) -> Void
    ) {
        let words = "node \(order.rawValue) by \(peer)"
        Log.notice("audit: \(words)")
        target.setNode(order) { result in
            Self.answer(result, words, reply) { node in
                let state = node.drainedSince == nil ? "not drained" : "drained"
                return ("\(state), \(node.connections) connections", .json(200, node.json))
            }
        }
    }

    /// `POST /vip/yield`, or `?force=yes`.
    private func yieldVIP(
        _ query: String, by peer: PeerCredentials, target: any ControlTarget,
        reply: @escaping (ControlResponse) -> Void
    ) {
        let force = PercentText.parameter("force", in: query)
        guard query.isEmpty || query == "force=yes", force == nil || force == "yes" else {
            return reply(.error(400, "/vip/yield takes force=yes, and nothing else"))
        }
        let words = "vip yield\(force == nil ? "" : " with force") by \(peer)"
        Log.notice("audit: \(words)")
        target.yieldVIP(isForced: force != nil) { result in
            Self.answer(result, words, reply) { yielded in
                (
                    yielded.isMoved ? "moved" : yielded.lines.joined(separator: "; "),
                    .json(yielded.isMoved ? 200 : 409, yielded.json)
                )
            }
        }
    }

    private static func answer<Reply>(
        _ result: Result<Reply, OrderRefusal>, _ words: String,
        _ reply: (ControlResponse) -> Void, _ done: (Reply) -> (String, ControlResponse)
    ) {
        switch result {
        case .success(let value):
            let (outcome, response) = done(value)
            Log.notice("audit: \(words): \(outcome)")
            reply(response)
        case .failure(let refusal):
            Log.notice("audit: \(words): \(refusal.reason)")
            reply(response(refusal))
        }
    }

    private static func response(_ refusal: OrderRefusal) -> ControlResponse {
        .error(refusal.isUnavailable ? 503 : 409, refusal.reason)
    }
}
