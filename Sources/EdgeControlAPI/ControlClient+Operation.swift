internal import EdgeCore

/// What is asked and ordered about the node as a whole.
extension ControlClient {
    /// A refused configuration is a reply (`outcome`), not a failure.
    ///
    /// - Parameter confirmWithin: it is undone unless `confirm()` comes in time; nil: it stays.
    package func reload(
        confirmWithin: Duration? = nil
    ) throws(ControlFailure) -> ReloadReply {
        let query = confirmWithin.map { "?confirm=\($0.nanoseconds / 1_000_000)" } ?? ""
        let (code, json) = try exchange("POST", "/reload" + query)
        // An error on the way has no outcome.
        guard code == 200 || code == 422 && json["outcome"] != nil else {
            throw refusal(code, json)
        }
        return try decode(json)
    }

    /// Both nodes; as `reload`.
    package func reloadPair() throws(ControlFailure) -> ReloadReply {
        let (code, json) = try exchange("POST", "/reload?pair=yes")
        guard code == 200 || code == 422 && json["outcome"] != nil else {
            throw refusal(code, json)
        }
        return try decode(json)
    }

    /// What a reload would do.
    package func plan() throws(ControlFailure) -> ReloadPlanReply {
        let (code, json) = try exchange("POST", "/reload?plan=yes")
        guard code == 200 || code == 422 && json["outcome"] != nil else {
            throw refusal(code, json)
        }
        return try decode(json)
    }

    /// The newest reload stays.
    package func confirm() throws(ControlFailure) -> ConfirmReply {
        try ask("POST", "/confirm")
    }

    /// A new program that does not start is a reply (`outcome`), not a failure.
    package func upgrade() throws(ControlFailure) -> UpgradeReply {
        let (code, json) = try exchange("POST", "/upgrade")
        guard code == 200 || code == 422 && json["outcome"] != nil else {
            throw refusal(code, json)
        }
        return try decode(json)
    }

    package func order(_ order: NodeOrder) throws(ControlFailure) -> NodeReply {
        try ask("POST", "/node/\(order.rawValue)")
    }

    package func figures() throws(ControlFailure) -> FiguresReply { try ask("GET", "/figures") }

    package func incidents() throws(ControlFailure) -> IncidentsReply {
        try ask("GET", "/incidents")
    }

    package func vip() throws(ControlFailure) -> VIPReply { try ask("GET", "/vip") }

    /// Addresses that stay are a reply (`isMoved`), not a failure.
    package func yieldVIP(isForced: Bool) throws(ControlFailure) -> VIPYieldReply {
        let (code, json) = try exchange("POST", "/vip/yield" + (isForced ? "?force=yes" : ""))
        guard code == 200 || code == 409 && json["moved"] != nil else { throw refusal(code, json) }
        return try decode(json)
    }

    package func doctor() throws(ControlFailure) -> DoctorReply { try ask("GET", "/doctor") }

    func ask<Reply: WireValue>(
        _ method: String, _ target: String
    ) throws(ControlFailure) -> Reply {
        let (code, json) = try exchange(method, target)
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }
}
