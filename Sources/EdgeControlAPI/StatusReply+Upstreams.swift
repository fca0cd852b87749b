/// One upstream and its members.
package struct UpstreamStatus: WireValue {
    package var name: String
    package var tls: Bool
    package var members: [MemberStatus]
    /// How it is used, in the words of the configuration: balancing, checks, what else is set.
    package var policy: [String]
    /// Members that requests may be sent to now, and all of them; nil: not known.
    package var available: Int64?
    package var total: Int64?
    /// All members are down: `open` (the last that worked are used) or `closed` (503); nil: no.
    package var allDown: String?

    package init(
        name: String, tls: Bool, members: [MemberStatus] = [], policy: [String] = [],
        available: Int64? = nil, total: Int64? = nil, allDown: String? = nil
    ) {
        self.name = name
        self.tls = tls
        self.members = members
        self.policy = policy
        self.available = available
        self.total = total
        self.allDown = allDown
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        tls = try reader.bool("tls")
        members = try reader.list("members")
        policy = try reader.stringsIfAny("policy")
        available = try reader.optionalInteger("available")
        total = try reader.optionalInteger("total")
        allDown = try reader.optionalString("all_down")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("tls", .bool(tls)),
            .init("members", .list(members)),
            .init("policy", .strings(policy)),
            .init("available", .optional(available)),
            .init("total", .optional(total)),
            .init("all_down", .optional(allDown)),
        ])
    }
}

/// One address of an upstream. Times are Unix seconds; what is nil is not known.
package struct MemberStatus: WireValue {
    /// Empty: the name has no address.
    package var address: String
    /// The name it was resolved from; empty if it is configured.
    package var source: String
    /// One word: `up`, `down`, `unknown`, `draining` …
    package var state: String
    /// Of its last failure, as long as that matters.
    package var reason: String?
    /// When `state` began.
    package var since: Int64?
    package var weight: Int64?
    package var isBackup: Bool
    /// An administrator's word: `ready`, `drain` or `maint`.
    package var admin: String?
    package var checksPassed: Int64
    package var checksFailed: Int64
    package var ejections: Int64
    /// When the certificate ends that its checks have seen.
    package var certificateNotAfter: Int64?
    /// Open ones, over all workers.
    package var connections: Int64?
    /// Of answers, lately.
    package var latencyMicroseconds: Int64?
    /// Requests that came to an answer or failed, and those that failed: no answer, or a 5xx.
    package var requests: Int64
    package var failures: Int64

    package init(
        address: String, source: String, state: String, reason: String? = nil,
        since: Int64? = nil, weight: Int64? = nil, isBackup: Bool = false, admin: String? = nil,
        checksPassed: Int64 = 0, checksFailed: Int64 = 0, ejections: Int64 = 0,
        certificateNotAfter: Int64? = nil, connections: Int64? = nil,
        latencyMicroseconds: Int64? = nil, requests: Int64 = 0, failures: Int64 = 0
    ) {
        self.requests = requests
        self.failures = failures
        self.address = address
        self.source = source
        self.state = state
        self.reason = reason
        self.since = since
        self.weight = weight
        self.isBackup = isBackup
        self.admin = admin
        self.checksPassed = checksPassed
        self.checksFailed = checksFailed
        self.ejections = ejections
        self.certificateNotAfter = certificateNotAfter
        self.connections = connections
        self.latencyMicroseconds = latencyMicroseconds
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        address = try reader.string("address")
        source = try reader.string("source")
        state = try reader.string("state")
        reason = try reader.optionalString("reason")
        since = try reader.optionalInteger("since")
        weight = try reader.optionalInteger("weight")
        isBackup = try reader.optionalBool("backup") ?? false
        admin = try reader.optionalString("admin")
        checksPassed = try reader.optionalInteger("checks_passed") ?? 0
        checksFailed = try reader.optionalInteger("checks_failed") ?? 0
        ejections = try reader.optionalInteger("ejections") ?? 0
        certificateNotAfter = try reader.optionalInteger("certificate_not_after")
        connections = try reader.optionalInteger("connections")
        latencyMicroseconds = try reader.optionalInteger("latency_microseconds")
        requests = try reader.optionalInteger("requests") ?? 0
        failures = try reader.optionalInteger("failures") ?? 0
    }

    package var json: JSONValue {
        .object([
            .init("address", .string(address)),
            .init("source", .string(source)),
            .init("state", .string(state)),
            .init("reason", .optional(reason)),
            .init("since", .optional(since)),
            .init("weight", .optional(weight)),
            .init("backup", .bool(isBackup)),
            .init("admin", .optional(admin)),
            .init("checks_passed", .integer(checksPassed)),
            .init("checks_failed", .integer(checksFailed)),
            .init("ejections", .integer(ejections)),
            .init("certificate_not_after", .optional(certificateNotAfter)),
            .init("connections", .optional(connections)),
            .init("latency_microseconds", .optional(latencyMicroseconds)),
            .init("requests", .integer(requests)),
            .init("failures", .integer(failures)),
        ])
    }
}

/// One DNS server as it has answered.
package struct ResolverStatus: WireValue {
    /// The name of its group in the configuration; `system` without one.
    package var group: String
    package var server: String
    package var answered: Int64
    package var failed: Int64
    /// Of the newest query, if it failed.
    package var lastError: String?
    /// In which ways it answers, but not as it should; empty: in none.
    package var degraded: [DegradationStatus]

    package init(
        group: String, server: String, answered: Int64, failed: Int64, lastError: String? = nil,
        degraded: [DegradationStatus] = []
    ) {
        self.group = group
        self.server = server
        self.answered = answered
        self.failed = failed
        self.lastError = lastError
        self.degraded = degraded
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        group = try reader.string("group")
        server = try reader.string("server")
        answered = try reader.integer("answered")
        failed = try reader.integer("failed")
        lastError = try reader.optionalString("last_error")
        degraded = try reader.listIfAny("degraded")
    }

    package var json: JSONValue {
        .object([
            .init("group", .string(group)),
            .init("server", .string(server)),
            .init("answered", .integer(answered)),
            .init("failed", .integer(failed)),
            .init("last_error", .optional(lastError)),
            .init("degraded", .list(degraded)),
        ])
    }
}

/// What is wrong with a DNS server that answers, and for which names.
package struct DegradationStatus: WireValue {
    /// A few words: `lost names it knew`, `one address for every name` …
    package var reason: String
    package var names: [String]

    package init(reason: String, names: [String]) {
        self.reason = reason
        self.names = names
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        reason = try reader.string("reason")
        names = try reader.strings("names")
    }

    package var json: JSONValue {
        .object([
            .init("reason", .string(reason)),
            .init("names", .strings(names)),
        ])
    }
}
