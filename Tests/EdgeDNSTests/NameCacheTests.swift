import EdgeCore
import EdgeDNS
import Testing

@Suite("All names") struct NameCacheTests {
    private static let start = Instant(nanoseconds: 5_000_000_000)

    private static func good(_ value: UInt32, ttl: UInt32 = 10) -> NameAnswer {
        NameAnswer(
            ipv4: .addresses([SocketAddress(ipv4: value, port: 0)], ttl: ttl), ipv6: .empty)
    }

    @Test("a reload keeps what is known of names that stay")
    func track() {
        var cache = NameCache(seed: 1)
        cache.track(["a.example", "b.example"], now: Self.start)
        _ = cache.takeDue(now: Self.start, room: 10)
        _ = cache.answered("a.example", Self.good(1 << 24), now: Self.start)

        cache.track(["a.example", "c.example"], now: Self.start)

        #expect(cache.names == ["a.example", "c.example"])
        #expect(cache["a.example"]?.addresses.count == 1)
        expectDue(&cache, Self.start, 10, ["c.example"])
        let late = cache.answered("b.example", Self.good(2 << 24), now: Self.start)
        #expect(late == nil)
    }

    private func expectDue(
        _ cache: inout NameCache, _ now: Instant, _ room: Int, _ names: [String],
        at location: SourceLocation = #_sourceLocation
    ) {
        let due = cache.takeDue(now: now, room: room)
        #expect(due == names, sourceLocation: location)
    }

    @Test("no more names are taken than there is room, the longest overdue first")
    func room() {
        var cache = NameCache(seed: 1)
        cache.track(["z.example"], now: Self.start)
        let later = Self.start.advanced(by: .seconds(1))
        cache.track(["a.example", "b.example", "z.example"], now: later)

        expectDue(&cache, later, 0, [])
        expectDue(&cache, later, -1, [])
        expectDue(&cache, later, 2, ["z.example", "a.example"])
        expectDue(&cache, later, 2, ["b.example"])
        #expect(cache.nextDue == .never)
    }

    @Test(
        "a random walk loses no address and reports each change once",
        arguments: [1, 2, 3, 42, 4711] as [UInt64])
    func walk(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var cache = NameCache(seed: seed)
        let names = (0..<8).map { "n\($0).example" }
        var tracked = Set(names)
        var asked: [String] = []
        var known: [String: [SocketAddress]] = [:]
        var now = Self.start
        cache.track(tracked, now: now)

        for _ in 0..<20_000 {
            now = now.advanced(byNanoseconds: random.next(upperBound: 2_000_000_000))
            switch random.next(upperBound: 10 as UInt64) {
            case 0:
                tracked = Set(names.filter { _ in Bool.random(using: &random) })
                cache.track(tracked, now: now)
                known = known.filter { tracked.contains($0.key) }
                asked.removeAll { !tracked.contains($0) }
            case 1: cache.hurry(names.randomElement(using: &random)!, now: now)
            case 2...4:
                let room = 4 - asked.count
                let due = cache.takeDue(now: now, room: room)
                #expect(due.count <= max(room, 0))
                #expect(Set(due).isDisjoint(with: asked), "a name is asked once at a time")
                asked += due
            default:
                guard !asked.isEmpty else { continue }
                let name = asked.remove(at: Int(random.next(upperBound: UInt64(asked.count))))
                let answer = Self.randomAnswer(&random)
                let changed = cache.answered(name, answer, now: now)
                let after = cache[name]!.addresses
                #expect((changed != nil) == (after != known[name, default: []]))
                #expect(changed == nil || changed == after)
                known[name] = after
            }
            for name in tracked {
                let machine = cache[name]!
                let before = known[name, default: []]
                #expect(machine.addresses == before, "seed \(seed)")
                #expect(before.isEmpty || !machine.addresses.isEmpty)
                #expect((machine.state == .unresolved) == machine.addresses.isEmpty)
                let isBounded =
                    machine.due == .never || machine.due <= now.advanced(by: .seconds(60))
                #expect(isBounded, "seed \(seed)")
            }
        }
    }

    private static func randomAnswer(_ random: inout SplitMix64) -> NameAnswer {
        func family(_ isIPv4: Bool, _ random: inout SplitMix64) -> FamilyAnswer {
            switch random.next(upperBound: 5 as UInt64) {
            case 0: return .empty
            case 1: return .failed(.timeout)
            case 2: return .failed(.nameNotFound)
            default:
                let low = UInt32(random.next(upperBound: 3 as UInt64)) + 1
                let address =
                    isIPv4
                    ? SocketAddress(ipv4: 10 << 24 | low, port: 0)
                    : SocketAddress(ipv6High: 0x2001 << 48, low: UInt64(low), port: 0)
                return .addresses([address], ttl: low * 40)
            }
        }
        return NameAnswer(ipv4: family(true, &random), ipv6: family(false, &random))
    }
}
