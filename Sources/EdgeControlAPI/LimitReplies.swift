/// Somebody who is not served for a while.
package struct BanStatus: WireValue {
    /// An address, or the network that is one client: `2001:db8::/64`.
    package var client: String
    /// The policy that has banned him; nil: an administrator, and wherever a policy applies.
    package var policy: String?
    /// Unix seconds.
    package var made: Int64
    package var until: Int64
    /// The node that has made it; empty: this one.
    package var node: String

    package init(
        client: String, policy: String? = nil, made: Int64, until: Int64, node: String = ""
    ) {
        self.client = client
        self.policy = policy
        self.made = made
        self.until = until
        self.node = node
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        client = try reader.string("client")
        policy = try reader.optionalString("policy")
        made = try reader.integer("made")
        until = try reader.integer("until")
        node = try reader.string("node")
    }

    package var json: JSONValue {
        .object([
            .init("client", .string(client)), .init("policy", .optional(policy)),
            .init("made", .integer(made)), .init("until", .integer(until)),
            .init("node", .string(node)),
        ])
    }
}

/// One entry of `rate_limits:`, and what it has come to since the proxy began.
package struct LimitPolicyStatus: WireValue {
    package var name: String
    package var isShadow: Bool
    /// `requests 120 per 10s`, each.
    package var limits: [String]
    /// Views with a place where it applies; `""` is the only one where there are none.
    package var views: [String]
    package var admitted: Int64
    package var refused: Int64
    /// What it would have refused, were it not in shadow mode.
    package var shadow: Int64
    /// Bans that it has made.
    package var bans: Int64
    /// Of those, how many last.
    package var bannedNow: Int64

    package init(
        name: String, isShadow: Bool = false, limits: [String], views: [String] = [],
        admitted: Int64 = 0, refused: Int64 = 0, shadow: Int64 = 0, bans: Int64 = 0,
        bannedNow: Int64 = 0
    ) {
        self.name = name
        self.isShadow = isShadow
        self.limits = limits
        self.views = views
        self.admitted = admitted
        self.refused = refused
        self.shadow = shadow
        self.bans = bans
        self.bannedNow = bannedNow
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        isShadow = try reader.bool("shadow_mode")
        limits = try reader.strings("limits")
        views = try reader.strings("views")
        admitted = try reader.integer("admitted")
        refused = try reader.integer("refused")
        shadow = try reader.integer("over_shadow_limit")
        bans = try reader.integer("bans")
        bannedNow = try reader.integer("banned_now")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)), .init("shadow_mode", .bool(isShadow)),
            .init("limits", .strings(limits)), .init("views", .strings(views)),
            .init("admitted", .integer(admitted)), .init("refused", .integer(refused)),
            .init("over_shadow_limit", .integer(shadow)), .init("bans", .integer(bans)),
            .init("banned_now", .integer(bannedNow)),
        ])
    }
}

/// A file of `allow_files` or `deny_files`.
package struct LimitFileStatus: WireValue {
    package var path: String
    /// That are in use.
    package var blocks: Int64
    /// When they were read, in Unix seconds; nil: never.
    package var read: Int64?
    /// Why the file cannot be used as it is now; what it was before is used meanwhile.
    package var problem: String?

    package init(path: String, blocks: Int64, read: Int64? = nil, problem: String? = nil) {
        self.path = path
        self.blocks = blocks
        self.read = read
        self.problem = problem
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        path = try reader.string("path")
        blocks = try reader.integer("blocks")
        read = try reader.optionalInteger("read")
        problem = try reader.optionalString("problem")
    }

    package var json: JSONValue {
        .object([
            .init("path", .string(path)), .init("blocks", .integer(blocks)),
            .init("read", .optional(read)), .init("problem", .optional(problem)),
        ])
    }
}

/// The answer to `GET /limits`.
package struct LimitsReply: WireValue {
    /// Unix seconds.
    package var now: Int64
    package var policies: [LimitPolicyStatus]
    /// The one that ends first is first.
    package var bans: [BanStatus]
    /// Bans that were made and are not in the list for want of room.
    package var bansUnlisted: Int64
    package var files: [LimitFileStatus]

    package init(
        now: Int64, policies: [LimitPolicyStatus], bans: [BanStatus] = [],
        bansUnlisted: Int64 = 0, files: [LimitFileStatus] = []
    ) {
        self.now = now
        self.policies = policies
        self.bans = bans
        self.bansUnlisted = bansUnlisted
        self.files = files
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        now = try reader.integer("now")
        policies = try reader.list("policies")
        bans = try reader.list("bans")
        bansUnlisted = try reader.integer("bans_unlisted")
        files = try reader.list("files")
    }

    package var json: JSONValue {
        .object([
            .init("now", .integer(now)), .init("policies", .list(policies)),
            .init("bans", .list(bans)), .init("bans_unlisted", .integer(bansUnlisted)),
            .init("files", .list(files)),
        ])
    }

    /// Of these only.
    package func of(view: String?, policy: String?) -> LimitsReply {
        var reply = self
        if let view { reply.policies.removeAll { !$0.views.contains(view) } }
        if let policy { reply.policies.removeAll { $0.name != policy } }
        guard view != nil || policy != nil else { return reply }
        let names = Set(reply.policies.map(\.name))
        reply.bans.removeAll { $0.policy.map { !names.contains($0) } ?? false }
        return reply
    }
}
