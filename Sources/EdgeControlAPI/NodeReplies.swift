/// What an administrator says about the whole node.
package enum NodeOrder: String, Sendable, CaseIterable {
    /// Clients are told to go elsewhere and whoever asks is told not to send any; those that come
    /// all the same are served.
    case drain
    /// The end of that.
    case undrain
}

/// The answer to `POST /node/{drain,undrain}`: as it is afterwards.
package struct NodeReply: WireValue {
    package var order: NodeOrder
    /// Unix seconds since when clients are told to go; nil: they are not.
    package var drainedSince: Int64?
    /// Client connections that are open.
    package var connections: Int64
    /// What became of the addresses that move between nodes, as a sentence; nil: there are none.
    package var addresses: String?

    package init(
        order: NodeOrder, drainedSince: Int64?, connections: Int64, addresses: String? = nil
    ) {
        self.addresses = addresses
        self.order = order
        self.drainedSince = drainedSince
        self.connections = connections
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        order = try reader.word("order")
        drainedSince = try reader.optionalInteger("drained_since")
        connections = try reader.integer("connections")
        addresses = try reader.optionalString("addresses")
    }

    package var json: JSONValue {
        .object([
            .init("order", .string(order.rawValue)),
            .init("drained_since", .optional(drainedSince)),
            .init("connections", .integer(connections)),
            .init("addresses", .optional(addresses)),
        ])
    }

    /// For a person.
    package var text: String {
        let open = "\(connections) connection\(connections == 1 ? "" : "s") open"
        let clients = drainedSince == nil ? "clients are welcome" : "clients are told to go"
        return "\(clients), \(open)\n" + (addresses.map { $0 + "\n" } ?? "")
    }
}

/// The answer to `POST /confirm`.
package struct ConfirmReply: WireValue {
    /// Generation of the configuration that stays.
    package var epoch: Int64

    package init(epoch: Int64) { self.epoch = epoch }

    package init(json: JSONValue) throws(WireFailure) {
        epoch = try WireReader(json).integer("epoch")
    }

    package var json: JSONValue { .object([.init("epoch", .integer(epoch))]) }
}

/// The answer to `POST /upgrade`, sent when the new program serves or has been given up.
package struct UpgradeReply: WireValue {
    package enum Outcome: String, Sendable, CaseIterable {
        /// The new program serves; the old one finishes what it has.
        case upgraded
        /// The new program did not start: the old one goes on.
        case abandoned
    }

    package var outcome: Outcome
    /// Why it was abandoned, a line each.
    package var diagnostics: [String]
    /// The version that serves afterwards.
    package var version: String
    package var milliseconds: Int64

    package init(
        outcome: Outcome, diagnostics: [String] = [], version: String, milliseconds: Int64
    ) {
        self.outcome = outcome
        self.diagnostics = diagnostics
        self.version = version
        self.milliseconds = milliseconds
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        outcome = try reader.word("outcome")
        diagnostics = try reader.strings("diagnostics")
        version = try reader.string("version")
        milliseconds = try reader.integer("milliseconds")
    }

    package var json: JSONValue {
        .object([
            .init("outcome", .string(outcome.rawValue)),
            .init("diagnostics", .strings(diagnostics)),
            .init("version", .string(version)),
            .init("milliseconds", .integer(milliseconds)),
        ])
    }
}
