/// The answer to `GET /vip`: who has the addresses that move between the nodes, why, and since
/// when. Times are Unix seconds.
package struct VIPReply: WireValue {
    package var now: Int64
    /// This one's name in the configuration.
    package var node: String
    /// What this node says of itself: `fit`, `degraded (…)`, `unfit (…)`.
    package var fitness: String
    /// An administrator has drained the node.
    package var isInMaintenance: Bool
    /// A handover that is under way, as a sentence; empty: there is none.
    package var handover: String
    /// Whether the failover thread has real-time priority and locked memory, as a sentence.
    package var scheduling: String
    package var instances: [VIPInstance]
    /// What the others say of themselves.
    package var peers: [VIPPeer]
    /// Of the failover thread, since it began; those that are not 0.
    package var counters: [NamedCount]

    package init(
        now: Int64, node: String, fitness: String, isInMaintenance: Bool = false,
        handover: String = "", scheduling: String = "", instances: [VIPInstance] = [],
        peers: [VIPPeer] = [], counters: [NamedCount] = []
    ) {
        self.now = now
        self.node = node
        self.fitness = fitness
        self.isInMaintenance = isInMaintenance
        self.handover = handover
        self.scheduling = scheduling
        self.instances = instances
        self.peers = peers
        self.counters = counters
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        now = try reader.integer("now")
        node = try reader.string("node")
        fitness = try reader.string("fitness")
        isInMaintenance = try reader.bool("maintenance")
        handover = try reader.string("handover")
        scheduling = try reader.string("scheduling")
        instances = try reader.list("instances")
        peers = try reader.list("peers")
        counters = try reader.counts("counters")
    }

    package var json: JSONValue {
        .object([
            .init("now", .integer(now)),
            .init("node", .string(node)),
            .init("fitness", .string(fitness)),
            .init("maintenance", .bool(isInMaintenance)),
            .init("handover", .string(handover)),
            .init("scheduling", .string(scheduling)),
            .init("instances", .list(instances)),
            .init("peers", .list(peers)),
            .init("counters", .counts(counters)),
        ])
    }
}

/// What a node is to a group of addresses.
package enum VIPState: String, Sendable, CaseIterable {
    /// It takes no part, yet or any more.
    case initialize
    case backup
    /// It has the addresses.
    case master
    /// It can take no part: no link, or no address of its own.
    case fault
}

/// One group of addresses that moves as a whole.
package struct VIPInstance: WireValue {
    package var name: String
    package var routerID: Int64
    package var interface: String
    /// `up`, or why it is not.
    package var link: String
    /// With their prefix lengths, in the order of the configuration.
    package var addresses: [String]
    package var state: VIPState
    package var since: Int64
    /// Why it is in `state`, as a sentence without a full stop.
    package var cause: String
    /// What is advertised, or would be.
    package var priority: Int64
    package var intervalMilliseconds: Int64
    /// Who was last heard as master; nil: nobody else since the start.
    package var heardMaster: String?
    package var heardPriority: Int64?
    /// What keeps a node from having the addresses that could; nil: nothing.
    package var waitsFor: String?
    /// Another master with which this one is in conflict.
    package var rival: String?
    /// The last ones, the oldest first.
    package var transitions: [VIPTransition]
    /// Those that are not 0.
    package var counters: [NamedCount]

    package init(
        name: String, routerID: Int64, interface: String, link: String, addresses: [String],
        state: VIPState, since: Int64, cause: String, priority: Int64,
        intervalMilliseconds: Int64, heardMaster: String? = nil, heardPriority: Int64? = nil,
        waitsFor: String? = nil, rival: String? = nil, transitions: [VIPTransition] = [],
        counters: [NamedCount] = []
    ) {
        self.name = name
        self.routerID = routerID
        self.interface = interface
        self.link = link
        self.addresses = addresses
        self.state = state
        self.since = since
        self.cause = cause
        self.priority = priority
        self.intervalMilliseconds = intervalMilliseconds
        self.heardMaster = heardMaster
        self.heardPriority = heardPriority
        self.waitsFor = waitsFor
        self.rival = rival
        self.transitions = transitions
        self.counters = counters
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        routerID = try reader.integer("router_id")
        interface = try reader.string("interface")
        link = try reader.string("link")
        addresses = try reader.strings("addresses")
        state = try reader.word("state")
        since = try reader.integer("since")
        cause = try reader.string("cause")
        priority = try reader.integer("priority")
        intervalMilliseconds = try reader.integer("interval_ms")
        heardMaster = try reader.optionalString("heard_master")
        heardPriority = try reader.optionalInteger("heard_priority")
        waitsFor = try reader.optionalString("waits_for")
        rival = try reader.optionalString("rival")
        transitions = try reader.list("transitions")
        counters = try reader.counts("counters")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("router_id", .integer(routerID)),
            .init("interface", .string(interface)),
            .init("link", .string(link)),
            .init("addresses", .strings(addresses)),
            .init("state", .string(state.rawValue)),
            .init("since", .integer(since)),
            .init("cause", .string(cause)),
            .init("priority", .integer(priority)),
            .init("interval_ms", .integer(intervalMilliseconds)),
            .init("heard_master", .optional(heardMaster)),
            .init("heard_priority", .optional(heardPriority)),
            .init("waits_for", .optional(waitsFor)),
            .init("rival", .optional(rival)),
            .init("transitions", .list(transitions)),
            .init("counters", .counts(counters)),
        ])
    }
}

/// A group of addresses went from one state to another.
package struct VIPTransition: WireValue {
    package var from: VIPState
    package var to: VIPState
    package var cause: String
    /// Unix milliseconds.
    package var atMilliseconds: Int64

    package init(from: VIPState, to: VIPState, cause: String, atMilliseconds: Int64) {
        self.from = from
        self.to = to
        self.cause = cause
        self.atMilliseconds = atMilliseconds
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        from = try reader.word("from")
        to = try reader.word("to")
        cause = try reader.string("cause")
        atMilliseconds = try reader.integer("at_ms")
    }

    package var json: JSONValue {
        .object([
            .init("from", .string(from.rawValue)),
            .init("to", .string(to.rawValue)),
            .init("cause", .string(cause)),
            .init("at_ms", .integer(atMilliseconds)),
        ])
    }
}

/// Another node, by what it says of itself.
package struct VIPPeer: WireValue {
    package var name: String
    package var address: String
    package var fitness: String
    package var isInMaintenance: Bool
    /// When it was last heard.
    package var heard: Int64
    /// It has been heard lately enough to count.
    package var isLive: Bool
    /// Of its program.
    package var version: String
    /// Its configuration is made of the same files as this node's.
    package var hasSameFiles: Bool
    /// Its clock minus this node's, the message's way included.
    package var clockMilliseconds: Int64
    package var states: [VIPPeerState]

    package init(
        name: String, address: String, fitness: String, isInMaintenance: Bool, heard: Int64,
        isLive: Bool, version: String, hasSameFiles: Bool, clockMilliseconds: Int64,
        states: [VIPPeerState] = []
    ) {
        self.address = address
        self.version = version
        self.hasSameFiles = hasSameFiles
        self.clockMilliseconds = clockMilliseconds
        self.name = name
        self.fitness = fitness
        self.isInMaintenance = isInMaintenance
        self.heard = heard
        self.isLive = isLive
        self.states = states
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        fitness = try reader.string("fitness")
        isInMaintenance = try reader.bool("maintenance")
        heard = try reader.integer("heard")
        isLive = try reader.bool("live")
        address = try reader.string("address")
        version = try reader.string("version")
        hasSameFiles = try reader.bool("same_files")
        clockMilliseconds = try reader.integer("clock_ms")
        states = try reader.list("states")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("fitness", .string(fitness)),
            .init("maintenance", .bool(isInMaintenance)),
            .init("heard", .integer(heard)),
            .init("live", .bool(isLive)),
            .init("address", .string(address)),
            .init("version", .string(version)),
            .init("same_files", .bool(hasSameFiles)),
            .init("clock_ms", .integer(clockMilliseconds)),
            .init("states", .list(states)),
        ])
    }
}

/// What another node is to one group of addresses.
package struct VIPPeerState: WireValue {
    package var instance: String
    package var state: VIPState
    package var priority: Int64
    /// It would take the addresses if it were asked.
    package var isReady: Bool

    package init(instance: String, state: VIPState, priority: Int64, isReady: Bool) {
        self.instance = instance
        self.state = state
        self.priority = priority
        self.isReady = isReady
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        instance = try reader.string("instance")
        state = try reader.word("state")
        priority = try reader.integer("priority")
        isReady = try reader.bool("ready")
    }

    package var json: JSONValue {
        .object([
            .init("instance", .string(instance)),
            .init("state", .string(state.rawValue)),
            .init("priority", .integer(priority)),
            .init("ready", .bool(isReady)),
        ])
    }
}

/// The answer to `POST /vip/yield`, sent when the addresses have moved, or will not.
package struct VIPYieldReply: WireValue {
    /// Another node has all of them.
    package var isMoved: Bool
    /// What became of each group, a line each.
    package var lines: [String]
    package var milliseconds: Int64

    package init(isMoved: Bool, lines: [String], milliseconds: Int64) {
        self.isMoved = isMoved
        self.lines = lines
        self.milliseconds = milliseconds
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        isMoved = try reader.bool("moved")
        lines = try reader.strings("lines")
        milliseconds = try reader.integer("milliseconds")
    }

    package var json: JSONValue {
        .object([
            .init("moved", .bool(isMoved)),
            .init("lines", .strings(lines)),
            .init("milliseconds", .integer(milliseconds)),
        ])
    }
}
