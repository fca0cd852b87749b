package import EdgeCore

/// Somebody who is not served for a while, or is served again. Spans, not times: the nodes' clocks
/// need not agree.
package struct PairBan: Sendable, Equatable {
    /// The first address of a client's network; port 0.
    package var client: SocketAddress
    /// 0…32 of IPv4, 0…128 of IPv6.
    package var bits: UInt8
    /// That has banned him; empty: an administrator.
    package var policy: String
    /// Seconds since it was made, or lifted.
    package var age: UInt32
    /// Seconds that it still lasts; 0: all bans of this client are lifted.
    package var remaining: UInt32

    package init(
        client: SocketAddress, bits: UInt8, policy: String, age: UInt32, remaining: UInt32
    ) {
        self.client = client
        self.bits = bits
        self.policy = policy
        self.age = age
        self.remaining = remaining
    }
}

package struct PairBans: Sendable, Equatable {
    /// All that the sender knows, or a part of it, as it is told when there is a link; else what
    /// has just happened.
    package var isList: Bool
    /// In the order in which it happened; at least one, at most `PairMessage.bansMax`.
    package var bans: [PairBan]

    package init(isList: Bool, bans: [PairBan]) {
        self.isList = isList
        self.bans = bans
    }
}

/// What the sender's policies have come to, and whom they refuse most: so that either node shows
/// both. Replaces what came before.
package struct PairRefusals: Sendable, Equatable {
    package struct Policy: Sendable, Equatable {
        package var name: String
        package var admitted: UInt64
        package var refused: UInt64
        package var shadow: UInt64
        package var bans: UInt64

        package init(
            name: String, admitted: UInt64, refused: UInt64, shadow: UInt64, bans: UInt64
        ) {
            self.name = name
            self.admitted = admitted
            self.refused = refused
            self.shadow = shadow
            self.bans = bans
        }
    }

    package struct Row: Sendable, Equatable {
        package var client: SocketAddress
        package var bits: UInt8
        package var policy: String
        package var isShadow: Bool
        package var count: UInt64
        /// How much of it is not certain.
        package var surplus: UInt64
        /// Seconds since the first and the last time.
        package var firstAge: UInt32
        package var lastAge: UInt32

        package init(
            client: SocketAddress, bits: UInt8, policy: String, isShadow: Bool, count: UInt64,
            surplus: UInt64, firstAge: UInt32, lastAge: UInt32
        ) {
            self.client = client
            self.bits = bits
            self.policy = policy
            self.isShadow = isShadow
            self.count = count
            self.surplus = surplus
            self.firstAge = firstAge
            self.lastAge = lastAge
        }
    }

    /// At most `PairMessage.policiesMax`.
    package var policies: [Policy]
    /// Who was refused most is first; at most `PairMessage.refusedMax`.
    package var rows: [Row]

    package init(policies: [Policy], rows: [Row]) {
        self.policies = policies
        self.rows = rows
    }
}

extension PairMessage {
    package static let bansMax = 200
    package static let policiesMax = 64
    package static let refusedMax = 128
    /// Longest ban, in seconds: five years.
    package static let banMax: UInt32 = 5 * 366 * 86_400

    static func write(_ bans: PairBans, to writer: inout PairWriter) {
        let some = bans.bans.prefix(bansMax)
        writer.number(UInt8(bans.isList ? 1 : 0))
        writer.number(UInt16(some.count))
        for ban in some {
            writer.address(ban.client)
            writer.number(ban.bits)
            writer.text(ban.policy)
            writer.number(ban.age)
            writer.number(ban.remaining)
        }
    }

    static func bans(_ reader: inout PairReader) throws(PairViolation) -> PairBans {
        let isList = try reader.flag()
        let count = try reader.count(upTo: bansMax)
        guard count > 0 else { throw reader.violation }
        var bans: [PairBan] = []
        for _ in 0..<count {
            let (client, bits) = try reader.network()
            let policy = try reader.text()
            let age: UInt32 = try reader.number()
            let remaining: UInt32 = try reader.number()
            guard remaining <= banMax else { throw reader.violation }
            bans.append(
                PairBan(
                    client: client, bits: bits, policy: policy, age: age, remaining: remaining))
        }
        return PairBans(isList: isList, bans: bans)
    }

    static func write(_ refusals: PairRefusals, to writer: inout PairWriter) {
        let policies = refusals.policies.prefix(policiesMax)
        writer.number(UInt16(policies.count))
        for policy in policies {
            writer.text(policy.name)
            for figure in [policy.admitted, policy.refused, policy.shadow, policy.bans] {
                writer.number(figure)
            }
        }
        let rows = refusals.rows.prefix(refusedMax)
        writer.number(UInt16(rows.count))
        for row in rows {
            writer.address(row.client)
            writer.number(row.bits)
            writer.text(row.policy)
            writer.number(UInt8(row.isShadow ? 1 : 0))
            writer.number(row.count)
            writer.number(row.surplus)
            writer.number(row.firstAge)
            writer.number(row.lastAge)
        }
    }

    static func refusals(_ reader: inout PairReader) throws(PairViolation) -> PairRefusals {
        var refusals = PairRefusals(policies: [], rows: [])
        for _ in 0..<(try reader.count(upTo: policiesMax)) {
            let name = try reader.text()
            let admitted: UInt64 = try reader.number()
            let refused: UInt64 = try reader.number()
            let shadow: UInt64 = try reader.number()
            refusals.policies.append(
                PairRefusals.Policy(
                    name: name, admitted: admitted, refused: refused, shadow: shadow,
                    bans: try reader.number()))
        }
        for _ in 0..<(try reader.count(upTo: refusedMax)) {
            let (client, bits) = try reader.network()
            let policy = try reader.text()
            let isShadow = try reader.flag()
            let count: UInt64 = try reader.number()
            let surplus: UInt64 = try reader.number()
            let first: UInt32 = try reader.number()
            refusals.rows.append(
                PairRefusals.Row(
                    client: client, bits: bits, policy: policy, isShadow: isShadow, count: count,
                    surplus: surplus, firstAge: first, lastAge: try reader.number()))
        }
        return refusals
    }
}

extension PairReader {
    /// 0 or 1.
    mutating func flag() throws(PairViolation) -> Bool {
        let byte: UInt8 = try number()
        guard byte <= 1 else { throw violation }
        return byte == 1
    }

    /// An address without a port, and how many of its bits count.
    mutating func network() throws(PairViolation) -> (SocketAddress, UInt8) {
        let client = try address()
        let bits: UInt8 = try number()
        guard client.port == 0, bits <= (client.isIPv4 ? 32 : 128) else { throw violation }
        return (client, bits)
    }
}
