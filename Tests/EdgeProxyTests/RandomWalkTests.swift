import CEdge
import EdgeCore
import EdgeLimits
import EdgeRing
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// Random lives of a worker under everything a kernel, clients and upstreams may do. After every
/// turn the books are checked (`Bench.faults`), at the end nothing may be left.
@Suite("Worker: random walk") struct RandomWalkTests {
    /// Clients and upstreams that behave well, badly and not at all.
    private final class Walk {
        let bench: Bench
        var random: SeededRandom
        var clients: [Int32] = []
        var seen = 0
        var hidden: [UInt16] = []
        var epoch: UInt64 = 1
        /// Some clients are of low priority, until a reload.
        var isRanked = false
        var rules: WalkRules

        init(_ random: SeededRandom, log: AccessLog? = nil) throws {
            var random = random
            var options = Bench.Options()
            options.members = (1...3).map { Bench.member($0) }
            options.connectionsMax = 12
            options.chunkBudget = 2 << 20
            options.buffers = 16
            options.accessLog = log
            // Some lives with limits and queues, PROXY headers and least rates.
            options.memberMax = random.chance(1, of: 2) ? 2 : 0
            options.queueMax = 3
            options.sendsProxyHeader = random.chance(1, of: 4)
            options.uploadMin = random.chance(1, of: 3) ? 200 : 0
            options.downloadMin = random.chance(1, of: 3) ? 200 : 0
            if random.chance(1, of: 2) { options.retries.hedgeAfter = .milliseconds(150) }
            if random.chance(1, of: 3) { options.sticky = StickyPolicy(cookie: "E") }
            if random.chance(1, of: 3) { options.balance = .hash(.client) }
            options.raceAfter = random.chance(3, of: 4) ? .milliseconds(150) : .zero
            options.requestsMax = random.chance(1, of: 4) ? 4 : 0
            options.tellsFailures = 3
            if random.chance(1, of: 2) { options.retries.statuses = [503] }
            if random.chance(1, of: 3) { options.retries.perTry = .seconds(2) }
            if random.chance(1, of: 3) { options.retries.overall = .seconds(5) }
            if random.chance(1, of: 2) {
                let policy = try Shaping.policy([.upload, .download], 50_000, burst: 10_000)
                options.routing = Shaping.routing()
                options.limits = Shaping.plans(policy)
                options.limitMemory = try Shaping.memory()
            } else if random.chance(2, of: 3) {
                isRanked = true
                RankedViews.use(&options)
            }
            self.random = random
            bench = try Bench(options)
            if isRanked { bench.arriveByPort() }
            rules = WalkRules(bench)
            bench.ring.disorder = SeededRandom(seed: random.seed &+ 1)
        }

        func number(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

        func step() {
            for _ in 0..<(1 + number(4)) { event() }
            turn(after: random.chance(1, of: 10) ? .milliseconds(number(4_000)) : .zero)
        }

        func turn(after span: Duration) {
            if isRanked {
                bench.stopwatch.step =
                    [.zero, .zero, .microseconds(100), .milliseconds(1)][
                        number(4)]
            }
            bench.quietTurn(after: span)
            rules.look()
            for descriptor in bench.ring.accepted.dropFirst(seen) {
                clients.append(descriptor)
                if random.chance(1, of: 4) { bench.ring.setRoom(descriptor, number(3_000)) }
            }
            seen = bench.ring.accepted.count
            clients.removeAll { bench.ring.isClosed($0) }
        }

        private func event() {
            switch number(25) {
            case 23: judge()
            case 24: pause()
            case 0, 1: arrive()
            case 2...6: speak()
            case 7...11: answer()
            case 12: leave()
            case 13, 14: changeRoom()
            case 15: bench.ring.acceptFailures = random.chance(1, of: 3) ? [EMFILE] : []
            case 16: bench.ring.socketFailures = random.chance(1, of: 3) ? [EMFILE] : []
            case 17: starve()
            case 18: connectSome()
            case 19: pauseServing()
            case 20: flood()
            case 21: bench.ring.setUnacknowledged(anybody() ?? -1, number(100_000))
            default: if random.chance(1, of: 5) { reload() }
            }
        }

        private func anybody() -> Int32? {
            bench.ring.openDescriptors.randomElement(using: &random)
        }

        /// The same members in another light.
        private func judge() {
            // Commands may have accepted clients, whose connections go by the older ranks.
            rules.look()
            let ranks: [MemberRank] = [.preferred, .preferred, .fallback, .boundOnly, .never]
            bench.judge((1...4).map { ($0, ranks[number(5)]) })
            rules.look()
        }

        /// A host is silent, or speaks again; or just time passes.
        private func pause() {
            guard let descriptor = anybody() else { return }
            bench.ring.setSilence(
                descriptor, random.chance(1, of: 2) ? nil : .milliseconds(number(12_000)))
            turn(after: .milliseconds(number(300)))
        }

        /// Other members, and now and then other limits.
        private func reload() {
            rules.look()
            epoch += 1
            let members = (1...4).filter { _ in random.chance(2, of: 3) }.map { Bench.member($0) }
            var options = bench.options
            if random.chance(1, of: 3) {
                options.memberMax = number(4)
                options.queueMax = number(4)
                options.sendsProxyHeader.toggle()
            }
            let pool = Int32(number(2))
            if isRanked {
                options.routing = RankedViews.routing(
                    pool: pool, isLow: random.chance(3, of: 4))
            } else if options.routing != nil {
                options.routing = Shaping.routing(pool: pool)
                if random.chance(1, of: 2) {
                    options.limits = Shaping.plans(LimitPolicy(name: "none"))
                }
            }
            bench.worker.handle(.apply(Bench.snapshot(epoch, options, members, pool: pool)))
            rules.look()
        }

        /// Bulk from anybody, whether it fits the protocol or not.
        private func flood() {
            guard let descriptor = anybody() else { return }
            let length = 20_000 + number(400_000)
            let text: String
            switch number(3) {
            case 0: text = ""
            case 1: text = "HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n"
            default:
                text = "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: \(length)\r\n\r\n"
            }
            bench.ring.receives(descriptor, text)
            bench.ring.receives(descriptor, [UInt8](repeating: 0x66, count: length))
        }

        /// Now and then nothing is accepted for a while.
        private func pauseServing() {
            switch bench.worker.phase {
            case .serving: if random.chance(1, of: 10) { bench.worker.handle(.stopAccepting) }
            case .closed: bench.worker.handle(.serve)
            case .waiting, .closing, .draining, .stopped: break
            }
        }

        private func arrive() {
            let listeners = [
                Bench.listener, Bench.listener, Bench.listener, Bench.tlsListener,
                Bench.redirectListener, Bench.tcpListener, Bench.tcpListener,
            ]
            bench.ring.incoming(
                listeners[number(7)],
                [SocketAddress(ipv4: 0xC000_0201, port: UInt16(1 + number(2)))],
                isAnnounced: random.chance(9, of: 10))
        }

        private func speak() {
            guard let client = clients.randomElement(using: &random) else { return }
            let host = "Host: home.example\r\n"
            let length = number(random.chance(1, of: 4) ? 30_000 : 1_000)
            let texts = [
                "GET / HTTP/1.1\r\n\(host)\r\n", "GET /a HTTP/1.1\r\n\(host)\r\nGET /b HT",
                "TP/1.1\r\n\(host)\r\n",
                "POST / HTTP/1.1\r\n\(host)Content-Length: 5\r\n\r\nhello",
                "PUT / HTTP/1.1\r\n\(host)Content-Length: \(length)\r\n\r\n",
                String(repeating: "y", count: length),
                "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                "3\r\nabc\r\n", "0\r\n\r\n", "0\r\nX: y\r\n\r\n",
                "GET / HTTP/1.0\r\n\(host)\r\n", "HEAD / HTTP/1.1\r\n\(host)\r\n",
                "GET / HTTP/1.1\r\n\(host)Connection: close\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", "\r\n", "x y z\r\n\r\n",
                "PUT / HTTP/1.1\r\n\(host)Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
                RequestTests.upgrade(bench),
            ]
            deliver(client, texts[number(texts.count)])
        }

        private func answer() {
            let open = bench.ring.opened.suffix(60).filter { !bench.ring.isClosed($0) }
            guard let upstream = open.randomElement(using: &random) else { return }
            let length = number(random.chance(1, of: 4) ? 40_000 : 1_000)
            let texts = [
                Bench.ok, Bench.ok, Bench.ok,
                "HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n"
                    + String(repeating: "z", count: length),
                "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nz",
                String(repeating: "z", count: 499),
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
                "2\r\ncd\r\n", "0\r\n\r\n", "0\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nabc",
                "HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.1 204 None\r\n\r\n", "rubbish\r\n\r\n",
                RequestTests.switching, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
                "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            ]
            deliver(upstream, texts[number(texts.count)])
        }

        private func deliver(_ descriptor: Int32, _ text: String) {
            let bytes = Array(text.utf8)
            guard random.chance(1, of: 3), bytes.count > 1 else {
                bench.ring.receives(descriptor, bytes)
                return
            }
            let cut = 1 + number(bytes.count - 1)
            bench.ring.receives(descriptor, bytes[..<cut])
            bench.ring.receives(descriptor, bytes[cut...])
        }

        private func leave() {
            guard let descriptor = bench.ring.openDescriptors.randomElement(using: &random) else {
                return
            }
            switch number(4) {
            case 0, 1: bench.ring.ends(descriptor)
            case 2: bench.ring.fails(descriptor, ECONNRESET)
            default: bench.ring.failsSending(descriptor, EPIPE)
            }
        }

        private func changeRoom() {
            guard let descriptor = bench.ring.openDescriptors.randomElement(using: &random) else {
                return
            }
            bench.ring.setRoom(descriptor, random.chance(1, of: 2) ? .max : number(5_000))
        }

        private func starve() {
            if hidden.isEmpty {
                hidden = bench.ring.hideBuffers(leaving: number(3))
            } else {
                bench.ring.unhideBuffers(hidden)
                hidden = []
            }
            let mode = number(5)
            bench.ring.connectPolicy = { address in
                switch mode {
                case 0: nil
                case 1: address == Bench.member(1) ? -ECONNREFUSED : 0
                case 2: address == Bench.member(2) ? nil : 0
                default: 0
                }
            }
            bench.ring.holdsCancels = random.chance(1, of: 5)
        }

        private func connectSome() {
            for descriptor in bench.ring.openDescriptors where bench.ring.isConnecting(descriptor) {
                bench.ring.connects(descriptor, random.chance(1, of: 4) ? ECONNREFUSED : 0)
            }
        }

        /// Everybody leaves; whatever waits is let go.
        func finish(isDraining: Bool = false) {
            if isDraining {
                bench.worker.handle(.stopAccepting)
                for _ in 0..<3 { turn(after: .zero) }
                bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(36_000))))
            }
            bench.ring.unhideBuffers(hidden)
            hidden = []
            bench.ring.disorder = nil
            bench.stopwatch.step = .zero
            bench.ring.holdsCancels = false
            bench.ring.acceptFailures = []
            bench.ring.socketFailures = []
            bench.ring.connectPolicy = { _ in -ECONNREFUSED }
            if bench.worker.phase == .closed { bench.worker.handle(.serve) }
            for _ in 0..<60 where !bench.ring.openDescriptors.isEmpty || bench.ring.isAwaited {
                for descriptor in bench.ring.openDescriptors {
                    bench.ring.setRoom(descriptor, .max)
                    bench.ring.ends(descriptor)
                }
                for _ in 0..<8 { turn(after: .zero) }
                for _ in 0..<4 { turn(after: .seconds(40)) }
            }
        }

        func check(_ step: Int) throws {
            let faults = bench.faults(buffersHidden: hidden.count) + rules.broken
            try #require(faults.isEmpty, "step \(step), \(random)")
            try #require(bench.ring.violations.isEmpty, "step \(step), \(random)")
        }
    }

    @Test(
        "Every request of a random life has exactly one line in the access log", arguments: [1, 2])
    func log(seed: UInt64) throws {
        let book = try LogBook(bufferBytes: 64 << 20)
        try seeded(seed) { random in
            let walk = try Walk(random, log: book.log)
            for _ in 0..<1_500 { walk.step() }
            walk.finish()

            let lines = try book.lines(of: walk.bench)
            let requests = lines.filter { $0["kind"] as? String == "request" }
            let whole = requests.filter { $0["method"] is String }
            #expect(whole.count == Int(walk.bench.count(Counter.requests)), "\(random)")
            #expect(walk.bench.count(Counter.accessLogDropped) == 0)
            // Each failure that is counted for a request or connection is told with its reason.
            var told: [String: Int] = [:]
            for line in lines {
                if let reason = line["reason"] as? String { told[reason, default: 0] += 1 }
            }
            for reason in [
                ReasonCode.noRoute, .clientBadRequest, .clientClosed, .clientReset,
                .upstreamTruncated, .upstreamHeadTimeout, .connectionLimit, .clientHeadTimeout,
                .clientBodyTimeout,
            ] {
                #expect(
                    told[reason.label, default: 0] == Int(walk.bench.count(reason)),
                    "\(reason) \(random)")
            }
        }
    }

    /// `EDGE_WALKS` sets how many lives, for a longer search.
    static let seeds = Array(
        1...(getenv("EDGE_WALKS").flatMap { UInt64(String(cString: $0)) } ?? 2))

    @Test("The books are right after every turn and empty at the end", arguments: seeds)
    func walk(seed: UInt64) throws {
        try seeded(seed) { random in
            let walk = try Walk(random)
            for step in 0..<2_000 {
                walk.step()
                try walk.check(step)
            }
            walk.finish(isDraining: seed % 3 == 0)
            try walk.check(-1)
            #expect(walk.bench.count(Counter.requests) > 50, "\(random)")
            #expect(walk.bench.count(Counter.responses2xx) > 3, "\(random)")
            #expect(walk.bench.count(Counter.staleCompletions) == 0, "\(random)")
            walk.bench.expectEmpty()
            #expect(
                walk.bench.count(Counter.connectionsAccepted)
                    + walk.bench.count(Counter.connectionsRefused)
                    == UInt64(walk.bench.ring.accepted.count), "\(random)")
        }
    }
}
