/// What the guardian tells the proxy of what only it knows, as JSON in a memfd: what the proxy
/// shows, counts and notes of it.
package struct GuardianNews: WireValue {
    /// Nil: no address moves.
    package var vip: VIPReply?
    /// What happened while nobody was there to note it, the oldest first; each is told once.
    package var incidents: [Incident]

    package init(vip: VIPReply?, incidents: [Incident] = []) {
        self.vip = vip
        self.incidents = incidents
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        vip = try reader.optional("vip")
        incidents = try reader.list("incidents")
    }

    package var json: JSONValue {
        .object([
            .init("vip", vip?.json ?? .null),
            .init("incidents", .list(incidents)),
        ])
    }
}
