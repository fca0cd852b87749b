/// What a node is doing, as one word.
package enum NodeState: String, Sendable, CaseIterable {
    case starting
    case serving
    /// Serves what it has, and ends.
    case draining
    case notServing = "not_serving"
}

/// The answer to `GET /status`: everything an operator sees at one glance. While no proxy serves
/// the guardian answers it with what it knows; lists are then empty. Times are Unix seconds.
package struct StatusReply: WireValue {
    package var version: String
    package var state: NodeState
    /// When `state` began.
    package var since: Int64
    /// Why it is in `state`, as a sentence; empty if there is nothing to say.
    package var why: String
    /// When this was answered, so that a reader needs no clock of its own.
    package var now: Int64
    package var pid: Int64
    package var started: Int64
    /// Generation of the configuration in use; 0: none.
    package var epoch: Int64
    package var configPath: String
    package var configFingerprint: String
    /// Since when clients are told to go elsewhere (`edgectl node drain`); nil: they are not.
    package var drainedSince: Int64?
    /// Since when newcomers of low priority are refused, for lack of time; nil: they are not.
    package var overloadedSince: Int64?
    /// When the newest reload is undone if nobody confirms it; nil: it stays.
    package var confirmUntil: Int64?
    /// Nil: there is no other node.
    package var pair: PairStatus?
    package var workers: [WorkerStatus]
    package var listeners: [ListenerStatus]
    package var upstreams: [UpstreamStatus]
    package var names: [NameStatus]
    /// The DNS servers that are asked, as they have answered.
    package var resolvers: [ResolverStatus]
    /// At most 100: the unusable ones, then those that end first.
    package var certificates: [CertificateStatus]
    /// How many there are in all.
    package var certificateCount: Int64
    /// Whether the kernel's clock is kept right, and which time counts if not; empty: not known.
    package var clock = ""
    /// Files of certificates that cannot be used.
    package var quarantinedCount: Int64 = 0
    /// The addresses that move between the nodes; nil: there are none.
    package var vip: VIPReply?
    /// The counters, summed over the workers.
    package var counters: [NamedCount]
    /// Why connections and requests failed; those that are not 0.
    package var reasons: [NamedCount]
    /// The last log lines, oldest first.
    package var log: [String]

    package init(
        version: String, state: NodeState, since: Int64, why: String, now: Int64, pid: Int64,
        started: Int64, epoch: Int64, configPath: String, configFingerprint: String,
        workers: [WorkerStatus] = [], listeners: [ListenerStatus] = [],
        upstreams: [UpstreamStatus] = [], names: [NameStatus] = [],
        resolvers: [ResolverStatus] = [],
        certificates: [CertificateStatus] = [], certificateCount: Int64 = 0,
        counters: [NamedCount] = [],
        reasons: [NamedCount] = [], log: [String] = []
    ) {
        self.version = version
        self.state = state
        self.since = since
        self.why = why
        self.now = now
        self.pid = pid
        self.started = started
        self.epoch = epoch
        self.configPath = configPath
        self.configFingerprint = configFingerprint
        self.workers = workers
        self.listeners = listeners
        self.upstreams = upstreams
        self.names = names
        self.resolvers = resolvers
        self.certificates = certificates
        self.certificateCount = certificateCount
        self.counters = counters
        self.reasons = reasons
        self.log = log
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        version = try reader.string("version")
        state = try reader.word("state")
        since = try reader.integer("since")
        why = try reader.string("why")
        now = try reader.integer("now")
        pid = try reader.integer("pid")
        started = try reader.integer("started")
        epoch = try reader.integer("epoch")
        configPath = try reader.string("config_path")
        configFingerprint = try reader.string("config_fingerprint")
        drainedSince = try reader.optionalInteger("drained_since")
        overloadedSince = try reader.optionalInteger("overloaded_since")
        confirmUntil = try reader.optionalInteger("confirm_until")
        pair = try reader.optional("pair")
        workers = try reader.list("workers")
        listeners = try reader.list("listeners")
        upstreams = try reader.list("upstreams")
        names = try reader.list("names")
        resolvers = try reader.listIfAny("resolvers")
        certificates = try reader.list("certificates")
        certificateCount = try reader.integer("certificate_count")
        clock = try reader.optionalString("clock") ?? ""
        quarantinedCount = try reader.optionalInteger("quarantined_count") ?? 0
        vip = try reader.optional("vip")
        counters = try reader.counts("counters")
        reasons = try reader.counts("reasons")
        log = try reader.strings("log")
    }

    package var json: JSONValue {
        .object([
            .init("version", .string(version)),
            .init("state", .string(state.rawValue)),
            .init("since", .integer(since)),
            .init("why", .string(why)),
            .init("now", .integer(now)),
            .init("pid", .integer(pid)),
            .init("started", .integer(started)),
            .init("epoch", .integer(epoch)),
            .init("config_path", .string(configPath)),
            .init("config_fingerprint", .string(configFingerprint)),
            .init("drained_since", .optional(drainedSince)),
            .init("overloaded_since", .optional(overloadedSince)),
            .init("confirm_until", .optional(confirmUntil)),
            .init("pair", pair?.json ?? .null),
            .init("workers", .list(workers)),
            .init("listeners", .list(listeners)),
            .init("upstreams", .list(upstreams)),
            .init("names", .list(names)),
            .init("resolvers", .list(resolvers)),
            .init("certificates", .list(certificates)),
            .init("certificate_count", .integer(certificateCount)),
            .init("clock", .string(clock)),
            .init("quarantined_count", .integer(quarantinedCount)),
            .init("vip", vip?.json ?? .null),
            .init("counters", .counts(counters)),
            .init("reasons", .counts(reasons)),
            .init("log", .strings(log)),
        ])
    }
}
