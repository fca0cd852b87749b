/// Who was refused by a policy lately, and how often.
package struct LimitTopRow: WireValue {
    package var client: String
    /// Nil: banned by an administrator.
    package var policy: String?
    /// It was not refused, but would have been.
    package var isShadow: Bool
    package var refused: Int64
    /// So many of them may have been others'.
    package var surplus: Int64
    /// Unix seconds.
    package var first: Int64
    package var last: Int64

    package init(
        client: String, policy: String?, isShadow: Bool = false, refused: Int64,
        surplus: Int64 = 0, first: Int64, last: Int64
    ) {
        self.client = client
        self.policy = policy
        self.isShadow = isShadow
        self.refused = refused
        self.surplus = surplus
        self.first = first
        self.last = last
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        client = try reader.string("client")
        policy = try reader.optionalString("policy")
        isShadow = try reader.bool("shadow")
        refused = try reader.integer("refused")
        surplus = try reader.integer("surplus")
        first = try reader.integer("first")
        last = try reader.integer("last")
    }

    package var json: JSONValue {
        .object([
            .init("client", .string(client)), .init("policy", .optional(policy)),
            .init("shadow", .bool(isShadow)), .init("refused", .integer(refused)),
            .init("surplus", .integer(surplus)), .init("first", .integer(first)),
            .init("last", .integer(last)),
        ])
    }
}

/// The answer to `GET /limits/top`.
package struct LimitTopReply: WireValue {
    package var now: Int64
    /// Who has not been refused for so long is forgotten.
    package var windowSeconds: Int64
    /// Most first.
    package var rows: [LimitTopRow]

    package init(now: Int64, windowSeconds: Int64, rows: [LimitTopRow]) {
        self.now = now
        self.windowSeconds = windowSeconds
        self.rows = rows
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        now = try reader.integer("now")
        windowSeconds = try reader.integer("window_seconds")
        rows = try reader.list("clients")
    }

    package var json: JSONValue {
        .object([
            .init("now", .integer(now)), .init("window_seconds", .integer(windowSeconds)),
            .init("clients", .list(rows)),
        ])
    }
}

/// One limit as it stands for one client.
package struct ClientLimitStatus: WireValue {
    /// `requests`, `errors`, …
    package var thing: String
    /// `120 per 10s`.
    package var rate: String
    package var remaining: Int64
    package var burst: Int64
    /// Until one more passes; 0: now.
    package var waitMilliseconds: Int64
    /// Places that count apart; this is of the one with the least left.
    package var places: Int64

    package init(
        thing: String, rate: String, remaining: Int64, burst: Int64, waitMilliseconds: Int64 = 0,
        places: Int64 = 1
    ) {
        self.thing = thing
        self.rate = rate
        self.remaining = remaining
        self.burst = burst
        self.waitMilliseconds = waitMilliseconds
        self.places = places
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        thing = try reader.string("thing")
        rate = try reader.string("rate")
        remaining = try reader.integer("remaining")
        burst = try reader.integer("burst")
        waitMilliseconds = try reader.integer("wait_milliseconds")
        places = try reader.integer("places")
    }

    package var json: JSONValue {
        .object([
            .init("thing", .string(thing)), .init("rate", .string(rate)),
            .init("remaining", .integer(remaining)), .init("burst", .integer(burst)),
            .init("wait_milliseconds", .integer(waitMilliseconds)),
            .init("places", .integer(places)),
        ])
    }
}

/// How a client stands with one policy.
package struct ClientPolicyStatus: WireValue {
    package var policy: String
    /// `allow` lets him pass.
    package var isExempt: Bool
    /// `deny` keeps him out.
    package var isDenied: Bool
    /// For so long; nil: he is not banned by it.
    package var bannedMilliseconds: Int64?
    package var limits: [ClientLimitStatus]

    package init(
        policy: String, isExempt: Bool = false, isDenied: Bool = false,
        bannedMilliseconds: Int64? = nil, limits: [ClientLimitStatus] = []
    ) {
        self.policy = policy
        self.isExempt = isExempt
        self.isDenied = isDenied
        self.bannedMilliseconds = bannedMilliseconds
        self.limits = limits
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        policy = try reader.string("policy")
        isExempt = try reader.bool("exempt")
        isDenied = try reader.bool("denied")
        bannedMilliseconds = try reader.optionalInteger("banned_milliseconds")
        limits = try reader.list("limits")
    }

    package var json: JSONValue {
        .object([
            .init("policy", .string(policy)), .init("exempt", .bool(isExempt)),
            .init("denied", .bool(isDenied)),
            .init("banned_milliseconds", .optional(bannedMilliseconds)),
            .init("limits", .list(limits)),
        ])
    }
}

/// The answer to `GET /limits/client?address=ADDRESS`.
package struct LimitClientReply: WireValue {
    package var client: String
    /// By an administrator, for so long; nil: he is not.
    package var bannedMilliseconds: Int64?
    package var policies: [ClientPolicyStatus]

    package init(
        client: String, bannedMilliseconds: Int64? = nil, policies: [ClientPolicyStatus]
    ) {
        self.client = client
        self.bannedMilliseconds = bannedMilliseconds
        self.policies = policies
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        client = try reader.string("client")
        bannedMilliseconds = try reader.optionalInteger("banned_milliseconds")
        policies = try reader.list("policies")
    }

    package var json: JSONValue {
        .object([
            .init("client", .string(client)),
            .init("banned_milliseconds", .optional(bannedMilliseconds)),
            .init("policies", .list(policies)),
        ])
    }

    /// He is refused as things stand.
    package var isBanned: Bool {
        bannedMilliseconds != nil
            || policies.contains { $0.bannedMilliseconds != nil || $0.isDenied }
    }
}

/// What an administrator orders about a client.
package enum LimitOrder: Sendable, Equatable {
    /// Seconds, 1 to five years.
    case ban(client: String, seconds: Int64)
    case unban(client: String)
    /// Forgives him what he has used up; nil: with every policy.
    case reset(client: String, policy: String?)

    package static let banMax: Int64 = 5 * 365 * 86_400

    package var word: String {
        switch self {
        case .ban: "ban"
        case .unban: "unban"
        case .reset: "reset"
        }
    }

    package var client: String {
        switch self {
        case .ban(let client, _), .unban(let client), .reset(let client, _): client
        }
    }
}

/// The answer to an order about a client.
package struct LimitOrderReply: WireValue {
    /// `ban`, `unban` or `reset`.
    package var order: String
    /// As limits see him.
    package var client: String
    /// Unix seconds; nil: he is not banned by an administrator.
    package var until: Int64?
    /// Bans lifted, or limits that held something against him.
    package var changed: Int64

    package init(order: String, client: String, until: Int64? = nil, changed: Int64) {
        self.order = order
        self.client = client
        self.until = until
        self.changed = changed
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        order = try reader.string("order")
        client = try reader.string("client")
        until = try reader.optionalInteger("until")
        changed = try reader.integer("changed")
    }

    package var json: JSONValue {
        .object([
            .init("order", .string(order)), .init("client", .string(client)),
            .init("until", .optional(until)), .init("changed", .integer(changed)),
        ])
    }
}
