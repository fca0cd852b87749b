import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import EdgeLimits
import EdgeRing
import EdgeSystem
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Synchronization
import Testing

@testable import EdgeProxy

/// A worker over a scripted kernel, with a clock of its own. After each turn the rules of the
/// kernel and the worker's own books are checked.
final class Bench {
    static let listener: Int32 = 100
    static let tlsListener: Int32 = 101
    static let redirectListener: Int32 = 102
    static let tcpListener: Int32 = 103
    static let loopID: UInt64 = 0x0123_4567_89AB_CDEF

    struct Options {
        var connectionsMax = 16
        var chunkBudget = 64 << 20
        var members: [SocketAddress] = [Bench.member(1)]
        var isTLSUpstream: RuntimeSnapshot.PoolTLS?
        var certificates = CertificateStore(entries: [])
        var buffers = 64
        var uploadMin = 0
        var sendsProxyHeader = false
        var memberMax = 0
        var queueMax = 2
        var downloadMin = 0
        var accessLog: AccessLog?
        var client = ClientPolicy()
        var version = UpstreamProtocol.http1
        var http2 = HTTP2Settings()
        var balance = BalancePolicy.roundRobin
        var sticky: StickyPolicy?
        var retries = RetryPolicy()
        var raceAfter = Duration.zero
        var secret = KeyedHash(seed: 0)
        var requestsMax = 0
        var tellsFailures = 0
        var retriesAlways = 100
        /// Nil: one view with the host `home.example`.
        var challengePool: Int32?
        var routing: Routing?
        var interfaces: () -> [NetworkInterface] = { [] }
        var limits = LimitPlans()
        var limitMemory: LimitMemory?
        var pressure = ProcessPressure()
        var descriptorReserve = 0
    }

    final class Events: Sendable {
        private let all = Mutex<[WorkerEvent]>([])
        func add(_ event: WorkerEvent) { all.withLock { $0.append(event) } }
        var list: [WorkerEvent] { all.withLock { $0 } }
    }

    /// What a worker reads to see how long something takes: stands still, or goes on by a step with
    /// each look.
    final class Stopwatch {
        var now = Instant(nanoseconds: 0)
        var step = Duration.zero

        func read() -> Instant {
            now = now.advanced(by: step)
            return now
        }
    }

    let ring: ScriptedRing
    let worker: Worker
    let block: SharedBoard.Block
    let board: SharedBoard
    let tickets: TicketMemory
    let mailbox: Mailbox
    let events = Events()
    let options: Options
    let stopwatch = Stopwatch()
    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    private var clientCount = 0
    /// Reported once, so that one fault is not a thousand lines.
    private var reported = 0

    static func member(_ number: Int) -> SocketAddress {
        SocketAddress(ipv4: 0x0A00_0000 + UInt32(number), port: 8080)
    }

    init(_ options: Options = Options(), serving: Bool = true) throws {
        self.options = options
        ring = ScriptedRing(buffers: options.buffers)
        let file = try MemoryFile.make(name: "board", byteCount: SharedBoard.byteCount(workers: 1))
        board = try SharedBoard(descriptor: file.raw, workers: 1, create: true)
        let keys = try MemoryFile.make(name: "tickets", byteCount: TicketMemory.byteCount)
        tickets = try TicketMemory(descriptor: keys.raw)
        block = board.block(1)
        mailbox = try #require(Mailbox())
        let events = events
        worker = try Worker(
            Worker.Setup(
                index: 0,
                listeners: [
                    (0, Bench.listener), (1, Bench.tlsListener), (2, Bench.redirectListener),
                    (3, Bench.tcpListener),
                ],
                connectionsMax: options.connectionsMax, chunkBudget: options.chunkBudget,
                tickets: tickets, seed: 1, loopMark: LoopMark(id: Bench.loopID),
                interfaces: options.interfaces, limits: options.limitMemory,
                pressure: options.pressure, descriptorReserve: options.descriptorReserve),
            ring: ring, block: block, mailbox: mailbox,
            snapshot: Bench.snapshot(1, options, options.members), now: now,
            report: { events.add($0) })
        worker.clock = { [stopwatch] in stopwatch.read() }
        stopwatch.now = now
        if serving {
            worker.handle(.serve)
            turn()
        }
    }

    static func snapshot(
        _ epoch: UInt64, _ options: Options, _ members: [SocketAddress],
        pool: Int32 = 0, replaces other: Int32? = nil, hosts: [String] = ["home.example"]
    ) -> RuntimeSnapshot {
        snapshot(
            epoch, options, ranked: members.map { RankedMember(address: $0) }, pool: pool,
            replaces: other, hosts: hosts)
    }

    /// - Parameter other: a pool of the same upstream, which this one is there in place of.
    static func snapshot(
        _ epoch: UInt64, _ options: Options, ranked: [RankedMember],
        pool: Int32 = 0, replaces other: Int32? = nil, hosts: [String] = ["home.example"]
    ) -> RuntimeSnapshot {
        RuntimeSnapshot(
            epoch: epoch,
            routing: options.routing ?? Routing(hosts.map { ($0, 0, pool) }, fallback: nil),
            certificates: options.certificates,
            listeners: [
                .init(name: "plain", isTLS: false, redirectPort: nil, port: 80),
                .init(name: "tls", isTLS: true, redirectPort: nil, port: 443),
                .init(
                    name: "redirect", isTLS: false, redirectPort: 8443,
                    challengePool: options.challengePool),
                .init(name: "tcp", isTLS: false, redirectPort: nil, relayPool: pool),
            ],
            pools: [
                .init(
                    id: pool, lineage: other ?? pool,
                    view: view(options, ranked, other ?? pool),
                    tls: options.isTLSUpstream,
                    version: options.version, sendsProxyHeader: options.sendsProxyHeader,
                    queueMax: options.queueMax, queueTimeout: .seconds(4),
                    connectTimeout: .seconds(3), responseTimeout: .seconds(20),
                    bodyTimeout: .seconds(30), idleTimeout: .seconds(60))
            ],
            timeouts: .init(
                handshake: .seconds(5), requestHead: .seconds(10), keepAlive: .seconds(75),
                body: .seconds(30), tcp: .seconds(600), uploadMin: options.uploadMin,
                downloadMin: options.downloadMin),
            requestLimits: HeadLimits(), responseLimits: HeadLimits(),
            accessLog: options.accessLog, client: options.client, http2: options.http2,
            limits: options.limits)
    }

    static func view(
        _ options: Options, _ members: [RankedMember], _ pool: Int32 = 0
    ) -> UpstreamView {
        UpstreamView(
            id: pool, name: "app", members: members, balance: options.balance,
            sticky: options.sticky, tellsFailures: options.tellsFailures,
            retries: options.retries, memberMax: options.memberMax,
            requestsMax: options.requestsMax, raceAfter: options.raceAfter,
            retriesAlways: options.retriesAlways, secret: options.secret)
    }

    // MARK: - Time

    /// Lets the kernel step and runs a turn.
    func turn(after span: Duration = .zero) {
        quietTurn(after: span)
        inspect()
    }

    /// A turn whose books the caller looks at.
    ///
    /// - Parameter lag: how long the turn before is said to have taken, with work waiting.
    func quietTurn(after span: Duration, lag: Duration = .zero) {
        now = now.advanced(by: span)
        stopwatch.now = now
        ring.step()
        worker.startTurn(now, lag: lag.nanoseconds)
    }

    /// Turns until nothing is left to do at this moment.
    func settle() {
        for _ in 0..<50 {
            turn(after: Duration(nanoseconds: worker.handshakeWait))
            ring.step()
            if ring.isQuiet, worker.deferredFirst == worker.deferred.count,
                worker.bulkFirst == worker.bulkReady.count, worker.backlog.isEmpty,
                worker.acceptPending != .now
            {
                return
            }
        }
        worker.startTurn(now)
        inspect()
    }

    /// Time passes in small steps, as the loop would be woken.
    func pass(_ span: Duration) {
        let end = now.advanced(by: span)
        while now < end {
            let left = Duration(nanoseconds: end.nanoseconds(since: now))
            turn(after: min(left, .milliseconds(500)))
        }
        settle()
    }

    /// Time passes in steps of the timer's own size.
    func tick(_ span: Duration) {
        let end = now.advanced(by: span)
        while now < end { turn(after: .milliseconds(10)) }
        settle()
    }

    // MARK: - Clients and upstreams

    /// A client that has been accepted.
    ///
    /// - Parameter address: nil: another one for each.
    func client(
        _ listener: Int32 = Bench.listener, from address: SocketAddress? = nil
    ) -> Int32 {
        clientCount += 1
        let before = ring.accepted.count
        let own = SocketAddress(ipv4: 0xC000_0200 + UInt32(clientCount % 200), port: 40_000)
        ring.incoming(listener, [address ?? own])
        settle()
        return ring.accepted.count > before ? ring.accepted[before] : -1
    }

    func send(_ client: Int32, _ text: String) {
        ring.receives(client, text)
        settle()
    }

    /// The newest connection to an upstream.
    var upstream: Int32 { ring.opened.last ?? -1 }

    func get(_ path: String = "/", _ more: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: home.example\r\n\(more)\r\n"
    }

    static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    /// The members of the pool, for other snapshots.
    func apply(
        _ epoch: UInt64, _ members: [SocketAddress], pool: Int32 = 0, replaces other: Int32? = nil
    ) {
        worker.handle(
            .apply(Bench.snapshot(epoch, options, members, pool: pool, replaces: other)))
    }

    /// The same with other views and rules.
    func apply(_ epoch: UInt64, routing: Routing) {
        var options = options
        options.routing = routing
        worker.handle(.apply(Bench.snapshot(epoch, options, options.members)))
    }

    /// Other verdicts about the members, as the control thread publishes them.
    func judge(_ ranks: [(Int, MemberRank)]) {
        let ranked = ranks.map { RankedMember(address: Bench.member($0), rank: $1) }
        worker.handle(
            .apply(
                RuntimeSnapshot(
                    worker.snapshot, epoch: worker.snapshot.epoch + 1,
                    views: [0: Bench.view(options, ranked)])))
    }

    /// Connections that were begun to the member, the oldest first.
    func opened(to number: Int) -> [Int32] {
        ring.opened.filter { ring.address(of: $0) == Bench.member(number) }
    }

    /// What was observed of the member, in order.
    func observations(_ number: Int) -> [MemberObservation] {
        events.list.compactMap { event in
            guard case .observed(_, Bench.member(number), let seen) = event else { return nil }
            return seen
        }
    }

    func count(_ counter: Counter) -> UInt64 { block.value(counter) }
    func count(_ reason: ReasonCode) -> UInt64 { block.value(reason) }

    var isStopped: Bool { worker.phase == .stopped }

    // MARK: - Books

    /// Nothing is open and nothing is held any more.
    func expectEmpty(_ location: SourceLocation = #_sourceLocation) {
        #expect(ring.openDescriptors.isEmpty, sourceLocation: location)
        #expect(worker.downstreamSlots.used == 0, sourceLocation: location)
        #expect(worker.upstreamSlots.used == 0, sourceLocation: location)
        #expect(worker.exchangeSlots.used == 0, sourceLocation: location)
        #expect(worker.clientStreamSlots.used == 0, sourceLocation: location)
        #expect(worker.upstreamStreamSlots.used == 0, sourceLocation: location)
        #expect(count(Counter.http2Connections) == 0, sourceLocation: location)
        #expect(count(Counter.http2Streams) == 0, sourceLocation: location)
        #expect(count(Counter.requestsWaiting) == 0, sourceLocation: location)
        #expect(worker.chunks.bytesInUse == 0, sourceLocation: location)
        #expect(ring.buffersLent == 0, sourceLocation: location)
    }

    func inspect() {
        for violation in ring.violations.dropFirst(reported) { Issue.record("\(violation)") }
        reported = ring.violations.count
        for fault in faults() { Issue.record("\(fault)") }
    }

    /// What is wrong with the worker's books.
    func faults(buffersHidden: Int = 0) -> [String] {
        var faults: [String] = []
        func check(_ isRight: Bool, _ text: @autoclosure () -> String) {
            if !isRight { faults.append(text()) }
        }
        let worker = worker
        check(
            count(.connectionsOpen) == UInt64(worker.downstreamSlots.used), "connectionsOpen")
        check(
            count(.upstreamConnectionsOpen) == UInt64(worker.upstreamSlots.used),
            "upstreamConnectionsOpen")
        check(count(.requestsActive) == UInt64(worker.exchangeSlots.used), "requestsActive")
        check(
            ring.buffersLent == buffersHidden + worker.backlog.buffers, "buffers not given back")
        check(worker.stageSlot == -1, "bytes left on the stage")
        var idle: UInt64 = 0
        var exchanges = 0
        for slot in 0..<worker.downstreamSlots.touched {
            let channel = worker.channels[slot].pointee
            if channel.phase == .free { continue }
            checkTransport(slot, &faults)
            let exchange = Int(worker.downstreams[slot].pointee.exchange)
            // `refuse` leaves the number behind (RequestTests.refusedNumber); nobody looks at it.
            guard exchange >= 0, worker.downstreams[slot].pointee.phase != .ended else { continue }
            exchanges += 1
            let state = worker.exchanges[exchange].pointee
            check(
                state.phase != .free && Int(state.downstream) == slot,
                "client \(slot) names an exchange that is not its own")
            check(
                state.elder < 0
                    || Int(worker.upstream(Int(state.elder)).pointee.exchange) == exchange,
                "exchange \(exchange) has an older attempt that is not its own")
        }
        checkStreams(&faults, &exchanges)
        check(exchanges == worker.exchangeSlots.used, "an exchange without a client")
        for index in 0..<worker.upstreamSlots.touched {
            let slot = worker.upstreamBase + index
            if worker.channels[slot].pointee.phase == .free { continue }
            checkTransport(slot, &faults)
            let upstream = worker.upstreams[index].pointee
            if upstream.phase == .idle { idle += 1 }
            guard upstream.exchange >= 0 else { continue }
            let state = worker.exchanges[Int(upstream.exchange)].pointee
            check(
                state.phase != .free
                    && (Int(state.upstream) == slot || Int(state.elder) == slot
                        || rivals(of: state).contains(slot)),
                "upstream \(slot) names an exchange that is not its own")
        }
        checkMembers(&faults)
        checkPauses(&faults)
        check(count(.upstreamConnectionsIdle) == idle, "upstreamConnectionsIdle")
        checkQueues(&faults)
        faults += trafficFaults()
        return faults
    }

    /// Each queue is as long as it says, linked both ways, and nobody waits in it for ever.
    private func checkQueues(_ faults: inout [String]) {
        var total = 0
        for case let pool? in worker.pools {
            var previous: Int32 = -1
            var next = pool.queueFirst
            var length = 0
            var preceding = 0
            while next >= 0, length <= pool.queueCount {
                let state = worker.exchanges[Int(next)].pointee
                let client = worker.channels[Int(state.downstream)].pointee
                if !state.flags.contains(.queued) || state.phase == .free
                    || state.pool != pool.id || state.queuePrevious != previous
                    || state.upstream >= 0
                {
                    faults.append("exchange \(next) is wrong in queue \(pool.id)")
                }
                if client.deadlineKind != .queue, client.output.isEmpty,
                    client.flags.isDisjoint(with: [.queued, .broken, .drained])
                {
                    faults.append("exchange \(next) waits without a deadline")
                }
                length += 1
                if state.flags.contains(.precedes) {
                    // They are the first, without a gap.
                    if preceding != length - 1 { faults.append("exchange \(next) precedes") }
                    preceding += 1
                    if preceding == pool.queuePreceding, next != pool.queueLastPreceding {
                        faults.append("queue \(pool.id): another is the last that precedes")
                    }
                }
                previous = next
                next = state.queueNext
            }
            if pool.group.pools.reduce(0, { $0 + $1.queueCount }) != pool.group.waiting {
                faults.append("group \(pool.group.id) waits wrongly")
            }
            if preceding != pool.queuePreceding
                || pool.queueLastPreceding >= 0 && preceding == 0
            {
                faults.append("queue \(pool.id): \(preceding) precede")
            }
            if length != pool.queueCount || previous != pool.queueLast {
                faults.append("queue \(pool.id): \(length) linked, \(pool.queueCount) counted")
            }
            total += length
        }
        if count(Counter.requestsWaiting) != UInt64(total) { faults.append("requestsWaiting") }
    }

    private func checkTransport(_ slot: Int, _ faults: inout [String]) {
        let channel = worker.channels[slot].pointee
        var expected: Set<EdgeRing.Operation> = []
        if channel.inFlight.contains(.receive) { expected.insert(.receive) }
        if channel.inFlight.contains(.send) { expected.insert(.send) }
        if channel.inFlight.contains(.connect) { expected.insert(.connect) }
        if channel.inFlight.contains(.cancel) { expected.insert(.cancel) }
        // What the kernel has said of a connection, and waits for its turn, is its still.
        var actual = ring.inFlight(channel.descriptor)
        let backlogged = worker.backlog.waiting.filter {
            switch $0 {
            case .completion(let completion), .copied(let completion, _):
                completion.token.slot == slot
            case .held, .due: false
            }
        }
        if Int(channel.backlogged) != backlogged.count { faults.append("slot \(slot): backlog") }
        if !backlogged.isEmpty { actual.insert(.receive) }
        let waiting = worker.bulkReady.dropFirst(worker.bulkFirst)
        if waiting.contains(where: { $0.token.slot == slot }) { actual.insert(.receive) }
        if expected != actual {
            faults.append("slot \(slot): in flight \(actual), booked \(expected)")
        }
        if ring.isClosed(channel.descriptor) { faults.append("slot \(slot) holds a closed fd") }
    }
}
