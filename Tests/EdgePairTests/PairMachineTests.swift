internal import EdgeCore
internal import EdgeTesting
internal import Testing

@testable internal import EdgePair

@Suite("Pair: machine") struct PairMachineTests {
    /// The connecting side with an open link 1.
    private static func open(_ node: UInt64 = 1, peer: UInt64 = 2) -> Node {
        let node = Node(node, peer: peer)
        _ = node.start()
        _ = node.connected(1)
        _ = node.receive(.hello(Sample.hello(peer)))
        return node
    }

    @Test("The node with the lower number connects, the other one listens")
    func roles() {
        let low = Node(1, peer: 2)
        let high = Node(2, peer: 1)

        #expect(low.start() == [.connect])
        #expect(low.machine.phase == .connecting)
        #expect(high.start().isEmpty)
        #expect(high.machine.phase == .listening)
        #expect(high.machine.nextDue == .never)
    }

    @Test("Each side says hello first; with the other's hello the link is open")
    func greeting() {
        let node = Node(2, peer: 1)

        let hello = node.connected(1)
        #expect(hello.sent.map(\.kind) == [.hello])
        #expect(node.machine.phase == .greeting)
        #expect(node.send(.names([1])).isEmpty, "nothing goes out before")

        let opened = node.receive(.hello(Sample.hello(1)))
        #expect(opened == [.opened(Sample.hello(1))])
        #expect(node.machine.phase == .open)
        #expect(node.machine.version == 1)
        #expect(node.send(.names([1])).sent == [.names([1])])
    }

    @Test("What is for others is delivered, a ping is answered at once")
    func traffic() {
        let node = Self.open()

        #expect(node.receive(.ticketKeys([])).delivered == [.ticketKeys([])])
        #expect(node.receive(.ping(number: 5)).sent == [.pong(number: 5, wall: node.wall)])
        let unknown = node.machine.received(
            1, .unknown(99, byteCount: 20), now: node.now, wall: node.wall)
        #expect(unknown.isEmpty)
        #expect(node.machine.counts.skipped == 1)
    }

    @Test("An illegal message ends the link: before the hello, a second hello, another node's")
    func illegal() {
        for message in Sample.messages where message.kind != .hello && message.kind != .farewell {
            let node = Node(1, peer: 2)
            _ = node.start()
            _ = node.connected(1)
            let actions = node.receive(message)
            #expect(actions.sent == [.farewell(.violation)])
            #expect(actions.closedLinks == [1])
            #expect(node.machine.lastLoss == .violation(.order(message.kind)))
            #expect(node.machine.phase == .waiting)
        }
        let twice = Self.open()
        #expect(twice.receive(.hello(Sample.hello(2))).losses == [.violation(.order(.hello))])
        let other = Node(1, peer: 2)
        _ = other.start()
        _ = other.connected(1)
        #expect(other.receive(.hello(Sample.hello(3))).opens == 0)
        #expect(other.machine.lastLoss == .violation(.identity))
    }

    @Test("Attempts come in growing spans with chance in them, and never seldom")
    func backOff() {
        let node = Node(1, peer: 2)
        var actions = node.start()
        var spans: [UInt64] = []
        for _ in 0..<14 {
            #expect(actions.connects == 1)
            #expect(node.failed("refused").isEmpty)
            #expect(node.machine.phase == .waiting)
            let due = node.machine.nextDue
            spans.append(due.nanoseconds(since: node.now))
            node.step(to: due)
            actions = node.advance()
        }
        for (index, span) in spans.enumerated() {
            let full = min(UInt64(100_000_000) << UInt64(index), 10_000_000_000)
            #expect(span > full / 2 - 1 && span <= full, "attempt \(index)")
        }
        let other = Node(1, peer: 2, seed: 99)
        _ = other.start()
        _ = other.failed("refused")
        #expect(other.machine.nextDue.nanoseconds(since: other.now) != spans[0])
    }

    @Test("A link that has held is followed by a quick attempt, one that fell at once is not")
    func stable() {
        func spanAfter(_ held: Duration) -> UInt64 {
            let node = Node(1, peer: 2)
            _ = node.start()
            for _ in 0..<8 {
                _ = node.failed("refused")
                node.step(to: node.machine.nextDue)
                _ = node.advance()
            }
            _ = node.connected(1)
            _ = node.receive(.hello(Sample.hello(2)))
            node.step(to: node.now.advanced(by: held))
            let actions = node.lost(1, "reset")
            #expect(actions.losses == [.transport("reset")])
            return node.machine.nextDue.nanoseconds(since: node.now)
        }

        #expect(spanAfter(.seconds(10)) <= 100_000_000)
        #expect(spanAfter(.seconds(1)) > 4_000_000_000)
    }

    @Test("A peer that says nothing loses the link after the silence, a pinging one never")
    func silence() {
        let node = Self.open()
        let quiet = node.pass(.milliseconds(4_999))
        #expect(quiet.losses.isEmpty)
        #expect(quiet.sent.filter { $0.kind == .ping }.count == 5)

        let lost = node.pass(.milliseconds(1))
        #expect(lost.losses == [.silent])
        #expect(lost.closedLinks == [1])

        let lively = Self.open()
        for number in 0..<60 {
            #expect(lively.pass(.seconds(1)).losses.isEmpty)
            _ = lively.receive(.ping(number: UInt64(number)))
        }
    }

    @Test("Our own lateness is not the peer's silence")
    func late() {
        let node = Self.open()
        _ = node.pass(.seconds(1))

        node.step(to: node.now.advanced(by: .seconds(60)))
        let actions = node.advance()

        #expect(actions.losses.isEmpty)
        #expect(actions.sent.map(\.kind) == [.ping])
        #expect(node.pass(.seconds(5)).losses == [.silent], "but only once")
    }

    @Test("Nor is it a missing hello; and a machine that was late does not spin")
    func lateGreeting() {
        let node = Node(2, peer: 1)
        _ = node.connected(1)

        node.step(to: node.now.advanced(by: .seconds(60)))
        #expect(node.advance().isEmpty)
        #expect(node.machine.nextDue > node.now)

        #expect(node.pass(.seconds(1)).closedLinks == [1])
    }

    @Test("After every turn, nothing is due that was done")
    func neverSpins() {
        seeded(61) { random in
            for low in [true, false] {
                let node = low ? Node(1, peer: 2) : Node(2, peer: 1)
                _ = node.start()
                var link = 0
                for _ in 0..<500 {
                    node.step(
                        to: node.now.advanced(byNanoseconds: random.next() % 9_000_000_000))
                    for _ in 0..<4 where node.machine.nextDue <= node.now { _ = node.advance() }
                    #expect(node.machine.nextDue > node.now)
                    switch random.next() % 5 {
                    case 0:
                        link += 1
                        _ = node.connected(link)
                    case 1:
                        _ = node.receive(.hello(Sample.hello(low ? 2 : 1)), on: link)
                    case 2: _ = node.receive(.ping(number: 1), on: link)
                    case 3: _ = node.failed("refused")
                    default: _ = node.lost(link, "reset")
                    }
                }
            }
        }
    }

    @Test("Without a hello the connection is closed")
    func noHello() {
        let node = Node(2, peer: 1)
        _ = node.connected(1)

        #expect(node.pass(.milliseconds(4_999)).isEmpty)
        let actions = node.pass(.milliseconds(1))

        #expect(actions.closedLinks == [1])
        #expect(node.machine.phase == .listening)
        #expect(node.machine.lastLoss == .noHello)
    }

    @Test("The highest version that both speak is spoken; with none the link waits for an upgrade")
    func versions() {
        let newer = Node(1, peer: 2, versions: 2...5)
        _ = newer.start()
        _ = newer.connected(1)
        _ = newer.receive(.hello(Sample.hello(2, versions: 1...3)))
        #expect(newer.machine.version == 3)

        let older = Node(1, peer: 2, versions: 1...1)
        _ = older.start()
        _ = older.connected(1)
        let actions = older.receive(.hello(Sample.hello(2, versions: 2...3)))
        #expect(actions.sent == [.farewell(.versions)])
        #expect(actions.opens == 0)
        #expect(older.machine.lastLoss == .versions(2...3))
        #expect(older.machine.nextDue.nanoseconds(since: older.now) >= 30_000_000_000)
    }

    @Test("A second link of the peer's replaces the first as soon as it has said hello, not before")
    func duplicate() {
        let node = Node(2, peer: 1)
        _ = node.connected(1)
        _ = node.receive(.hello(Sample.hello(1, boot: 1)))

        #expect(node.connected(2).closedLinks.isEmpty)
        #expect(node.machine.open == 1)

        let actions = node.receive(.hello(Sample.hello(1, boot: 2)), on: 2)
        #expect(actions.closedLinks == [1])
        #expect(actions.sent == [.farewell(.replaced)])
        #expect(actions.losses == [.replaced])
        #expect(actions.last == .opened(Sample.hello(1, boot: 2)))
        #expect(node.machine.open == 2)
        #expect(node.receive(.names([]), on: 1).isEmpty, "the old one is forgotten")
    }

    @Test("Connections that do not greet are bounded, and the open link is not one of them")
    func bounded() {
        let node = Node(2, peer: 1)
        _ = node.connected(1)
        _ = node.receive(.hello(Sample.hello(1)))
        var closed: [Int] = []
        for link in 2..<20 {
            node.step(to: node.now.advanced(by: .milliseconds(1)))
            closed += node.connected(link).closedLinks
        }

        #expect(closed == Array(2..<18))
        #expect(node.machine.open == 1)
    }

    @Test("A peer that sends too much loses the link, in bytes as in messages")
    func tooMuch() {
        let many = Self.open()
        var losses: [PairLoss] = []
        for _ in 0..<4_000 { losses += many.receive(.names([])).losses }
        #expect(losses == [.violation(.tooMuch)])

        let large = Self.open()
        let names = PairMessage.names([UInt8](repeating: 0, count: 65_536))
        losses = []
        for _ in 0..<128 where losses.isEmpty { losses += large.receive(names).losses }
        #expect(losses == [.violation(.tooMuch)])

        let steady = Self.open()
        losses = []
        for _ in 0..<20_000 {
            losses += steady.receive(.names([])).losses
            losses += steady.pass(.milliseconds(5)).losses
        }
        #expect(losses.isEmpty)
    }

    @Test("The peer's farewell ends the link and says why")
    func farewell() {
        let node = Self.open()

        let actions = node.receive(.farewell(.stopping))

        #expect(actions.losses == [.farewell(.stopping)])
        #expect(actions.sent.isEmpty)
        #expect(node.machine.lastLoss?.description == "the other node's proxy has stopped")
        #expect(node.machine.nextDue != .never)
    }

    @Test("Stopped, it says farewell and wants nothing any more")
    func stop() {
        let node = Self.open()

        let actions = node.stop()

        #expect(actions.sent == [.farewell(.stopping)])
        #expect(actions.closedLinks == [1])
        #expect(node.machine.nextDue == .never)
        #expect(node.connected(7).closedLinks == [7])
        #expect(node.failed("x").isEmpty)
        #expect(node.machine.nextDue == .never)
    }

    @Test("The clocks' difference is believed from the fastest answer")
    func clock() {
        let node = Self.open()
        func ping(_ way: UInt64, ahead: UInt64) {
            node.step(to: node.machine.nextDue)
            let sent = node.advance().sent
            guard case .ping(let number)? = sent.last else { return }
            let then = node.wall
            node.step(to: node.now.advanced(byNanoseconds: way))
            _ = node.receive(.pong(number: number, wall: then + ahead + way / 2))
        }

        ping(100_000_000, ahead: 3_100_000_000)
        #expect(node.machine.clockDifference == 3_100_000_000)
        ping(200_000, ahead: 3_000_000_000)
        #expect(node.machine.clockDifference == 3_000_000_000)
        ping(50_000_000, ahead: 9_000_000_000)
        #expect(node.machine.clockDifference == 3_000_000_000)
        #expect(node.machine.roundTrip == .microseconds(200))
    }

    @Test("Two machines over a line that breaks and restarts always come together again")
    func walk() {
        seeded(60) { random in
            var world = PairWorld(seed: random.next())
            for _ in 0..<400 { world.disturb() }
            world.heal()
            #expect(world.isJoined, "\(world.low.machine.phase) \(world.high.machine.phase)")
            #expect(world.low.machine.links.count == 1)
            #expect(world.high.machine.links.count == 1)
        }
    }
}

/// Two machines and the connections between them: messages arrive in order or not at all, ends of
/// connections are seen late or by one side only, processes start again.
private struct PairWorld {
    var low = Node(1, peer: 2)
    var high = Node(2, peer: 1)
    private var random: SeededRandom
    private var lastLink = 0
    /// Links that both transports believe in, with what is under way.
    private var toHigh: [Int: [PairMessage]] = [:]
    private var toLow: [Int: [PairMessage]] = [:]
    private var isCut = false
    private var wantsConnect = false

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        low = Node(1, peer: 2, seed: seed)
        high = Node(2, peer: 1, seed: seed &+ 1)
        perform(low.start(), isLow: true)
        perform(high.start(), isLow: false)
    }

    var isJoined: Bool {
        low.machine.phase == .open && high.machine.phase == .open
            && low.machine.open == high.machine.open
    }

    mutating func disturb() {
        switch random.next() % 12 {
        case 0: isCut.toggle()
        case 1:
            // One side's connections end, and the other does not hear of it.
            for link in toLow.keys.sorted() {
                toLow[link] = nil
                perform(low.lost(link, "reset"), isLow: true)
            }
        case 2:
            for link in toHigh.keys.sorted() {
                toHigh[link] = nil
                perform(high.lost(link, "reset"), isLow: false)
            }
        case 3 where random.next() % 4 == 0: restartLow()
        case 4 where random.next() % 4 == 0: restartHigh()
        default: turn(.milliseconds(Int64(random.next() % 700)))
        }
    }

    mutating func heal() {
        isCut = false
        for _ in 0..<400 { turn(.milliseconds(100)) }
    }

    private mutating func restartLow() {
        let fresh = Node(1, peer: 2, seed: random.next())
        fresh.now = low.now
        fresh.wall = low.wall
        low = fresh
        toLow = [:]
        wantsConnect = false
        perform(low.start(), isLow: true)
    }

    private mutating func restartHigh() {
        let fresh = Node(2, peer: 1, seed: random.next())
        fresh.now = high.now
        fresh.wall = high.wall
        high = fresh
        toHigh = [:]
        perform(high.start(), isLow: false)
    }

    private mutating func turn(_ span: Duration) {
        perform(low.pass(span), isLow: true)
        perform(high.pass(span), isLow: false)
        if wantsConnect {
            wantsConnect = false
            if isCut {
                perform(low.failed("refused"), isLow: true)
            } else {
                lastLink += 1
                toLow[lastLink] = []
                toHigh[lastLink] = []
                perform(low.connected(lastLink), isLow: true)
                perform(high.connected(lastLink), isLow: false)
            }
        }
        guard !isCut else { return }
        for link in toHigh.keys.sorted() {
            for message in toHigh[link] ?? [] {
                perform(high.receive(message, on: link), isLow: false)
            }
            if toHigh[link] != nil { toHigh[link] = [] }
        }
        for link in toLow.keys.sorted() {
            for message in toLow[link] ?? [] {
                perform(low.receive(message, on: link), isLow: true)
            }
            if toLow[link] != nil { toLow[link] = [] }
        }
    }

    private mutating func perform(_ actions: [PairMachine.Action], isLow: Bool) {
        for action in actions {
            switch action {
            case .connect: wantsConnect = true
            case .send(let link, let message):
                if isLow { toHigh[link]?.append(message) } else { toLow[link]?.append(message) }
            case .close(let link):
                if isLow { toLow[link] = nil } else { toHigh[link] = nil }
            case .opened, .closed, .deliver: break
            }
        }
    }
}
