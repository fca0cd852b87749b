internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// Makes ticket keys when they are due and publishes them to the workers, in memory that the next
/// proxy finds again. Control thread; the only writer of that memory.
final class TicketKeeper {
    let memory: TicketMemory
    private let loop: PollLoop
    private let block: SharedBoard.Block
    private(set) var ring: TicketKeyRing
    /// Called when there are other keys, or another one seals.
    var onChange: () -> Void = {}
    private var timer: TimerID?

    /// Between two attempts when the kernel gives no random bytes.
    private static let retry = Duration.seconds(5)
    /// The longest wait, so that the clock's adjustments can't add up.
    private static let waitMax = Duration.seconds(3600)

    /// Takes up what a predecessor has left and makes the first key if there is none.
    ///
    /// - Throws: if there is no key and none can be made.
    init(
        memory: TicketMemory, loop: PollLoop, block: SharedBoard.Block, lifetime: Duration
    ) throws(SystemError) {
        self.memory = memory
        self.loop = loop
        self.block = block
        ring = TicketKeyRing(keys: memory.read()?.keys ?? [], lifetime: lifetime)
        if ring.due <= loop.now { try rotate() }
        block.set(.ticketKeys, UInt64(ring.keys.count))
        schedule()
    }

    deinit { if let timer { loop.cancel(timer) } }

    /// For how long sessions may be resumed from now on.
    func use(lifetime: Duration) {
        guard lifetime != ring.lifetime else { return }
        ring.lifetime = lifetime
        check()
    }

    private func check() {
        if let timer { loop.cancel(timer) }
        timer = nil
        if ring.due <= loop.now {
            do throws(SystemError) {
                try rotate()
            } catch {
                // What there is goes on sealing: better an old key than no resumption.
                Log.error("ticket keys: \(error)")
                timer = loop.schedule(after: Self.retry) { [weak self] in self?.check() }
                return
            }
        }
        schedule()
    }

    private func rotate() throws(SystemError) {
        var random = [UInt8](repeating: 0, count: TicketKey.randomBytes)
        guard ce_getrandom(&random, random.count) == random.count else {
            throw SystemError(errnoOf: "getrandom")
        }
        let now = loop.now
        let key = TicketKey(random: random, madeAt: now, createdSeconds: Int64(time(nil)))
        ring.rotate(to: key, now: now)
        block.add(.ticketKeyRotations)
        publish()
    }

    private func publish() {
        memory.publish(ring.keys)
        block.set(.ticketKeys, UInt64(ring.keys.count))
        onChange()
    }

    // MARK: - Of a pair

    /// The newest key of that node seals from now on; 0: this one's.
    func follow(_ leader: UInt64) {
        if ring.follow(leader, now: .now()) { publish() }
        check()
    }

    /// Takes up keys of the other node.
    ///
    /// - Returns: how many of them were not known.
    func merge(_ keys: [TicketKey]) -> Int {
        let known = Set(ring.keys.map(\.id))
        guard ring.merge(keys, now: .now()) else { return 0 }
        publish()
        check()
        return ring.keys.reduce(0) { $0 + (known.contains($1.id) ? 0 : 1) }
    }

    private func schedule() {
        let wait = Duration(nanoseconds: ring.due.nanoseconds(since: loop.now))
        timer = loop.schedule(after: min(wait, Self.waitMax)) { [weak self] in self?.check() }
    }
}
