internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeLimits
internal import EdgePair

/// A client who is not served for a while, by name: the table that workers ask knows hashes only.
struct Ban: Sendable, Equatable {
    /// As the policy sees clients; of an administrator's, an IPv4 address or an IPv6 /64.
    var client: ClientNetwork
    /// Nil: made by an administrator, and holds wherever a policy applies.
    var policy: String?
    /// Unix seconds.
    var made: Int64
    var until: Int64
    /// The other node, if it has made it; empty: this one.
    var node = ""

    /// Seconds that it still lasts, and never more than it was made for: a clock that was set, or
    /// that is not yet, must not make years of minutes.
    func remaining(at time: Int64) -> Int64 { min(until - time, until - made) }

    /// What workers ask the table for.
    func key(_ table: BanTable) -> UInt64 {
        table.key(
            policy.map { LimitPlans.banIdentity($0) } ?? LimitPlans.generalBan, client.subject)
    }
}

/// The bans that last, of which the names are known: at most `bansMax`. Pure.
struct BanBook: Equatable {
    /// What a state file has room for; of more, those that end first are not listed.
    static let bansMax = 4_096

    private struct Key: Hashable {
        let client: ClientNetwork
        let policy: String?
    }

    private var bans: [Key: Ban] = [:]
    /// Bans that were dropped for want of room. They hold all the same.
    private(set) var unlisted: Int64 = 0

    /// Another number, other bans.
    private(set) var version: UInt64 = 0

    var count: Int { bans.count }

    /// In no order.
    var all: [Ban] { Array(bans.values) }

    /// The one that ends first is first.
    var list: [Ban] {
        bans.values.sorted {
            // Texts are made only where they decide.
            $0.until != $1.until
                ? $0.until < $1.until
                : ("\($0.client)", $0.policy ?? "") < ("\($1.client)", $1.policy ?? "")
        }
    }

    /// - Returns: false if one that lasts as long is there already.
    @discardableResult
    mutating func add(_ ban: Ban) -> Bool {
        let key = Key(client: ban.client, policy: ban.policy)
        if let known = bans[key] {
            guard ban.until > known.until else { return false }
        } else if bans.count >= Self.bansMax {
            unlisted += 1
            let first = bans.min { $0.value.until < $1.value.until }
            guard let first, first.value.until < ban.until else { return true }
            bans[first.key] = nil
        }
        bans[key] = ban
        version += 1
        return true
    }

    /// Those of a client: that are made for him or for a network that he is in.
    func bans(of client: ClientNetwork, host: SocketAddress) -> [Ban] {
        list.filter { $0.client == client || $0.client.contains(host) }
    }

    /// So many were made of which nobody knows more.
    mutating func noteUnlisted(_ count: Int) { unlisted += Int64(count) }

    mutating func remove(_ ban: Ban) {
        version += 1
        bans[Key(client: ban.client, policy: ban.policy)] = nil
    }

    mutating func expire(at time: Int64) {
        guard bans.values.contains(where: { $0.until <= time }) else { return }
        version += 1
        bans = bans.filter { $0.value.until > time }
    }

    /// Of one policy.
    func count(of policy: String) -> Int { bans.keys.count { $0.policy == policy } }
}

extension Ban {
    /// Nil: it is for nobody, or for no time that a ban can be made for.
    init?(_ status: BanStatus) {
        let (span, isTooLong) = status.until.subtractingReportingOverflow(status.made)
        guard let client = ClientNetwork(status.client), !isTooLong,
            (1...Int64(PairMessage.banMax)).contains(span)
        else { return nil }
        self.init(
            client: client, policy: status.policy, made: status.made, until: status.until,
            node: status.node)
    }

    var status: BanStatus {
        BanStatus(client: "\(client)", policy: policy, made: made, until: until, node: node)
    }
}
