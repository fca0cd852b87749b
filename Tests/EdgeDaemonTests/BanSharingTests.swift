import EdgeCore
import EdgeLimits
import EdgePair
import EdgeProxy
import EdgeSystem
import Testing

@testable import EdgeDaemon

@Suite("Bans of two nodes") struct BanSharingTests {
    /// One node with a clock of its own.
    private struct Node {
        var sharing = BanSharing()
        var bans: [Ban] = []
        var time: Int64

        mutating func ban(
            _ client: ClientNetwork, _ policy: String? = nil, for span: Int64
        ) -> PairMessage {
            let ban = Ban(client: client, policy: policy, made: time, until: time + span)
            add(ban)
            return message(sharing.began(.banned(ban), at: time))
        }

        mutating func lift(_ client: ClientNetwork) -> PairMessage {
            remove(client)
            return message(sharing.began(.lifted(client), at: time))
        }

        private func message(_ ban: PairBan) -> PairMessage {
            .bans(PairBans(isList: false, bans: [ban]))
        }

        mutating func take(_ messages: [PairMessage]) {
            for message in messages {
                guard case .bans(let told) = message else {
                    Issue.record("\(message)")
                    continue
                }
                for deed in sharing.take(told, from: "other", known: bans, at: time) {
                    switch deed {
                    case .ban(let ban): add(ban)
                    case .lift(let client): remove(client)
                    }
                }
            }
        }

        mutating func add(_ ban: Ban) {
            bans.removeAll { $0.client == ban.client && $0.policy == ban.policy }
            bans.append(ban)
        }

        mutating func remove(_ client: ClientNetwork) { bans.removeAll { $0.client == client } }

        mutating func pass(_ seconds: Int64) {
            time += seconds
            bans.removeAll { [time] in $0.until <= time }
        }

        var list: [PairMessage] { sharing.opened(bans, at: time) }
    }

    private let client: ClientNetwork
    private let other: ClientNetwork

    init() throws {
        client = try #require(ClientNetwork("192.0.2.1"))
        other = try #require(ClientNetwork("2001:db8:1::/64"))
    }

    /// Clocks that are nine years apart.
    private var nodes: [Node] { [Node(time: 1_700_000_000), Node(time: 2_000_000_000)] }

    private func link(_ nodes: inout [Node]) {
        let said = nodes.map(\.list)
        nodes[0].take(said[1])
        nodes[1].take(said[0])
    }

    @Test("A ban holds on the other node for as long as it lasts here, whatever its clock says")
    func ban() {
        var nodes = nodes
        nodes[1].take([nodes[0].ban(client, "public", for: 100)])
        nodes[1].take([nodes[0].ban(other, for: 50)])

        #expect(nodes[1].bans.map(\.client) == [client, other])
        #expect(nodes[1].bans.map(\.policy) == ["public", nil])
        #expect(nodes[1].bans.map { $0.until - nodes[1].time } == [100, 50])
        #expect(nodes[1].bans.allSatisfy { $0.node == "other" })
        nodes[1].take([nodes[0].lift(other)])
        #expect(nodes[1].bans.map(\.client) == [client])
    }

    @Test("A node that comes back with nothing learns all bans, and none gets longer by it")
    func list() {
        var nodes = nodes
        _ = nodes[0].ban(client, "public", for: 100)
        _ = nodes[1].ban(other, for: 1_000)
        for _ in 0..<20 {
            for index in 0..<2 { nodes[index].pass(2) }
            link(&nodes)
            // Seconds do not begin at the same time on both.
            nodes[0].time += 1
            nodes[1].take(nodes[0].list)
            nodes[0].time -= 1
        }
        for node in nodes {
            #expect(node.bans.count == 2)
            for ban in node.bans {
                let left = ban.until - node.time
                let right: Int64 = ban.client == client ? 60 : 960
                #expect((right - 3...right + 3).contains(left), "\(left)")
            }
        }
    }

    @Test("A node whose clock is not set yet tells no ban that is longer than it was made for")
    func clockNotSet() {
        var nodes = nodes
        nodes[1].add(
            Ban(
                client: client, policy: "public", made: nodes[1].time, until: nodes[1].time + 600))
        nodes[1].time = 100
        nodes[0].take(nodes[1].list)
        #expect(nodes[0].bans.map { $0.until - nodes[0].time } == [600])
    }

    @Test("What was lifted while there was no link does not come back with it")
    func lifted() {
        var nodes = nodes
        nodes[1].take([nodes[0].ban(client, for: 1_000)])
        nodes[1].take([nodes[0].ban(other, for: 1_000)])
        for index in 0..<2 { nodes[index].pass(10) }
        _ = nodes[1].lift(client)
        for index in 0..<2 { nodes[index].pass(10) }
        // Made after that, and not to be touched by it.
        _ = nodes[0].lift(other)
        for index in 0..<2 { nodes[index].pass(10) }
        _ = nodes[1].ban(other, for: 2_000)
        _ = nodes[0].ban(other, for: 500)

        for _ in 0..<3 { link(&nodes) }

        for node in nodes {
            #expect(node.bans.map(\.client) == [other])
            #expect(node.bans[0].until - node.time == 2_000)
        }
    }

    @Test("What was lifted without a link does not come back after the process has been replaced")
    func replaced() {
        var nodes = nodes
        nodes[1].take([nodes[0].ban(client, for: 1_000)])
        for index in 0..<2 { nodes[index].pass(10) }
        _ = nodes[0].lift(client)
        let liftings = nodes[0].sharing.liftings
        #expect(liftings == [.init(client: client, time: nodes[0].time)])
        for index in 0..<2 { nodes[index].pass(10) }

        nodes[0].sharing = BanSharing()
        nodes[0].sharing.restore(liftings, at: nodes[0].time)
        link(&nodes)

        #expect(nodes[0].bans.isEmpty && nodes[1].bans.isEmpty)
        #expect(nodes[0].sharing.version > 0)
        // A clock that is not set knows nothing of what was when.
        var early = BanSharing()
        early.restore(liftings, at: 100)
        #expect(early.liftings.isEmpty && early.version == 0)
    }

    @Test("Liftings are remembered within bounds, the newest")
    func bounds() throws {
        var node = nodes[0]
        for number in 0..<(BanSharing.liftedMax + 100) {
            node.time += 1
            let text = "10.0.\(number >> 8).\(number & 255)"
            _ = node.lift(try #require(ClientNetwork(text)))
        }
        let told = node.list.reduce(0) { count, message in
            guard case .bans(let bans) = message else { return count }
            #expect(message.encoded.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
            #expect(bans.bans.allSatisfy { $0.remaining == 0 && $0.age <= 1_024 })
            return count + bans.bans.count
        }
        #expect(told == BanSharing.liftedMax)
    }

    @Test("A network with bits beyond its own is nobody")
    func nobody() {
        var node = nodes[0]
        let ban = PairBan(
            client: SocketAddress(ipv4: 0xC000_0201, port: 0), bits: 24, policy: "", age: 0,
            remaining: 9)
        node.take([.bans(PairBans(isList: false, bans: [ban]))])
        #expect(node.bans.isEmpty)
    }

    @Test("What both nodes refuse is shown as one: sums, the most first")
    func merged() throws {
        var own = TopTable<LimitNews.Refused>(capacity: 4)
        own.note(
            LimitNews.Refused(client: client, policy: "public"), count: 10, surplus: 1,
            now: Instant(nanoseconds: 99_000_000_000))
        func theirs(_ client: ClientNetwork, _ count: UInt64) -> PairRefusals.Row {
            .init(
                client: client.base, bits: client.bits, policy: "public", isShadow: false,
                count: count, surplus: 2, firstAge: 9, lastAge: 5)
        }
        let told = PairLimits.Told(
            refusals: PairRefusals(
                policies: [.init(name: "public", admitted: 1, refused: 2, shadow: 3, bans: 4)],
                rows: [theirs(client, 7), theirs(other, 30)]),
            at: .init(instant: Instant(nanoseconds: 100_000_000_000), time: 0))

        let rows = told.merged(own.sorted)

        #expect(rows.map(\.key.client) == [other, client])
        #expect(rows.map(\.count) == [30, 17])
        #expect(rows[1].surplus == 3)
        #expect(rows[1].first == Instant(nanoseconds: 91_000_000_000))
        #expect(rows[1].last == Instant(nanoseconds: 99_000_000_000))
        #expect(told.figures("public").refused == 2)
        #expect(told.figures("other") == LimitNews.Figures())
    }
}
