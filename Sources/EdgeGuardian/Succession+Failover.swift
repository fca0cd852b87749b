package import EdgeControlAPI
package import EdgeFailover
internal import EdgeVRRP

/// What the failover thread leaves, as JSON. Numbers that may be larger than a signed word are
/// written as such by their bits.
extension FailoverHandover: WireValue {
    package var json: JSONValue {
        .object([
            .init("instances", .list(instances)),
            .init("sockets", .list(sockets)),
            .init("presence", presence?.json ?? .null),
        ])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        self.init(
            instances: try reader.list("instances"), sockets: try reader.list("sockets"),
            presence: try reader.optional("presence"))
    }
}

extension FailoverHandover.Instance: WireValue {
    package var json: JSONValue {
        .object([.init("name", .string(name)), .init("record", record.json)])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        self.init(
            name: try reader.string("name"),
            record: try ElectionRecord(json: json["record"] ?? .null))
    }
}

extension FailoverHandover.Socket: WireValue {
    package var json: JSONValue {
        .object([
            .init("descriptor", .integer(Int64(descriptor))),
            .init("interface", .string(interfaceName)),
            .init("index", .integer(Int64(interfaceIndex))),
            .init("family", .integer(Int64(family.rawValue))),
            .init("multicast", .bool(isMulticast)),
        ])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        guard
            let family = IPFamily(rawValue: UInt8(clamping: try reader.integer("family")))
        else { throw .wrongType("family") }
        self.init(
            descriptor: try reader.descriptor("descriptor"),
            interfaceName: try reader.string("interface"),
            interfaceIndex: try reader.descriptor("index"), family: family,
            isMulticast: try reader.bool("multicast"))
    }
}

extension FailoverHandover.Presence: WireValue {
    package var json: JSONValue {
        .object([.init("boot", .bits(bootID)), .init("sequence", .bits(sequence))])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        self.init(bootID: try reader.bits("boot"), sequence: try reader.bits("sequence"))
    }
}

extension ElectionRecord {
    fileprivate var json: JSONValue {
        .object([
            .init("router_id", .integer(Int64(routerID))),
            .init("state", .integer(Int64(state))),
            .init("since", .bits(sinceNanoseconds)),
            .init("advertised", .bits(advertisedNanoseconds)),
            .init("advertised_cs", .integer(Int64(advertisedCentiseconds))),
            .init("adopted_cs", .integer(Int64(adoptedCentiseconds))),
            .init("gate_open", .bool(isGateOpen)),
            .init("edged_peer", .bool(knowsEdgedPeer)),
            .init("take_overs", .array(takeOverNanoseconds.map { .bits($0) })),
            .init("damped_until", .bits(dampedUntilNanoseconds)),
            .init("hold_downs", .integer(Int64(holdDowns))),
            .init("preempt_from", .bits(preemptBlockedUntilNanoseconds)),
            .init("counters", .array(counters.values.map { .bits($0) })),
        ])
    }

    fileprivate init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        self.init(
            routerID: UInt8(clamping: try reader.count("router_id")),
            state: UInt8(clamping: try reader.count("state")),
            sinceNanoseconds: try reader.bits("since"),
            advertisedNanoseconds: try reader.bits("advertised"),
            advertisedCentiseconds: UInt16(clamping: try reader.count("advertised_cs")),
            adoptedCentiseconds: UInt16(clamping: try reader.count("adopted_cs")),
            isGateOpen: try reader.bool("gate_open"),
            knowsEdgedPeer: try reader.bool("edged_peer"),
            takeOverNanoseconds: try reader.integers("take_overs").map {
                UInt64(bitPattern: $0)
            },
            dampedUntilNanoseconds: try reader.bits("damped_until"),
            holdDowns: UInt32(clamping: try reader.count("hold_downs")),
            preemptBlockedUntilNanoseconds: try reader.bits("preempt_from"),
            counters: ElectionCounters(
                values: try reader.integers("counters").map { UInt64(bitPattern: $0) }))
    }
}

extension ElectionCounters {
    /// In an order that stays; newer ones come last.
    private static var fields: [WritableKeyPath<ElectionCounters, UInt64>] {
        [
            \.advertisementsSent, \.advertisementsHeard, \.advertisementsDistrusted,
            \.addressListsDiffering, \.priorityZeroSent, \.priorityZeroHeard, \.takeOvers,
            \.handovers, \.handoversFailed, \.conflictsWon, \.conflictsLost, \.announcements,
            \.latenessForgiven, \.latenessNanoseconds, \.takeOversDeferred,
        ]
    }

    fileprivate var values: [UInt64] { Self.fields.map { self[keyPath: $0] } }

    fileprivate init(values: [UInt64]) {
        self.init()
        for (field, value) in zip(Self.fields, values) { self[keyPath: field] = value }
    }
}

extension JSONValue {
    fileprivate static func bits(_ value: UInt64) -> JSONValue {
        .integer(Int64(bitPattern: value))
    }
}

extension WireReader {
    fileprivate func bits(_ name: String) throws(WireFailure) -> UInt64 {
        UInt64(bitPattern: try integer(name))
    }
}
