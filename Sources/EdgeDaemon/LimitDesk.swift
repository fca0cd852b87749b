internal import EdgeCore
internal import EdgeLimits
internal import EdgeProxy

/// Where bans are made and lifted by name, and where it comes together what the workers' limits
/// have done. What holds is in the table that workers ask; this is who it is about. Control thread.
final class LimitDesk {
    /// What began here, for the other node; what that one has told is not told back.
    enum Change: Sendable, Equatable {
        case banned(Ban)
        /// All of a client's bans, be they of policies or of administrators.
        case lifted(ClientNetwork)
    }

    /// One moment on both clocks.
    struct Moment {
        var instant: Instant
        /// Unix seconds.
        var time: Int64
    }

    /// Who has not been refused for so long is no longer shown.
    static let topSpan = Duration.seconds(900)
    private static let topMax = 512

    /// Nil: nothing is limited.
    let memory: LimitMemory?
    /// Told of every ban and of every lifting that began on this node.
    var changed: ((Change) -> Void)?
    /// Of policies by name, since the process began.
    private(set) var figures: [String: LimitNews.Figures] = [:]
    /// What the other node is to know of bans; it outlives links, and the pair.
    var sharing = BanSharing()
    private var book = BanBook()
    private var top = TopTable<LimitNews.Refused>(capacity: LimitDesk.topMax)

    init(memory: LimitMemory?) { self.memory = memory }

    // MARK: - Bans

    /// Those that last, the one that ends first first.
    func bans(at now: Moment) -> [Ban] {
        book.expire(at: now.time)
        return book.list
    }

    /// The same in no order, for who asks often.
    func allBans(at now: Moment) -> [Ban] {
        book.expire(at: now.time)
        return book.all
    }

    /// Another number, other bans.
    func bansVersion(at now: Moment) -> UInt64 {
        book.expire(at: now.time)
        return book.version
    }

    var bansUnlisted: Int64 { book.unlisted }

    func bannedCount(of policy: String) -> Int { book.count(of: policy) }

    /// Bans somebody, for at least as long as he is banned already.
    ///
    /// - Parameter isOurs: it was decided here: an order or a policy; else the other node has told.
    /// - Returns: whether anything is new.
    @discardableResult
    func apply(_ ban: Ban, isOurs: Bool, at now: Moment) -> Bool {
        guard let memory, ban.until > now.time else { return false }
        let span = min(ban.remaining(at: now.time), Int64(BanTable.spanMax.components.seconds))
        memory.bans.ban(ban.key(memory.bans), for: .seconds(span), now: now.instant)
        guard book.add(ban) else { return false }
        if isOurs { changed?(.banned(ban)) }
        return true
    }

    /// Lifts all bans of a client: those that are listed, an administrator's, and those of the
    /// policies that are in use, whether or not they are listed.
    ///
    /// - Parameter host: the one of the network whom it is about, for policies that tell hosts of
    ///   an IPv6 /64 apart; nil: the first.
    /// - Returns: how many there were.
    @discardableResult
    func lift(
        _ client: ClientNetwork, host: SocketAddress? = nil, plans: LimitPlans, isOurs: Bool,
        at now: Moment
    ) -> Int {
        guard let memory else { return 0 }
        let bans = memory.bans
        let host = host ?? client.base
        var keys = Set<UInt64>()
        var isNarrow = plans.policies.contains { !host.isIPv4 && $0.ipv6Bits > client.bits }
        for ban in book.bans(of: client, host: host) {
            isNarrow = isNarrow || ban.client.bits > client.bits
            keys.insert(ban.key(bans))
            book.remove(ban)
        }
        keys.insert(
            bans.key(LimitPlans.generalBan, LimitSubject(client: client.base)))
        for policy in plans.policies {
            keys.insert(bans.key(policy.banIdentity, policy.banned(host)))
        }
        let count = keys.count { bans.lift($0, now: now.instant) }
        // The other node finds wider networks by the host, but no host by his network.
        if isOurs { changed?(.lifted(isNarrow ? ClientNetwork(host, ipv6Bits: 128) : client)) }
        return count
    }

    /// Goes on with what a process before this one has listed. In memory that it has used as well,
    /// only those that still hold are listed; new memory learns all of them.
    func restore(_ bans: [Ban], at now: Moment) {
        guard let memory else { return }
        let isNew = memory.bans.table.count(.inserted) == 0
        for ban in bans where ban.until > now.time {
            guard isNew || memory.bans.remaining(ban.key(memory.bans), now: now.instant) > 0
            else { continue }
            apply(ban, isOurs: false, at: now)
        }
    }

    // MARK: - What workers tell

    func took(_ news: LimitNews, at now: Moment) {
        for (name, more) in news.policies { figures[name, default: LimitNews.Figures()] += more }
        for row in news.refused {
            top.note(
                row.key, count: row.count, surplus: row.surplus, first: row.first, now: row.last)
        }
        for banned in news.banned {
            Log.notice(
                banned.isShadow ? "limits: would be banned" : "limits: banned",
                [
                    "client": "\(banned.client)", "policy": banned.policy,
                    "for": "\(banned.span.components.seconds) s",
                ])
            guard !banned.isShadow, let memory else { continue }
            let ban = Ban(
                client: banned.client, policy: banned.policy, made: now.time,
                until: now.time + banned.span.components.seconds)
            // The table has it already, unless it was lifted since; this is its name.
            let left = memory.bans.remaining(ban.key(memory.bans), now: now.instant)
            guard left > 0 else { continue }
            if book.add(ban) { changed?(.banned(ban)) }
        }
        if news.bannedMore > 0 {
            Log.notice("limits: more clients were banned", ["count": "\(news.bannedMore)"])
            book.noteUnlisted(news.bannedMore)
        }
    }

    /// Other policies are in use.
    func keep(policies: Set<String>) {
        figures = figures.filter { policies.contains($0.key) }
        top.remove { !$0.policy.isEmpty && !policies.contains($0.policy) }
    }

    /// Who was refused most lately.
    func refused(at now: Moment) -> [TopTable<LimitNews.Refused>.Row] {
        let span = Self.topSpan.nanoseconds
        let since = now.instant.nanoseconds > span ? now.instant.nanoseconds - span : 0
        top.forget(before: Instant(nanoseconds: since))
        return top.sorted
    }
}

extension LimitDesk.Moment {
    static func now() -> LimitDesk.Moment {
        LimitDesk.Moment(instant: .now(), time: Int64(WallClock.now() / 1_000_000_000))
    }
}
