import EdgeCore
import EdgeLimits
import EdgePair
import EdgeProxy
import EdgeSystem
import Testing

@testable import EdgeDaemon

/// One node: memory, plans, and its side of the link.
private final class SharingNode {
    let memory: LimitMemory
    private let file: FileDescriptor
    private(set) var plans: LimitPlans
    var sharing: LimitSharing
    private var journal = AdmittedJournal(capacity: 1024)

    init(
        _ policies: [LimitPolicy], number: UInt64, now: Instant, clients: Int = 4096,
        allowance: Int = LimitSharing.allowanceMax
    ) throws {
        file = try MemoryFile.make(
            name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: clients))
        memory = try LimitMemory(descriptor: file.raw, now: now, seed: (number, ~number))
        plans = LimitPlans(policies, places: [LimitPlace(policies: Array(policies.indices))])
        sharing = LimitSharing(
            memory: memory, incarnation: number, now: now, allowance: allowance)
        sharing.use(plans)
    }

    /// Another configuration is in use.
    func use(_ policies: [LimitPolicy], now: Instant) {
        plans = LimitPlans(
            policies, places: [LimitPlace(policies: Array(policies.indices))], succeeding: plans,
            now: now)
        sharing.use(plans)
    }

    func admits(_ client: UInt32 = 1, cost: UInt32 = 1, text: UInt64 = 0, now: Instant) -> Bool {
        var caller = plans.caller(SocketAddress(ipv4: 0xC633_0000 + client, port: 9))
        caller.texts[0] = text
        let verdict = plans.charge(
            0, .requests, caller, cost: cost, now: now, in: memory.rates, journal: &journal)
        journal.drain { sharing.admitted($0) }
        return verdict.isAdmitted
    }

    func take(_ messages: [PairMessage], now: Instant) {
        for message in messages {
            switch message {
            case .costs(let costs): sharing.take(costs, now: now)
            case .debts(let debts): sharing.take(debts, now: now)
            case .textKey(let key): sharing.take(key, now: now)
            default: Issue.record("\(message)")
            }
        }
    }

    /// How many more of one client's requests would pass at once.
    func left(_ client: UInt32 = 1, now: Instant) -> UInt64 {
        let limit = plans.limits[0]
        let subject = LimitSubject(client: SocketAddress(ipv4: 0xC633_0000 + client, port: 0))
        let key = memory.rates.key(limit.identity, subject)
        return limit.rate.remaining(debt: memory.rates.debt(key, now: now))
    }
}

@Suite("Limits of two nodes") struct LimitSharingTests {
    private static func policy(
        _ count: UInt64 = 120, per span: Duration = .seconds(10),
        _ change: (inout LimitPolicy) -> Void = { _ in }
    ) throws -> LimitPolicy {
        var policy = LimitPolicy(name: "public")
        policy.rates[.requests] = try RateLimit(count, per: span)
        change(&policy)
        return policy
    }

    private static func at(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
    }

    private func nodes(_ policies: LimitPolicy...) throws -> [SharingNode] {
        try (1...2).map { try SharingNode(policies, number: $0, now: Self.at(0)) }
    }

    private func link(_ nodes: [SharingNode], now: Instant) {
        let said = nodes.map { $0.sharing.opened(now: now) }
        nodes[0].take(said[1], now: now)
        nodes[1].take(said[0], now: now)
    }

    private func exchange(_ nodes: [SharingNode], now: Instant) {
        let said = nodes.map { $0.sharing.batches(now: now, unsent: 0) }
        nodes[0].take(said[1], now: now)
        nodes[1].take(said[0], now: now)
    }

    @Test("500 per second for 20 s, spread over both: at most 375 of 360 pass")
    func flood() throws {
        let nodes = try nodes(try Self.policy())
        link(nodes, now: Self.at(0))
        var passed = 0
        // On their way for 3 ms.
        var wire: [(at: UInt64, to: Int, [PairMessage])] = []
        for time in 0..<20_000 as Range<UInt64> {
            let now = Self.at(time)
            while let first = wire.first, first.at <= time {
                nodes[first.to].take(first.2, now: now)
                wire.removeFirst()
            }
            if time % 50 == 0 {
                for (index, node) in nodes.enumerated() {
                    let said = node.sharing.batches(now: now, unsent: 0)
                    wire.append((time + 3, 1 - index, said))
                }
            }
            if time % 2 == 0, nodes[Int(time / 2) % 2].admits(now: now) { passed += 1 }
        }
        #expect((359...375).contains(passed), "\(passed)")
    }

    @Test("A client at 119 of 120 is limited at the 121st on either node")
    func boundary() throws {
        for last in [[0, 0], [0, 1], [1, 0], [1, 1]] {
            let nodes = try nodes(try Self.policy())
            let now = Self.at(5)
            link(nodes, now: now)
            for _ in 0..<119 { #expect(nodes[0].admits(now: now)) }
            exchange(nodes, now: now)
            #expect(nodes[last[0]].admits(now: now))
            exchange(nodes, now: now)
            #expect(!nodes[last[1]].admits(now: now))
            #expect(nodes[last[1]].admits(2, now: now))
        }
    }

    @Test("What was told is not told back, and what was told twice counts once")
    func once() throws {
        let nodes = try nodes(try Self.policy())
        let now = Self.at(1)
        link(nodes, now: now)
        for _ in 0..<20 { _ = nodes[0].admits(now: now) }
        let said = nodes[0].sharing.batches(now: now, unsent: 0)
        #expect(said.count == 1)
        #expect(nodes[0].sharing.batches(now: now, unsent: 0).isEmpty)

        nodes[1].take(said, now: now)
        nodes[1].take(said, now: now)

        #expect(nodes[1].left(now: now) == 100)
        #expect(nodes[1].sharing.counts.taken == 20)
        #expect(nodes[1].sharing.counts.repeated == 1)
        #expect(nodes[1].sharing.batches(now: now, unsent: 0).isEmpty)
    }

    @Test("A node that comes back with nothing learns from the one that stayed")
    func newMemory() throws {
        let nodes = try nodes(try Self.policy())
        let now = Self.at(1)
        link(nodes, now: now)
        for _ in 0..<120 { _ = nodes[0].admits(now: now) }
        exchange(nodes, now: now)
        nodes[1].sharing.closed()
        let fresh = try SharingNode([try Self.policy()], number: 3, now: now)
        #expect(fresh.admits(now: now))

        link([fresh, nodes[1]], now: now)

        #expect(!fresh.admits(now: now))
        #expect(fresh.admits(2, now: now))
        #expect(fresh.sharing.counts.debts == 1)
    }

    @Test("After a time without a link the larger debt counts, however often it is told")
    func maximum() throws {
        let nodes = try nodes(try Self.policy())
        let now = Self.at(1)
        for node in nodes { node.sharing.closed() }
        for _ in 0..<60 { _ = nodes[0].admits(now: now) }
        for _ in 0..<30 { _ = nodes[1].admits(now: now) }
        for _ in 0..<3 {
            link(nodes, now: now)
            // What was admitted before is in the debts, and in them alone.
            exchange(nodes, now: now)
            for node in nodes {
                // A span is told in whole nanoseconds, and rounded up.
                #expect((59...60).contains(node.left(now: now)), "\(node.left(now: now))")
                node.sharing.closed()
            }
        }
    }

    @Test("A debt is told as a span: clocks that began at other times do not matter")
    func clocks() throws {
        let one = try SharingNode([try Self.policy()], number: 1, now: Self.at(0))
        let other = try SharingNode(
            [try Self.policy()], number: 2, now: Instant(nanoseconds: 5_000_000))
        for _ in 0..<120 { _ = one.admits(now: Self.at(0)) }

        // 5 s later half of it is there again.
        let said = one.sharing.opened(now: Self.at(5_000))
        other.take(said, now: Instant(nanoseconds: 77_000_000))

        #expect((59...60).contains(other.left(now: Instant(nanoseconds: 77_000_000))))
    }

    @Test("Limits that are not the same here count for nothing but in the figures")
    func drift() throws {
        let one = try SharingNode([try Self.policy()], number: 1, now: Self.at(0))
        let other = try SharingNode([try Self.policy(100)], number: 2, now: Self.at(0))
        let now = Self.at(1)
        link([one, other], now: now)
        for _ in 0..<20 { _ = one.admits(now: now) }
        exchange([one, other], now: now)
        #expect(other.sharing.counts.unknown == 1)
        one.sharing.closed()
        link([one, other], now: now)

        #expect(other.left(now: now) == 100)
        #expect(other.sharing.counts.taken == 0 && other.sharing.counts.debts == 0)
        #expect(other.sharing.counts.unknown == 2)
    }

    @Test("What comes over does not make this node forget a debt of the rate before")
    func formerRate() throws {
        let nodes = try nodes(try Self.policy(120))
        let now = Self.at(1)
        link(nodes, now: now)
        for _ in 0..<60 { _ = nodes[1].admits(now: now) }
        for node in nodes { node.use([try Self.policy(100)], now: now) }

        #expect(nodes[0].admits(now: now))
        exchange(nodes, now: now)

        // Half of it, and the one that was told.
        #expect((38...39).contains(nodes[1].left(now: now)), "\(nodes[1].left(now: now))")
    }

    @Test("A flood of clients is told within the link's bounds, who asks most first")
    func bounds() throws {
        let node = try SharingNode(
            [try Self.policy()], number: 1, now: Self.at(0), allowance: 14_000)
        _ = node.sharing.opened(now: Self.at(0))
        var bytes = 0
        var client: UInt64 = 0
        for period in 1...10 as ClosedRange<UInt64> {
            let now = Self.at(period * 50)
            for _ in 0..<5 { _ = node.admits(0xFFFF, now: now) }
            for _ in 0..<1_000 {
                client += 1
                let subject = LimitSubject(high: 0, low: client)
                node.sharing.admitted(.init(identity: 1, subject: subject, cost: 1))
            }
            var heavy = 0
            for message in node.sharing.batches(now: now, unsent: 0) {
                bytes += message.encoded.count
                guard case .costs(let costs) = message else { continue }
                heavy += costs.entries.reduce(0) { $0 + ($1.cost > 1 ? 1 : 0) }
            }
            #expect(heavy == 1, "period \(period)")
            let allowed = 14_000 + LimitSharing.allowancePerSecond * Int(period) / 20
            #expect(bytes <= allowed + 100 * Int(period) && bytes > allowed * 9 / 10)
        }
        #expect(node.sharing.hasCosts)

        // With all that, names and keys have room in what the other node takes.
        let timing = PairTiming()
        let seconds = Int(timing.window.components.seconds)
        let most = LimitSharing.allowanceMax + seconds * LimitSharing.allowancePerSecond
        #expect(most < timing.bytesMax * 5 / 8)
    }

    @Test("To a node that does not read nothing is added")
    func unread() throws {
        let node = try SharingNode([try Self.policy()], number: 1, now: Self.at(0))
        _ = node.sharing.opened(now: Self.at(0))
        _ = node.admits(now: Self.at(1))

        let unsent = LimitSharing.unsentMax + 1
        #expect(node.sharing.batches(now: Self.at(1), unsent: unsent).isEmpty)
        #expect(node.sharing.hasCosts)
        #expect(node.sharing.batches(now: Self.at(51), unsent: 0).count == 1)
        #expect(!node.sharing.hasCosts)
    }

    @Test("The whole of what is remembered is told in messages that the other node takes")
    func remembered() throws {
        let node = try SharingNode(
            [try Self.policy()], number: 1, now: Self.at(0), clients: 32_768)
        let now = Self.at(1)
        for client in 0..<10_000 as Range<UInt32> { _ = node.admits(client, now: now) }

        let said = node.sharing.opened(now: now)

        var debts = 0
        for message in said {
            guard case .debts(let some) = message else { continue }
            debts += some.count
            let bytes = message.encoded
            #expect(bytes.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
            var frames = PairFrames()
            frames.append(bytes)
            #expect(try frames.next() == .message(message, byteCount: bytes.count))
        }
        #expect((4_000...CostBook.recentMax).contains(debts), "\(debts)")
        #expect(said.count <= 6)
    }

    @Test("Texts are hashed under the key that was there first, whoever comes back with nothing")
    func textKey() throws {
        let old = try SharingNode([try Self.policy()], number: 1, now: Self.at(0))
        let new = try SharingNode([try Self.policy()], number: 2, now: Self.at(1_000))
        let key = old.memory.rates.textKey
        #expect(new.memory.rates.textHash != old.memory.rates.textHash)
        #expect(old.memory.rates.textHash != old.memory.rates.table.hash)

        link([old, new], now: Self.at(2_000))
        for node in [old, new] {
            #expect(node.memory.rates.textKey.high == key.high)
            node.sharing.closed()
        }

        // The first one loses its memory.
        let next = try SharingNode([try Self.policy()], number: 3, now: Self.at(3_000))
        link([next, new], now: Self.at(4_000))
        #expect(next.memory.rates.textHash == new.memory.rates.textHash)
        #expect(next.memory.rates.textKey.high == key.high)
    }

    @Test("Who is counted by a text is the same on both nodes")
    func texts() throws {
        let nodes = try nodes(try Self.policy { $0.key = .field("x-key") })
        let now = Self.at(1)
        link(nodes, now: now)
        let value = Array("secret".utf8)
        func hash(_ node: SharingNode) -> UInt64 { node.memory.rates.hash(value.span) }
        for _ in 0..<120 { #expect(nodes[0].admits(text: hash(nodes[0]), now: now)) }

        exchange(nodes, now: now)

        #expect(!nodes[1].admits(2, text: hash(nodes[1]), now: now))
        #expect(nodes[1].admits(2, now: now))
    }
}
