internal import EdgeCore
internal import EdgeLimits
internal import EdgePair
internal import EdgeProxy
internal import EdgeSystem

/// The way of what workers admit to the other node, and of what that one admits into our table.
final class PairLimits {
    private unowned let side: PairSide
    let loop: PollLoop
    private var sharing: LimitSharing
    private let workers: WorkerGroup
    private let rings: [AdmittedRing]
    private var timer: TimerID?
    private var toldAt: Instant
    private var newsTimer: TimerID?
    private var toldNews: PairRefusals?
    /// Bans of this moment, in the order in which they were made or lifted.
    var begun: [PairBan] = []
    var banTimer: TimerID?
    /// Bans of the other node's that hold here.
    var bansTaken = 0
    /// Nil while there is no link, and until it has said.
    var told: Told?

    /// Between two words of what is refused, if there is anything new.
    private static let newsPeriod = Duration.seconds(2)
    /// Bans of one moment are told together.
    static let banDelay = Duration.milliseconds(100)

    /// From now on workers say what they admit.
    init(_ side: PairSide, memory: LimitMemory, workers: WorkerGroup) {
        self.side = side
        loop = side.service.loop
        self.workers = workers
        toldAt = loop.now
        sharing = LimitSharing(
            memory: memory, incarnation: UInt64.random(in: 1 ... .max), now: loop.now)
        rings = workers.mailboxes.map { mailbox in
            let ring = AdmittedRing()
            mailbox.post(.tellAdmitted(ring))
            return ring
        }
    }

    deinit { stopTimers() }

    private func stopTimers() {
        for timer in [timer, newsTimer, banTimer].compactMap({ $0 }) { loop.cancel(timer) }
        timer = nil
        newsTimer = nil
        banTimer = nil
    }

    var desk: LimitDesk { side.service.limitDesk }
    var peerName: String { side.peerName }
    var currentPlans: LimitPlans? { side.service.snapshot?.limits }
    func send(_ message: PairMessage) { side.link?.send(message) }

    /// Nobody is told any more.
    func close() {
        workers.post(.tellAdmitted(nil))
        stopTimers()
    }

    var counts: LimitSharing.Counts {
        var counts = sharing.counts
        for ring in rings { counts.lost &+= ring.lost }
        return counts
    }

    func use(_ plans: LimitPlans) { sharing.use(plans) }

    // MARK: - The link

    func opened() {
        // First: what was admitted until now is in the debts.
        collect()
        for message in sharing.opened(now: .now()) { send(message) }
        tellBans()
        toldNews = nil
        tellNews()
    }

    func closed() {
        sharing.closed()
        told = nil
        if let newsTimer { loop.cancel(newsTimer) }
        newsTimer = nil
    }

    /// What is refused here, as long as there is a link.
    private func tellNews() {
        if let newsTimer { loop.cancel(newsTimer) }
        newsTimer = loop.schedule(after: Self.newsPeriod) { [weak self] in self?.tellNews() }
        guard (side.link?.unsent ?? 0) <= LimitSharing.unsentMax, let news = refusals(at: .now()),
            news.isOther(than: toldNews)
        else { return }
        toldNews = news
        send(.refusals(news))
    }

    func take(_ costs: PairCosts) { sharing.take(costs, now: .now()) }
    func take(_ debts: [PairDebt]) { sharing.take(debts, now: .now()) }
    func take(_ key: PairTextKey) { sharing.take(key, now: .now()) }

    // MARK: - Time

    /// Some worker has admitted something: the other node is told at once, or a period after it was
    /// told last.
    func admitted() {
        guard timer == nil else { return }
        let due = toldAt.advanced(by: LimitSharing.period)
        guard loop.now < due else { return tell() }
        timer = loop.schedule(at: due) { [weak self] in
            guard let self else { return }
            timer = nil
            tell()
        }
    }

    private func tell() {
        toldAt = .now()
        collect()
        guard sharing.isLinked else { return }
        for message in sharing.batches(now: toldAt, unsent: side.link?.unsent ?? 0) {
            send(message)
        }
        // What there was no room for goes with the next ones.
        if sharing.hasCosts { admitted() }
    }

    private func collect() {
        for ring in rings { ring.drain { sharing.admitted($0) } }
    }
}

extension PairRefusals {
    /// Something happened since; that time has passed is no news.
    fileprivate func isOther(than told: PairRefusals?) -> Bool {
        guard let told, policies == told.policies, rows.count == told.rows.count else {
            return true
        }
        return zip(rows, told.rows).contains { $0.count != $1.count || $0.client != $1.client }
    }
}
