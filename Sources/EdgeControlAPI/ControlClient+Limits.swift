/// What is asked and ordered about limits and bans.
extension ControlClient {
    package func limits() throws(ControlFailure) -> LimitsReply { try ask("GET", "/limits") }

    package func limitTop() throws(ControlFailure) -> LimitTopReply {
        try ask("GET", "/limits/top")
    }

    package func limitClient(_ address: String) throws(ControlFailure) -> LimitClientReply {
        try ask("GET", "/limits/client?address=\(Self.escaped(address))")
    }

    package func order(_ order: LimitOrder) throws(ControlFailure) -> LimitOrderReply {
        var target = "/limits/\(order.word)?address=\(Self.escaped(order.client))"
        switch order {
        case .ban(_, let seconds): target += "&seconds=\(seconds)"
        case .unban, .reset(_, nil): break
        case .reset(_, let policy?): target += "&policy=\(Self.escaped(policy))"
        }
        return try ask("POST", target)
    }
}
