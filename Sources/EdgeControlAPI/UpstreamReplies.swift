/// What an administrator says about a member.
package enum MemberOrder: String, Sendable, CaseIterable {
    /// As checks and traffic say.
    case ready
    /// No new traffic but that of clients which are bound to it.
    case drain
    /// No traffic.
    case maint
}

/// The answer to `GET /upstreams`.
package struct UpstreamsReply: WireValue {
    /// Unix seconds.
    package var now: Int64
    package var upstreams: [UpstreamStatus]

    package init(now: Int64, upstreams: [UpstreamStatus]) {
        self.now = now
        self.upstreams = upstreams
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        now = try reader.integer("now")
        upstreams = try reader.list("upstreams")
    }

    package var json: JSONValue {
        .object([
            .init("now", .integer(now)),
            .init("upstreams", .list(upstreams)),
        ])
    }

    /// For a person.
    package var text: String {
        let reply = StatusReply(
            version: "", state: .serving, since: now, why: "", now: now, pid: 0, started: now,
            epoch: 0, configPath: "", configFingerprint: "", upstreams: upstreams)
        var text = StatusText(reply)
        return text.renderUpstreams()
    }
}

/// The answer to `POST /upstreams/NAME/members/MEMBER/{ready,drain,maint}`: as it is afterwards.
package struct MemberReply: WireValue {
    package var upstream: String
    package var order: MemberOrder
    package var member: MemberStatus
    /// Members of the upstream that requests may be sent to; nil: not known.
    package var available: Int64?

    package init(
        upstream: String, order: MemberOrder, member: MemberStatus, available: Int64? = nil
    ) {
        self.upstream = upstream
        self.order = order
        self.member = member
        self.available = available
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        upstream = try reader.string("upstream")
        order = try reader.word("order")
        guard case .object(let members) = json,
            let member = members.first(where: { $0.name == "member" })
        else { throw .missing("member") }
        self.member = try MemberStatus(json: member.value)
        available = try reader.optionalInteger("available")
    }

    package var json: JSONValue {
        .object([
            .init("upstream", .string(upstream)),
            .init("order", .string(order.rawValue)),
            .init("member", member.json),
            .init("available", .optional(available)),
        ])
    }
}
