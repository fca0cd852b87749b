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
