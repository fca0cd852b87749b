/// One worker thread.
package struct WorkerStatus: WireValue {
    package var index: Int64
    /// The configuration generation it uses.
    package var epoch: Int64
    package var connections: Int64
    /// Since the counters began.
    package var requests: Int64
    /// Since its last heartbeat.
    package var idleMilliseconds: Int64
    /// Whether it was at work, not waiting in the kernel.
    package var busy: Bool

    package init(
        index: Int64, epoch: Int64, connections: Int64, requests: Int64, idleMilliseconds: Int64,
        busy: Bool
    ) {
        self.index = index
        self.epoch = epoch
        self.connections = connections
        self.requests = requests
        self.idleMilliseconds = idleMilliseconds
        self.busy = busy
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        index = try reader.integer("index")
        epoch = try reader.integer("epoch")
        connections = try reader.integer("connections")
        requests = try reader.integer("requests")
        idleMilliseconds = try reader.integer("idle_milliseconds")
        busy = try reader.bool("busy")
    }

    package var json: JSONValue {
        .object([
            .init("index", .integer(index)),
            .init("epoch", .integer(epoch)),
            .init("connections", .integer(connections)),
            .init("requests", .integer(requests)),
            .init("idle_milliseconds", .integer(idleMilliseconds)),
            .init("busy", .bool(busy)),
        ])
    }
}

/// One listener with all its addresses.
package struct ListenerStatus: WireValue {
    package var name: String
    package var address: String
    package var `protocol`: String
    package var connections: Int64

    package init(name: String, address: String, `protocol`: String, connections: Int64) {
        self.name = name
        self.address = address
        self.protocol = `protocol`
        self.connections = connections
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        address = try reader.string("address")
        `protocol` = try reader.string("protocol")
        connections = try reader.integer("connections")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("address", .string(address)),
            .init("protocol", .string(`protocol`)),
            .init("connections", .integer(connections)),
        ])
    }
}

/// What DNS says about one name.
package struct NameStatus: WireValue {
    package var name: String
    /// `fresh`, `stale` or `unresolved`.
    package var state: String
    package var addresses: [String]
    /// Seconds since the last good answer.
    package var age: Int64?
    /// Of the newest query, if it failed.
    package var lastError: String?
    package var resolver: String

    package init(
        name: String, state: String, addresses: [String] = [], age: Int64? = nil,
        lastError: String? = nil, resolver: String
    ) {
        self.name = name
        self.state = state
        self.addresses = addresses
        self.age = age
        self.lastError = lastError
        self.resolver = resolver
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        state = try reader.string("state")
        addresses = try reader.strings("addresses")
        age = try reader.optionalInteger("age")
        lastError = try reader.optionalString("last_error")
        resolver = try reader.string("resolver")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("state", .string(state)),
            .init("addresses", .strings(addresses)),
            .init("age", .optional(age)),
            .init("last_error", .optional(lastError)),
            .init("resolver", .string(resolver)),
        ])
    }
}

/// One certificate in use.
package struct CertificateStatus: WireValue {
    package var names: [String]
    /// Unix seconds.
    package var notAfter: Int64
    /// OpenSSL cannot use it: its names are served by another one, or not.
    package var isUnusable: Bool

    package init(names: [String], notAfter: Int64, isUnusable: Bool = false) {
        self.names = names
        self.notAfter = notAfter
        self.isUnusable = isUnusable
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        names = try reader.strings("names")
        notAfter = try reader.integer("not_after")
        isUnusable = try reader.bool("unusable")
    }

    package var json: JSONValue {
        .object([
            .init("names", .strings(names)),
            .init("not_after", .integer(notAfter)),
            .init("unusable", .bool(isUnusable)),
        ])
    }
}
