internal import EdgeControlAPI
internal import EdgeCore

/// What is asked and ordered about limits and bans.
extension ControlRoute {
    /// `GET /limits/client?address=ADDRESS`.
    static func limitClient(_ query: String, _ target: any ControlTarget) -> ControlResponse {
        guard let address = PercentText.parameter("address", in: query) else {
            return .error(400, "say whom, /limits/client?address=ADDRESS")
        }
        switch target.limitClient(address) {
        case .success(let reply): return .json(200, reply.json)
        case .failure(let refusal):
            return .error(refusal.isUnavailable ? 503 : 400, refusal.reason)
        }
    }

    /// `POST /limits/ban?address=ADDRESS&seconds=N`, `/limits/unban?address=ADDRESS` or
    /// `/limits/reset?address=ADDRESS`, and `&policy=NAME`.
    func orderLimits(
        _ query: String, by peer: PeerCredentials, target: any ControlTarget
    ) -> ControlResponse {
        guard let address = PercentText.parameter("address", in: query), address.utf8.count <= 64
        else { return .error(400, "say whom: \(path)?address=ADDRESS") }
        let order: LimitOrder
        switch self {
        case .ban:
            let span = PercentText.parameter("seconds", in: query).flatMap { Int64($0) }
            guard let span, (1...LimitOrder.banMax).contains(span) else {
                return .error(400, "say for how long: seconds=1 to \(LimitOrder.banMax)")
            }
            order = .ban(client: address, seconds: span)
        case .unban: order = .unban(client: address)
        default:
            order = .reset(client: address, policy: PercentText.parameter("policy", in: query))
        }
        var words = "limits \(order.word) \(Self.printable(address))"
        if case .ban(_, let seconds) = order { words += " for \(seconds) s" }
        Log.notice("audit: \(words) by \(peer)")
        switch target.orderLimits(order) {
        case .success(let reply):
            Log.notice("audit: \(words) by \(peer): \(reply.client), \(reply.changed) changed")
            return .json(200, reply.json)
        case .failure(let refusal):
            Log.notice("audit: \(words) by \(peer): \(refusal.reason)")
            return .error(409, refusal.reason)
        }
    }

    private static func printable(_ text: String) -> String {
        String(text.filter { $0 > " " && $0 <= "~" })
    }
}
