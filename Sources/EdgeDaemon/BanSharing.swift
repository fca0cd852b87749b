internal import EdgeCore
internal import EdgeLimits
internal import EdgePair

/// Bans over the pair: each node tells what it bans and lifts as it happens, and, when there is a
/// link again, all that it knows. Sans-IO; times are Unix seconds of this node, spans on the way.
///
/// A ban that the other node tells of in a list, and that was made before it was lifted here, does
/// not come back; neither does a lifting in a list touch bans that were made after it.
struct BanSharing {
    enum Deed: Sendable, Equatable {
        case ban(Ban)
        case lift(ClientNetwork)
    }

    /// Liftings that are remembered; of more, the oldest is forgotten.
    static let liftedMax = 1_024
    /// What spans in whole seconds can be wrong by, on the way there and back: a ban that comes
    /// back gets no longer by it.
    private static let tolerance: Int64 = 3

    private struct Key: Hashable {
        let client: ClientNetwork
        let policy: String?
    }

    /// Somebody's bans were lifted, at that Unix second.
    struct Lifting: Sendable, Equatable {
        var client: ClientNetwork
        var time: Int64
    }

    private var lifted: [ClientNetwork: Int64] = [:]
    /// Another number, other liftings; it only grows.
    private(set) var version: UInt64 = 0

    // MARK: - Outliving the process

    /// The oldest first.
    var liftings: [Lifting] {
        lifted.map { Lifting(client: $0.key, time: $0.value) }.sorted {
            $0.time != $1.time
                ? $0.time < $1.time : "\($0.client)" < "\($1.client)"
        }
    }

    /// Goes on with what a process before this one remembered. Without those of later than now,
    /// which a clock that is not set makes of all: bans that were made after them must not go.
    mutating func restore(_ liftings: [Lifting], at time: Int64) {
        for lifting in liftings
        where lifting.time <= time && lifting.time > time - Int64(PairMessage.banMax) {
            remember(lifting.client, lifting.time)
        }
    }

    // MARK: - Telling

    /// Something has begun here: what is to be said of it.
    mutating func began(_ change: LimitDesk.Change, at time: Int64) -> PairBan {
        switch change {
        case .banned(let made):
            forget(made.client)
            return PairBan(made, at: time)
        case .lifted(let client):
            remember(client, time)
            return PairBan(lifted: client, age: 0)
        }
    }

    /// All that is known, for a node that may know nothing.
    func opened(_ bans: [Ban], at time: Int64) -> [PairMessage] {
        let liftings = lifted.sorted { $0.value < $1.value }.map {
            PairBan(lifted: $0.key, age: time - $0.value)
        }
        let all = liftings + bans.filter { $0.until > time }.map { PairBan($0, at: time) }
        return stride(from: 0, to: all.count, by: PairMessage.bansMax).map { start in
            let end = min(start + PairMessage.bansMax, all.count)
            return .bans(PairBans(isList: true, bans: Array(all[start..<end])))
        }
    }

    // MARK: - Being told

    /// - Parameters:
    ///   - node: who tells.
    ///   - known: the bans that last here.
    /// - Returns: what is to be done here, in order.
    mutating func take(
        _ told: PairBans, from node: String, known: [Ban], at time: Int64
    ) -> [Deed] {
        var ends: [Key: Int64] = [:]
        for ban in known { ends[Key(client: ban.client, policy: ban.policy)] = ban.until }
        var deeds: [Deed] = []
        for entry in told.bans {
            guard let client = ClientNetwork(entry) else { continue }
            let then = time - Int64(entry.age)
            if entry.remaining == 0 {
                let isOlder = known.contains {
                    ($0.client == client || $0.client.contains(client.base)) && $0.made > then
                }
                guard !told.isList || !isOlder else { continue }
                remember(client, then)
                deeds.append(.lift(client))
                continue
            }
            if told.isList {
                if lifted.contains(where: {
                    ($0.key == client || client.contains($0.key.base)) && then <= $0.value
                }) {
                    continue
                }
            } else {
                forget(client)
            }
            let policy = entry.policy.isEmpty ? nil : entry.policy
            let until = time + Int64(entry.remaining)
            let end = ends[Key(client: client, policy: policy)] ?? 0
            guard end + Self.tolerance < until else { continue }
            deeds.append(
                .ban(Ban(client: client, policy: policy, made: then, until: until, node: node)))
        }
        return deeds
    }

    // MARK: - Liftings

    private mutating func remember(_ client: ClientNetwork, _ time: Int64) {
        guard lifted[client].map({ $0 < time }) ?? true else { return }
        lifted[client] = time
        version += 1
        guard lifted.count > Self.liftedMax else { return }
        if let oldest = lifted.min(by: { $0.value < $1.value }) { lifted[oldest.key] = nil }
    }

    private mutating func forget(_ client: ClientNetwork) {
        if lifted.removeValue(forKey: client) != nil { version += 1 }
    }
}

extension PairBan {
    fileprivate init(_ ban: Ban, at time: Int64) {
        self.init(
            client: ban.client.base, bits: ban.client.bits, policy: ban.policy ?? "",
            age: UInt32(clamping: max(0, time - ban.made)),
            remaining: min(UInt32(clamping: max(1, ban.remaining(at: time))), PairMessage.banMax))
    }

    fileprivate init(lifted client: ClientNetwork, age: Int64) {
        self.init(
            client: client.base, bits: client.bits, policy: "",
            age: UInt32(clamping: max(0, age)), remaining: 0)
    }
}

extension ClientNetwork {
    /// Nil: bits beyond the network's are set.
    fileprivate init?(_ ban: PairBan) {
        self.init(ban.client, ipv4Bits: ban.bits, ipv6Bits: ban.bits)
        guard base == ban.client else { return nil }
    }
}
