import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeDNS

/// What another node remembers of names.
@Suite("Names that somebody else knows") struct SuggestionTests {
    private static let start = Instant(nanoseconds: 5_000_000_000_000)
    private static let wall: Int64 = 1_700_000_000

    private static func address(_ value: UInt32) -> SocketAddress {
        SocketAddress(ipv4: 0x0A00_0001 + value << 8, port: 0)
    }

    private static func records(_ value: UInt32, age: Int64 = 10) -> NameRecords {
        var records = NameRecords()
        records.names["a.example"] = .init(addresses: [address(value)], seconds: wall - age)
        return records
    }

    private static func good(_ value: UInt32) -> NameAnswer {
        NameAnswer(ipv4: .addresses([address(value)], ttl: 10), ipv6: .empty)
    }

    private static func cache(remembered: NameRecords = NameRecords()) -> NameCache {
        var cache = NameCache(
            seed: 1, remembered: remembered, wallSeconds: wall, now: start)
        cache.track(["a.example"], now: start)
        return cache
    }

    @Test("Without any answer they are proposed, unconfirmed and as old as they are")
    func proposed() {
        var cache = Self.cache()

        let changed = cache.suggest(Self.records(1), wallSeconds: Self.wall, now: Self.start)

        #expect(changed == ["a.example"])
        let proposal = cache.proposal(for: "a.example", without: [])
        #expect(proposal.endpoints.map(\.address) == [Self.address(1)])
        #expect(!proposal.isConfirmed)
        #expect(cache["a.example"]?.confirmation.age(now: Self.start) == .seconds(10))
        #expect(cache["a.example"]?.state == .stale)
        #expect(cache["a.example"]?.due == Self.start, "DNS is asked all the same")
    }

    @Test("The other node's clock does not count, only its difference")
    func clocks() {
        var cache = Self.cache()
        var records = NameRecords()
        records.names["a.example"] = .init(addresses: [Self.address(1)], seconds: 5_000)

        _ = cache.suggest(records, wallSeconds: 5_030, now: Self.start)

        #expect(cache["a.example"]?.confirmation.age(now: Self.start) == .seconds(30))
    }

    @Test("What DNS has said here is never overridden, also when DNS fails afterwards")
    func ours() {
        var cache = Self.cache()
        _ = cache.takeDue(now: Self.start, room: 1)
        _ = cache.answered("a.example", Self.good(7), now: Self.start)
        let later = Self.start.advanced(by: .seconds(3600))
        _ = cache.answered(
            "a.example", NameAnswer(ipv4: .failed(.timeout), ipv6: .failed(.timeout)), now: later)

        let changed = cache.suggest(Self.records(1, age: 0), wallSeconds: Self.wall, now: later)

        #expect(changed.isEmpty)
        #expect(cache["a.example"]?.addresses == [Self.address(7)])
    }

    @Test("What DNS says afterwards replaces it at once")
    func replaced() {
        var cache = Self.cache()
        _ = cache.suggest(Self.records(1), wallSeconds: Self.wall, now: Self.start)
        _ = cache.takeDue(now: Self.start, room: 1)

        _ = cache.answered("a.example", Self.good(7), now: Self.start)

        #expect(cache["a.example"]?.addresses == [Self.address(7)])
        #expect(cache.proposal(for: "a.example", without: []).isConfirmed)
    }

    @Test("What is remembered here stays unless the other node's is clearly newer")
    func remembered() {
        for (age, isTaken) in [(Int64(10), true), (950, false), (2_000, false)] {
            var cache = Self.cache(remembered: Self.records(7, age: 1_000))
            let changed = cache.suggest(
                Self.records(1, age: age), wallSeconds: Self.wall, now: Self.start)
            #expect(changed.isEmpty != isTaken)
            #expect(
                cache["a.example"]?.addresses == [Self.address(isTaken ? 1 : 7)], "age \(age)")
        }
    }

    @Test("A name that is not in use is remembered for when it is, within bounds")
    func later() {
        var cache = Self.cache()
        var records = NameRecords()
        for index in 0..<(NameCache.suggestionsMax + 50) {
            records.names["n\(index).example"] = .init(
                addresses: [Self.address(3)], seconds: Self.wall - 5)
        }
        let changed = cache.suggest(records, wallSeconds: Self.wall, now: Self.start)
        #expect(changed.isEmpty)

        let later = Self.start.advanced(by: .seconds(60))
        cache.track(Set(records.names.keys), now: later)

        let known = cache.names.filter { cache[$0]?.addresses.isEmpty == false }
        #expect(known.count == NameCache.suggestionsMax)
        #expect(
            known.allSatisfy { cache[$0]?.confirmation.age(now: later) == .seconds(65) })
    }

    @Test("A service without records takes them, and its targets with them")
    func service() {
        var cache = NameCache(seed: 1, wallSeconds: Self.wall, now: Self.start)
        cache.track([], services: ["_https._tcp.example"], now: Self.start)
        var records = Self.records(4)
        records.services["_https._tcp.example"] = .init(
            records: [ServiceRecord(priority: 0, weight: 1, port: 443, target: "a.example")],
            seconds: Self.wall - 20)

        let changed = cache.suggest(records, wallSeconds: Self.wall, now: Self.start)

        #expect(changed == ["_https._tcp.example", "a.example"])
        let proposal = cache.proposal(for: "_https._tcp.example", without: [])
        #expect(proposal.endpoints.map(\.address) == [Self.address(4).with(port: 443)])
    }

    @Test("Records in parts are the same records, none of them long")
    func parts() {
        seeded(5) { random in
            var records = NameRecords()
            for index in 0..<2_000 {
                records.names["n\(index).example"] = .init(
                    addresses: (0...random.next() % 40).map { Self.address(UInt32($0)) },
                    seconds: Self.wall)
            }
            records.services["_s._tcp.example"] = .init(
                records: [ServiceRecord(priority: 0, weight: 1, port: 1, target: "t.example")],
                seconds: Self.wall)
            let parts = records.parts(byteCount: 32 << 10)

            #expect(parts.allSatisfy { $0.encode().count < 48 << 10 })
            var sum = NameRecords()
            for part in parts {
                sum.names.merge(part.names) { first, _ in first }
                sum.services.merge(part.services) { first, _ in first }
            }
            #expect(sum.names.count == 2_000)
            #expect(sum.encode().elementsEqual(records.encode()))
            #expect(NameRecords().parts(byteCount: 1).isEmpty)
            #expect(records.only(["n3.example", "nothing"]).names.count == 1)
        }
    }
}
