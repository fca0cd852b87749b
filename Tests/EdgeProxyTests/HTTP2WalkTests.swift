import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeLimits
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// Random lives of a worker whose clients and upstreams speak HTTP/1.1 and HTTP/2, well, badly and
/// not at all. After every turn the books are checked (`Bench.faults`), at the end nothing may be
/// left.
@Suite("Worker: random walk over HTTP/2") struct HTTP2WalkTests {
    private final class Walk {
        let bench: Bench
        var random: SeededRandom
        var peers: [Int32: SessionPeer] = [:]
        /// Those of them that are clients.
        var clients: Set<Int32> = []
        var seenAccepted = 0
        var seenOpened = 0
        var hidden: [UInt16] = []
        var epoch: UInt64 = 1
        /// Some clients are of low priority, until a reload.
        var isRanked = false
        var answered: Set<[Int32]> = []
        var rules: WalkRules

        init(_ random: SeededRandom, log: AccessLog? = nil) throws {
            var random = random
            var options = Bench.Options()
            options.members = (1...2).map { Bench.member($0) }
            options.connectionsMax = 12
            options.chunkBudget = 3 << 20
            options.buffers = 16
            options.accessLog = log
            options.version = random.chance(2, of: 3) ? .http2 : .http1
            options.memberMax = random.chance(1, of: 3) ? 2 : 0
            options.queueMax = 3
            options.uploadMin = random.chance(1, of: 3) ? 200 : 0
            options.downloadMin = random.chance(1, of: 3) ? 200 : 0
            if random.chance(1, of: 2) { options.retries.hedgeAfter = .milliseconds(150) }
            if random.chance(1, of: 2) { options.raceAfter = .milliseconds(150) }
            if random.chance(1, of: 3) { options.sticky = StickyPolicy(cookie: "E") }
            if random.chance(1, of: 3) { options.balance = .hash(.client) }
            options.http2.streamsMax = 4 + Int(random.next() % 20)
            options.http2.memoryMax = (128 << 10) << Int(random.next() % 4)
            options.http2.streamWindow = 65_536
            options.raceAfter = random.chance(3, of: 4) ? .milliseconds(150) : .zero
            options.requestsMax = random.chance(1, of: 4) ? 20 : 0
            options.tellsFailures = 3
            if random.chance(1, of: 2) { options.retries.statuses = [404] }
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

        func step() throws {
            for _ in 0..<(1 + number(5)) { event() }
            try turn(after: time())
        }

        private func time() -> Duration {
            switch number(20) {
            case 0, 1: .milliseconds(number(4_000))
            case 2, 3: .milliseconds(number(300))
            default: .zero
            }
        }

        func turn(after span: Duration) throws {
            for descriptor in peers.keys.sorted() where random.chance(3, of: 4) {
                converse(descriptor)
            }
            if isRanked {
                bench.stopwatch.step =
                    [.zero, .zero, .microseconds(100), .milliseconds(1)][
                        number(4)]
            }
            bench.quietTurn(after: span)
            rules.look()
            for descriptor in bench.ring.accepted.dropFirst(seenAccepted) { try meet(descriptor) }
            seenAccepted = bench.ring.accepted.count
            for descriptor in bench.ring.opened.dropFirst(seenOpened)
            where bench.options.version == .http2 && random.chance(9, of: 10) {
                var limits = WirePeer.wide
                limits.streams = UInt32(1 + number(20))
                peers[descriptor] = try SessionPeer(isServer: true, limits)
            }
            seenOpened = bench.ring.opened.count
            for descriptor in peers.keys where bench.ring.isClosed(descriptor) {
                peers[descriptor] = nil
                clients.remove(descriptor)
            }
        }

        /// Most clients of the plain listener turn out to speak HTTP/2.
        private func meet(_ descriptor: Int32) throws {
            if random.chance(1, of: 5) { bench.ring.setRoom(descriptor, number(5_000)) }
            guard random.chance(3, of: 4), let slot = bench.slot(of: descriptor),
                bench.worker.channels[slot].pointee.phase == .established
            else { return }
            bench.worker.startClientHTTP2(slot)
            peers[descriptor] = try SessionPeer(isServer: false, WirePeer.wide)
            clients.insert(descriptor)
        }

        private func converse(_ descriptor: Int32) {
            guard let peer = peers[descriptor], !bench.ring.isConnecting(descriptor) else { return }
            peer.now = bench.now
            peer.feed(bench.ring.takeBytes(to: descriptor))
            deliver(descriptor, peer.take())
        }

        private func deliver(_ descriptor: Int32, _ bytes: [UInt8]) {
            guard random.chance(1, of: 3), bytes.count > 1 else {
                bench.ring.receives(descriptor, bytes)
                return
            }
            let cut = 1 + number(bytes.count - 1)
            bench.ring.receives(descriptor, bytes[..<cut])
            bench.ring.receives(descriptor, bytes[cut...])
        }

        // MARK: - Events

        private func event() {
            switch number(28) {
            case 26: judge()
            case 27: growSilent()
            case 0:
                bench.ring.incoming(
                    Bench.listener, [SocketAddress(ipv4: 0xC000_0201, port: UInt16(1 + number(2)))],
                    isAnnounced: random.chance(9, of: 10))
            case 1...5: ask()
            case 6...12: answer()
            case 13, 14: goOn()
            case 15: giveUp()
            case 16: read()
            case 17: leave()
            case 18, 19: changeRoom()
            case 20: connectSome()
            case 21: starve()
            case 22: speakHTTP1()
            case 23: answerHTTP1()
            case 24: if random.chance(1, of: 6) { talkNonsense() }
            default: if random.chance(1, of: 6) { reload() }
            }
        }

        private func content() -> [UInt8] {
            [UInt8](
                repeating: UInt8(truncatingIfNeeded: random.next()),
                count: number(random.chance(1, of: 4) ? 90_000 : 2_000))
        }

        private func client() -> (Int32, SessionPeer)? {
            guard let descriptor = clients.sorted().randomElement(using: &random),
                let peer = peers[descriptor]
            else { return nil }
            return (descriptor, peer)
        }

        private func server() -> (Int32, SessionPeer)? {
            let servers = peers.keys.filter { !clients.contains($0) }.sorted()
            guard let descriptor = servers.randomElement(using: &random),
                let peer = peers[descriptor]
            else { return nil }
            return (descriptor, peer)
        }

        private func ask() {
            guard let (_, peer) = client() else { return }
            var fields = SessionPeer.fields(
                ["GET", "GET", "HEAD", "POST", "PUT"][number(5)], "/\(number(9))",
                authority: random.chance(1, of: 12) ? "nobody.example" : "home.example")
            if random.chance(1, of: 8) { fields.append(("cookie", "a=b")) }
            if random.chance(1, of: 12) { fields.append(("expect", "100-continue")) }
            if random.chance(1, of: 10) {
                fields.append(("x-long", String(repeating: "l", count: number(30_000))))
            }
            if random.chance(1, of: 10) { fields.append(("content-type", "application/grpc")) }
            if random.chance(1, of: 10) {
                fields = SessionPeer.fields(
                    "CONNECT", "/chat",
                    [(":protocol", "websocket"), ("sec-websocket-version", "13")])
            }
            let hasContent = random.chance(1, of: 2)
            let id = peer.request(fields, hasContent: hasContent)
            if id > 0, hasContent, random.chance(2, of: 3) {
                peer.send(
                    id, content(), isLast: random.chance(1, of: 2),
                    trailers: random.chance(1, of: 3) ? [("x-sum", "1")] : [])
            }
        }

        private func answer() {
            guard let (descriptor, peer) = server(),
                let id = peer.open.randomElement(using: &random)
            else { return }
            if random.chance(1, of: 10) {
                peer.interim(id, 103)
                return
            }
            guard answered.insert([descriptor, id]).inserted else { return }
            if random.chance(1, of: 12) {
                let codes: [HTTP2Code] = [.refusedStream, .cancel, .noError, .http11Required]
                peer.session.reset(id, codes[number(4)])
                return
            }
            let content = content()
            let length =
                random.chance(1, of: 2) ? [("content-length", "\(content.count)")] : []
            let hasContent = random.chance(3, of: 4)
            peer.answer(
                id, [200, 200, 204, 404][number(4)], hasContent ? length : [],
                hasContent: hasContent)
            guard hasContent else { return }
            peer.send(
                id, content, isLast: random.chance(3, of: 4),
                trailers: random.chance(1, of: 3) ? [("x-end", "1")] : [])
        }

        /// More content on some stream, or its end.
        private func goOn() {
            guard let (_, peer) = random.chance(1, of: 2) ? client() : server(),
                let id = peer.recorder.streams.filter({ $1.closedWith == nil }).keys.sorted()
                    .randomElement(using: &random)
            else { return }
            peer.send(id, content(), isLast: random.chance(1, of: 2))
        }

        private func giveUp() {
            guard let (_, peer) = random.chance(2, of: 3) ? client() : server() else { return }
            let ids = peer.recorder.streams.filter { $1.closedWith == nil }.keys.sorted()
            switch number(8) {
            case 0: peer.session.sayGone()
            case 1: peer.session.sayLeaving()
            case 2: peer.session.ping()
            default:
                if let id = ids.randomElement(using: &random) { peer.session.reset(id, .cancel) }
            }
        }

        /// Who did not read reads, and who did stops.
        private func read() {
            guard let (_, peer) = random.chance(1, of: 2) ? client() : server() else { return }
            peer.recorder.consumes = random.chance(1, of: 2)
            for (id, stream) in peer.recorder.streams where stream.owed > 0 {
                peer.consume(id)
            }
        }

        private func anybody() -> Int32? {
            bench.ring.openDescriptors.randomElement(using: &random)
        }

        private func leave() {
            guard random.chance(1, of: 2), let descriptor = anybody() else { return }
            switch number(4) {
            case 0, 1: bench.ring.ends(descriptor)
            case 2: bench.ring.fails(descriptor, ECONNRESET)
            default: bench.ring.failsSending(descriptor, EPIPE)
            }
        }

        private func changeRoom() {
            guard let descriptor = anybody() else { return }
            bench.ring.setRoom(descriptor, random.chance(1, of: 2) ? .max : number(9_000))
        }

        private func connectSome() {
            for descriptor in bench.ring.openDescriptors
            where bench.ring.isConnecting(descriptor) {
                bench.ring.connects(descriptor, random.chance(1, of: 5) ? ECONNREFUSED : 0)
            }
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

        private func speakHTTP1() {
            let plain = bench.ring.accepted.suffix(20).filter {
                !clients.contains($0) && !bench.ring.isClosed($0)
            }
            guard let descriptor = plain.randomElement(using: &random) else { return }
            let texts = [
                bench.get(), bench.get("/x"), "0\r\n\r\n", "5\r\nhello\r\n",
                "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 5\r\n\r\nhello",
                "PUT / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HEAD / HTTP/1.1\r\nHost: home.example\r\n\r\n", RequestTests.upgrade(bench),
            ]
            deliver(descriptor, Array(texts[number(texts.count)].utf8))
        }

        private func answerHTTP1() {
            let plain = bench.ring.opened.suffix(40).filter {
                peers[$0] == nil && !bench.ring.isClosed($0)
            }
            guard let descriptor = plain.randomElement(using: &random) else { return }
            let length = number(60_000)
            let texts = [
                Bench.ok, Bench.ok, "HTTP/1.1 204 None\r\n\r\n", RequestTests.switching,
                "HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n"
                    + String(repeating: "z", count: length),
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n",
                "HTTP/1.1 103 Early\r\n\r\n", "rubbish\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nabc",
            ]
            deliver(descriptor, Array(texts[number(texts.count)].utf8))
        }

        private func talkNonsense() {
            guard let descriptor = peers.keys.sorted().randomElement(using: &random) else { return }
            let frames: [RawFrame] = [
                .ping(), .settings(), .reset(1), .data(1, random.bytes(40)), .goAway(last: 1),
                .windowUpdate(1, 1 << 30), .continuation(1), RawFrame(0x42),
                .headers(UInt32(number(200)) * 2 + 1, HPACKBlock(random.bytes(30))),
                .headers(999, HPACKBlock(SessionPeer.fields()), complete: false),
            ]
            let frame = frames[number(frames.count)]
            bench.ring.receives(
                descriptor, (0...number(3)).flatMap { _ in frame.bytes })
        }

        /// The same members in another light.
        private func judge() {
            // Commands may have accepted clients, whose connections go by the older ranks.
            rules.look()
            let ranks: [MemberRank] = [.preferred, .preferred, .fallback, .boundOnly, .never]
            bench.judge((1...3).map { ($0, ranks[number(5)]) })
            rules.look()
        }

        /// A host is silent, or speaks again.
        private func growSilent() {
            guard let descriptor = anybody() else { return }
            bench.ring.setSilence(
                descriptor, random.chance(1, of: 2) ? nil : .milliseconds(number(12_000)))
        }

        private func reload() {
            rules.look()
            epoch += 1
            let members = (1...3).filter { _ in random.chance(2, of: 3) }.map { Bench.member($0) }
            var options = bench.options
            options.http2.streamsMax = 2 + number(20)
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

        // MARK: - The end

        /// Everybody leaves or, if `isSilent`, says nothing any more.
        func finish(isSilent: Bool, isDraining: Bool = false) throws {
            if isDraining {
                bench.worker.handle(.stopAccepting)
                for _ in 0..<3 { try turn(after: .zero) }
                bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(36_000))))
            }
            bench.ring.unhideBuffers(hidden)
            hidden = []
            bench.ring.disorder = nil
            bench.stopwatch.step = .zero
            bench.ring.holdsCancels = false
            bench.ring.connectPolicy = { _ in -ECONNREFUSED }
            peers = [:]
            for _ in 0..<60 where !bench.ring.openDescriptors.isEmpty || bench.ring.isAwaited {
                for descriptor in bench.ring.openDescriptors {
                    bench.ring.setRoom(descriptor, .max)
                    if !isSilent { bench.ring.ends(descriptor) }
                }
                for _ in 0..<8 { try turn(after: .zero) }
                for _ in 0..<8 { try turn(after: .seconds(isSilent ? 120 : 40)) }
            }
        }

        func check(_ step: Int) throws {
            let faults = bench.faults(buffersHidden: hidden.count) + rules.broken
            try #require(faults.isEmpty, "step \(step), \(random)")
            try #require(bench.ring.violations.isEmpty, "step \(step), \(random)")
        }
    }

    @Test(
        "The books are right after every turn and empty at the end",
        arguments: RandomWalkTests.seeds)
    func walk(seed: UInt64) throws {
        try seeded(1000 + seed) { random in
            let walk = try Walk(random)
            for step in 0..<1_000 {
                try walk.step()
                try walk.check(step)
            }
            try walk.finish(isSilent: seed % 2 == 0, isDraining: seed % 3 == 0)
            try walk.check(-1)
            #expect(walk.bench.count(Counter.requests) > 50, "\(random)")
            #expect(walk.bench.count(Counter.responses2xx) > 10, "\(random)")
            #expect(walk.bench.count(Counter.staleCompletions) == 0, "\(random)")
            walk.bench.expectEmpty()
        }
    }

    @Test(
        "Every request of a random life has exactly one line in the access log",
        arguments: [1, 2])
    func log(seed: UInt64) throws {
        let book = try LogBook(bufferBytes: 64 << 20)
        try seeded(2000 + seed) { random in
            let walk = try Walk(random, log: book.log)
            for _ in 0..<700 { try walk.step() }
            try walk.finish(isSilent: false)
            let lines = try book.lines(of: walk.bench)
            let whole = lines.filter {
                $0["kind"] as? String == "request" && $0["method"] is String
            }
            #expect(whole.count == Int(walk.bench.count(Counter.requests)), "\(random)")
            #expect(whole.contains { $0["protocol"] as? String == "HTTP/2" })
        }
    }
}
