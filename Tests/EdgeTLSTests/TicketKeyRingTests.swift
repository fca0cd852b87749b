import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: ticket key ring") struct TicketKeyRingTests {
    private static let hour: UInt64 = 3_600_000_000_000

    private static func at(_ hours: UInt64) -> Instant { Instant(nanoseconds: 1 + hours * hour) }

    private static func key(_ byte: UInt8, _ hours: UInt64) -> TicketKey {
        Shared.key(byte, madeAt: 1 + hours * hour)
    }

    private static func ids(_ ring: TicketKeyRing) -> [UInt8] { ring.keys.map { $0.id[0] } }

    @Test("Without a key one is due at once; then every third of the lifetime")
    func due() {
        var ring = TicketKeyRing(lifetime: .seconds(12 * 3600))
        #expect(ring.due <= Self.at(0))

        ring.rotate(to: Self.key(1, 0), now: Self.at(0))

        #expect(ring.due == Self.at(4))
    }

    @Test("The newest is first, at most four are known, the oldest goes")
    func four() {
        var ring = TicketKeyRing(lifetime: .seconds(12 * 3600))
        for number in 0..<6 {
            let hours = UInt64(number) * 4
            ring.rotate(to: Self.key(UInt8(number), hours), now: Self.at(hours))
            #expect(ring.due == Self.at(hours + 4))
        }

        #expect(Self.ids(ring) == [5, 4, 3, 2])
    }

    @Test("A key is known until the last ticket it sealed has ended, and no longer")
    func lifetime() {
        // Sealed by key 1 just before hour 4, good until hour 16.
        for (hours, isKnown) in [(UInt64(15), true), (16, false), (400, false)] {
            var ring = TicketKeyRing(keys: [Self.key(1, 0)], lifetime: .seconds(12 * 3600))
            ring.rotate(to: Self.key(2, hours), now: Self.at(hours))
            #expect(Self.ids(ring) == (isKnown ? [2, 1] : [2]))
        }
    }

    @Test("A predecessor's keys are taken up; another lifetime counts at once")
    func heritage() {
        var ring = TicketKeyRing(
            keys: [Self.key(2, 8), Self.key(1, 4)], lifetime: .seconds(12 * 3600))
        #expect(ring.due == Self.at(12))

        ring.lifetime = .seconds(3 * 3600)
        #expect(ring.due == Self.at(9))
        ring.lifetime = .seconds(604_800)
        #expect(ring.due == Self.at(8 + 56))
    }

    @Test("Whatever happens: one to four keys, newest first, each once, none too old")
    func walk() {
        seeded(40) { random in
            var ring = TicketKeyRing(lifetime: .seconds(Int(3 + random.next() % 604_798)))
            var now = Instant(nanoseconds: 1)
            for step in 0..<200 {
                now = now.advanced(byNanoseconds: random.next() % (ring.period * 3))
                if random.next() % 16 == 0 {
                    ring.lifetime = .seconds(Int(3 + random.next() % 604_798))
                }
                guard ring.due <= now else { continue }
                ring.rotate(
                    to: Shared.key(UInt8(truncatingIfNeeded: step), madeAt: now.nanoseconds),
                    now: now)
                #expect((1...4).contains(ring.keys.count))
                #expect(ring.keys.map(\.madeAt) == ring.keys.map(\.madeAt).sorted(by: >))
                #expect(Set(ring.keys.map(\.madeAt)).count == ring.keys.count)
                #expect(
                    ring.keys.allSatisfy { now.nanoseconds(since: $0.madeAt) < 4 * ring.period })
            }
        }
    }
}

@Suite("TLS: ticket keys of a pair") struct TicketPairTests {
    private static let lifetime = Duration.seconds(12 * 3600)
    private static let leader: UInt64 = 77

    private static func at(_ hours: Double) -> Instant {
        Instant(nanoseconds: UInt64(hours * 3_600_000_000_000) + 1_000)
    }

    private static func key(_ byte: UInt8, _ hours: Double, origin: UInt64 = 0) -> TicketKey {
        var key = Shared.key(byte, madeAt: at(hours).nanoseconds)
        key.origin = origin
        return key
    }

    private static func ids(_ ring: TicketKeyRing) -> [UInt8] { ring.keys.map { $0.id[0] } }

    @Test("The leader's newest key seals on the follower, its own and all others open")
    func follow() {
        var ring = TicketKeyRing(keys: [Self.key(1, 1)], lifetime: Self.lifetime)
        let sealsOther = ring.follow(Self.leader, now: Self.at(1))
        #expect(!sealsOther)

        let isOther = ring.merge(
            [Self.key(8, 0.5, origin: Self.leader), Self.key(7, -0.0, origin: Self.leader)],
            now: Self.at(1))

        #expect(isOther)
        #expect(Self.ids(ring) == [8, 1, 7])
        let isNews = ring.merge(ring.keys, now: Self.at(1))
        #expect(!isNews, "what is known changes nothing")
    }

    @Test("The leader goes on as if it were alone; the follower's keys only open")
    func lead() {
        var ring = TicketKeyRing(keys: [Self.key(1, 0)], lifetime: Self.lifetime)
        _ = ring.follow(0, now: Self.at(0))
        _ = ring.merge([Self.key(5, 1, origin: 99)], now: Self.at(1))

        #expect(Self.ids(ring) == [1, 5])
        #expect(ring.due == Self.at(4))
        ring.rotate(to: Self.key(2, 4), now: Self.at(4))
        #expect(Self.ids(ring) == [2, 5, 1])
    }

    @Test(
        "With the link lost the follower seals with the leader's key to its end, then with its own")
    func lost() {
        var ring = TicketKeyRing(
            keys: [Self.key(8, 0, origin: Self.leader)], lifetime: Self.lifetime)
        _ = ring.follow(Self.leader, now: Self.at(0))
        #expect(ring.due > Self.at(4) && ring.due < Self.at(4.02), "a little later than the leader")

        ring.rotate(to: Self.key(1, 4.02), now: ring.due)
        #expect(Self.ids(ring) == [1, 8])
        #expect(ring.due > Self.at(8.01) && ring.due < Self.at(8.03))

        _ = ring.merge([Self.key(9, 4, origin: Self.leader)], now: Self.at(5))
        #expect(Self.ids(ring) == [9, 1, 8], "the link is back")
    }

    @Test("Not paired any more, a node makes a key of its own and knows the other's to their end")
    func unpaired() {
        var ring = TicketKeyRing(
            keys: [Self.key(8, 2, origin: Self.leader)], lifetime: Self.lifetime)
        _ = ring.follow(Self.leader, now: Self.at(2))
        _ = ring.follow(0, now: Self.at(3))
        #expect(ring.due <= Self.at(3))

        ring.rotate(to: Self.key(1, 3), now: Self.at(3))
        #expect(Self.ids(ring) == [1, 8])
    }

    @Test("A follower's successor follows the same node, and makes no key of its own")
    func successor() {
        var ring = TicketKeyRing(
            keys: [Self.key(1, 1), Self.key(8, 2, origin: Self.leader)], lifetime: Self.lifetime)
        _ = ring.follow(Self.leader, now: Self.at(3))

        let next = TicketKeyRing(keys: ring.keys, lifetime: Self.lifetime)

        #expect(next.leader == Self.leader)
        #expect(next.due == ring.due && next.due > Self.at(6))
        #expect(TicketKeyRing(lifetime: Self.lifetime).leader == 0)
    }

    @Test("A key whose maker has another number is known by it, our own stays ours")
    func renamed() {
        var ring = TicketKeyRing(
            keys: [Self.key(1, 1), Self.key(8, 2, origin: 55)], lifetime: Self.lifetime)
        _ = ring.follow(Self.leader, now: Self.at(3))
        #expect(Self.ids(ring) == [1, 8])

        _ = ring.merge(
            [Self.key(8, 2, origin: Self.leader), Self.key(1, 1, origin: Self.leader)],
            now: Self.at(3))

        #expect(Self.ids(ring) == [8, 1])
        #expect(ring.keys.map(\.origin) == [Self.leader, 0])
    }

    @Test("What is too old is not taken up, and four are enough")
    func bounds() {
        var ring = TicketKeyRing(keys: [Self.key(1, 20)], lifetime: Self.lifetime)
        let isOther = ring.merge([Self.key(8, 4, origin: Self.leader)], now: Self.at(20))
        #expect(!isOther)

        let many = (0..<8).map { Self.key(UInt8(10 + $0), 12 + Double($0), origin: Self.leader) }
        _ = ring.merge(many, now: Self.at(20))
        #expect(Self.ids(ring) == [1, 17, 16, 15])
    }

    @Test("However often the follower starts anew, the leader's tickets open for their lifetime")
    func restarts() {
        seeded(40) { random in
            var leader = TicketKeyRing(lifetime: Self.lifetime)
            var follower = TicketKeyRing(lifetime: Self.lifetime)
            var now = Self.at(1)
            var made: UInt8 = 0
            var tickets: [(key: SIMD16<UInt8>, until: Instant)] = []
            func newKey() -> TicketKey {
                made &+= 1
                return Shared.key(made, madeAt: now.nanoseconds)
            }
            for _ in 0..<200 {
                now = now.advanced(byNanoseconds: 1 + random.next() % 1_800_000_000_000)
                if leader.due <= now { leader.rotate(to: newKey(), now: now) }
                if random.chance(1, of: 2) {
                    // Its memory is gone, and it makes a key before there is a link.
                    follower = TicketKeyRing(lifetime: Self.lifetime)
                    follower.rotate(to: newKey(), now: now)
                    _ = follower.follow(Self.leader, now: now)
                }
                for _ in 0..<2 {
                    _ = follower.merge(
                        Self.carry(leader.keys, from: Self.leader, to: 5), now: now)
                    _ = leader.merge(Self.carry(follower.keys, from: 5, to: Self.leader), now: now)
                }
                tickets.removeAll { $0.until <= now }
                for ring in [leader, follower] {
                    let known = Set(ring.keys.map(\.id))
                    #expect(tickets.allSatisfy { known.contains($0.key) })
                    #expect(ring.keys.count <= TicketKeyRing.keysMax)
                }
                guard let sealing = leader.keys.first else { continue }
                #expect(follower.keys.first?.id == sealing.id)
                tickets.append((sealing.id, now.advanced(by: Self.lifetime)))
            }
        }
    }

    /// As they arrive at the other node.
    private static func carry(_ keys: [TicketKey], from: UInt64, to: UInt64) -> [TicketKey] {
        keys.map { key in
            var key = key
            key.origin = key.origin == 0 ? from : key.origin == to ? 0 : key.origin
            return key
        }
    }

    @Test("Two nodes with a link that comes and goes: the same key seals on both while it holds")
    func walk() {
        seeded(40) { random in
            var leader = TicketKeyRing(lifetime: Self.lifetime)
            var follower = TicketKeyRing(lifetime: Self.lifetime)
            var now = Self.at(1)
            var isLinked = false
            var made: UInt8 = 0
            _ = follower.follow(Self.leader, now: now)
            for _ in 0..<300 {
                now = now.advanced(byNanoseconds: random.next() % 3_600_000_000_000)
                if random.chance(1, of: 8) { isLinked.toggle() }
                if leader.due <= now {
                    made &+= 1
                    leader.rotate(to: Shared.key(made, madeAt: now.nanoseconds), now: now)
                }
                func share() {
                    _ = follower.merge(
                        Self.carry(leader.keys, from: Self.leader, to: 5), now: now)
                    _ = leader.merge(
                        Self.carry(follower.keys, from: 5, to: Self.leader), now: now)
                }
                if isLinked { share() }
                now = now.advanced(byNanoseconds: 1)
                if follower.due <= now {
                    made &+= 1
                    follower.rotate(to: Shared.key(made, madeAt: now.nanoseconds), now: now)
                }
                if isLinked {
                    share()
                    #expect(leader.keys.first?.id == follower.keys.first?.id)
                    #expect(leader.keys.first?.origin == 0)
                    #expect(
                        Set(leader.keys.map(\.id[0])) == Set(follower.keys.map(\.id[0])),
                        "each opens what the other seals")
                }
                #expect((1...4).contains(follower.keys.count))
                #expect((1...4).contains(leader.keys.count))
            }
        }
    }
}
