import EdgeCore
import EdgeDNS
import Testing

@Suite("Services and what is proposed") struct ServiceTests {
    private static let start = Instant(nanoseconds: 1_000_000_000_000)
    private static let service = "_https._tcp.example"

    private static func at(_ seconds: Int64) -> Instant { start.advanced(by: .seconds(seconds)) }

    private static func good(_ texts: String...) -> NameAnswer {
        let list = texts.compactMap { SocketAddress(address: $0, port: 0) }
        return NameAnswer(ipv4: .addresses(list, ttl: 10), ipv6: .empty)
    }

    private static func record(
        _ target: String, _ port: UInt16 = 443, priority: UInt16 = 0, weight: UInt16 = 1
    ) -> ServiceRecord {
        ServiceRecord(priority: priority, weight: weight, port: port, target: target)
    }

    /// A cache that knows one service.
    private final class Harness {
        var cache: NameCache

        init(timing: NameTiming = NameTiming(), remembered: NameRecords = NameRecords()) {
            cache = NameCache(
                timing: timing, seed: 1, remembered: remembered, wallSeconds: 5_000,
                now: ServiceTests.start)
            cache.track([], services: [ServiceTests.service], now: ServiceTests.start)
        }

        func answer(_ records: [ServiceRecord], at now: Instant) {
            _ = cache.takeDueServices(now: now, room: 9)
            cache.answered(service: ServiceTests.service, .records(records, ttl: 10), now: now)
        }

        func answer(_ name: String, _ answer: NameAnswer, at now: Instant) {
            _ = cache.answered(name, answer, now: now)
        }

        var proposal: NameProposal { cache.proposal(for: ServiceTests.service, without: []) }

        var endpoints: [String] { proposal.endpoints.map { "\($0.address)" } }
    }

    @Test("targets are asked for as names, and their addresses get port, weight and priority")
    func endpoints() {
        let harness = Harness()
        harness.answer(
            [
                Self.record("a", 443, priority: 10, weight: 3),
                Self.record("b", 8443, priority: 20, weight: 0),
            ], at: Self.start)
        #expect(harness.cache.names == ["a", "b"])
        #expect(harness.cache.takeDue(now: Self.start, room: 9) == ["a", "b"])

        harness.answer("a", Self.good("192.0.2.1", "192.0.2.2"), at: Self.start)
        #expect(!harness.proposal.isConfirmed)
        harness.answer("b", Self.good("192.0.2.3"), at: Self.start)

        let expected = [
            (SocketAddress("192.0.2.1:443"), 3, 10, false),
            (SocketAddress("192.0.2.2:443"), 3, 10, false),
            (SocketAddress("192.0.2.3:8443"), 1, 20, true),
        ].compactMap { address, weight, priority, isBackup in
            address.map {
                ProposedEndpoint(
                    address: $0, weight: weight, priority: UInt16(priority), isBackup: isBackup)
            }
        }
        #expect(harness.proposal.endpoints == expected)
        #expect(harness.proposal.isConfirmed)
    }

    @Test("weights are brought to 1 to 256 in proportion")
    func weights() {
        let harness = Harness()
        harness.answer(
            [Self.record("a", weight: 65_535), Self.record("b", weight: 32_768)], at: Self.start)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.start)
        harness.answer("b", Self.good("192.0.2.2"), at: Self.start)

        #expect(harness.proposal.endpoints.map(\.weight) == [256, 128])
    }

    @Test("new targets take over only when they are known, so that no moment is without one")
    func makeBeforeBreak() {
        let harness = Harness()
        harness.answer([Self.record("a")], at: Self.start)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.start)

        harness.answer([Self.record("b"), Self.record("c")], at: Self.at(10))
        #expect(harness.endpoints == ["192.0.2.1:443"])
        #expect(harness.cache.names == ["a", "b", "c"])
        harness.answer("b", Self.good("192.0.2.2"), at: Self.at(10))
        #expect(harness.endpoints == ["192.0.2.1:443"])
        let refused = NameAnswer(ipv4: .failed(.refused), ipv6: .failed(.refused))
        harness.answer("c", refused, at: Self.at(10))

        #expect(harness.endpoints == ["192.0.2.2:443"])
        #expect(harness.cache.names == ["b", "c"])
    }

    @Test("a target that has no address keeps nothing that has left the service")
    func missingTarget() {
        let harness = Harness()
        let failure = NameAnswer(ipv4: .failed(.nameNotFound), ipv6: .failed(.nameNotFound))
        harness.answer([Self.record("a"), Self.record("b")], at: Self.start)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.start)
        harness.answer("b", Self.good("192.0.2.2"), at: Self.start)

        harness.answer([Self.record("a"), Self.record("never")], at: Self.at(10))
        harness.answer("never", failure, at: Self.at(10))

        #expect(harness.endpoints == ["192.0.2.1:443"])
        #expect(harness.proposal.isConfirmed)

        // One that was known stays proposed, and keeps nothing either.
        harness.answer("a", failure, at: Self.at(20))
        #expect(!harness.proposal.isConfirmed)
        harness.answer([Self.record("a"), Self.record("c")], at: Self.at(30))
        harness.answer("c", Self.good("192.0.2.3"), at: Self.at(30))
        #expect(harness.endpoints == ["192.0.2.1:443", "192.0.2.3:443"])
        #expect(harness.proposal.isConfirmed)
    }

    @Test("a target that nobody answers keeps new ones waiting for a moment only")
    func silentTarget() {
        let harness = Harness()
        harness.answer([Self.record("a")], at: Self.start)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.start)
        harness.answer([Self.record("b"), Self.record("c")], at: Self.at(10))
        let end = Self.at(10).advanced(by: .milliseconds(500))
        #expect(harness.cache.nextSettlement == end)

        // Nothing is there to take over yet.
        harness.cache.advance(now: end)
        #expect(harness.endpoints == ["192.0.2.1:443"])
        #expect(harness.cache.nextSettlement == .never)
        harness.answer("b", Self.good("192.0.2.2"), at: Self.at(11))

        #expect(harness.endpoints == ["192.0.2.2:443"])
        // Those before leave when it is known that the other has no address.
        #expect(!harness.proposal.isConfirmed)
        let failure = NameAnswer(ipv4: .failed(.timeout), ipv6: .failed(.timeout))
        harness.answer("c", failure, at: Self.at(13))
        #expect(harness.proposal.isConfirmed)
    }

    static let useless: [ServiceAnswer] = [
        .empty, .records([], ttl: 5), .failed(.nameNotFound), .failed(.timeout),
        .failed(.serverFailure), .failed(.refused), .records([record("x", 0)], ttl: 5),
    ]

    @Test("no other answer takes a target away", arguments: useless)
    func removesNothing(answer: ServiceAnswer) {
        let harness = Harness()
        harness.answer([Self.record("a")], at: Self.start)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.start)

        harness.cache.answered(service: Self.service, answer, now: Self.at(10))

        #expect(harness.endpoints == ["192.0.2.1:443"])
        #expect(!harness.proposal.isConfirmed)
        #expect(harness.cache[service: Self.service]?.state == .stale)
    }

    @Test("a suspicious answer is proposed as such, with what was believed beside it")
    func suspicious() {
        let harness = Harness()
        harness.answer([Self.record("a")], at: Self.start)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.start)

        _ = harness.cache.answered(
            "a", Self.good("192.0.2.66"), isSuspicious: true, now: Self.at(10))

        #expect(harness.cache["a"]?.state == .suspicious)
        #expect(harness.cache["a"]?.addresses.map(\.addressText) == ["192.0.2.1"])
        #expect(harness.proposal.isSuspicious && !harness.proposal.isConfirmed)
        #expect(harness.endpoints == ["192.0.2.66:443"])
        #expect(harness.proposal.trusted.map { "\($0.address)" } == ["192.0.2.1:443"])

        // A failure afterwards takes nothing away, the old answer ends it.
        let failure = NameAnswer(ipv4: .failed(.timeout), ipv6: .failed(.timeout))
        harness.answer("a", failure, at: Self.at(20))
        #expect(harness.proposal.isSuspicious)
        harness.answer("a", Self.good("192.0.2.1"), at: Self.at(30))
        #expect(harness.proposal.isConfirmed && harness.endpoints == ["192.0.2.1:443"])
    }

    @Test("what looks wrong is believed when it has stood for a day, not sooner")
    func believed() {
        var cache = NameCache(seed: 1)
        cache.track(["a"], now: Self.start)
        _ = cache.answered("a", Self.good("192.0.2.1"), now: Self.start)
        for hour in 0..<24 as Range<Int64> {
            _ = cache.answered(
                "a", Self.good("192.0.2.66"), isSuspicious: true, now: Self.at(3600 * hour))
            #expect(cache["a"]?.addresses.map(\.addressText) == ["192.0.2.1"])
        }

        _ = cache.answered(
            "a", Self.good("192.0.2.66"), isSuspicious: true, now: Self.at(3600 * 24))

        #expect(cache["a"]?.addresses.map(\.addressText) == ["192.0.2.66"])
        #expect(cache["a"]?.state == .fresh)
    }

    @Test("what looks wrong but is what is believed already is no suspicion")
    func suspiciousButKnown() {
        var cache = NameCache(seed: 1)
        cache.track(["a"], now: Self.start)
        _ = cache.answered("a", Self.good("192.0.2.1"), now: Self.start)

        _ = cache.answered("a", Self.good("192.0.2.1"), isSuspicious: true, now: Self.at(10))

        #expect(cache["a"]?.state == .fresh)
        #expect(cache.proposal(for: "a", without: []).isConfirmed)
    }

    @Test("our own addresses are not proposed, whatever is known")
    func own() {
        var cache = NameCache(seed: 1)
        cache.track(["a"], now: Self.start)
        _ = cache.answered("a", Self.good("192.0.2.1", "192.0.2.13"), now: Self.start)

        let own = Set([SocketAddress(address: "192.0.2.13", port: 0)].compactMap { $0 })
        let proposal = cache.proposal(for: "a", without: own)
        #expect(proposal.endpoints.map(\.address.addressText) == ["192.0.2.1"])
        let answer = Self.good("192.0.2.13").without(own)
        #expect(answer.failure == .ownAddress)
        #expect(Self.good("192.0.2.1", "192.0.2.13").without(own) == Self.good("192.0.2.1"))
    }

    @Test("a service whose target is written as our own address is not proposed there")
    func ownTarget() {
        let harness = Harness()
        harness.answer([Self.record("192.0.2.13"), Self.record("192.0.2.1")], at: Self.start)

        let own = Set([SocketAddress(address: "192.0.2.13", port: 0)].compactMap { $0 })
        let proposal = harness.cache.proposal(for: Self.service, without: own)

        #expect(proposal.endpoints.map { "\($0.address)" } == ["192.0.2.1:443"])
    }

    @Test("answers that name other targets each time make nothing grow")
    func bounded() {
        let harness = Harness()
        for round in 0..<200 as Range<Int64> {
            let many = (0..<300).map { Self.record("t\($0).r\(round)") }
            harness.answer(many, at: Self.at(round * 10))
            for name in harness.cache.names {
                harness.answer(name, Self.good("192.0.2.1", "192.0.2.2"), at: Self.at(round * 10))
            }
        }

        #expect(harness.cache.names.count <= ServiceMachine.recordsMax * 2)
        #expect(harness.proposal.endpoints.count == 2)
        let all = (1...50).map { "192.0.2.\($0)" }.compactMap {
            SocketAddress(address: $0, port: 0)
        }
        let answer = NameAnswer(ipv4: .addresses(all, ttl: 5), ipv6: .empty)
        harness.answer(
            [Self.record("x", 1), Self.record("x", 2), Self.record("x", 3)], at: Self.at(9_000))
        harness.answer("x", answer, at: Self.at(9_000))
        #expect(harness.proposal.endpoints.count == NameProposal.endpointsMax)
    }

    // MARK: - Time

    @Test("what DNS does not confirm is proposed until `stale` is over, and again once confirmed")
    func stale() {
        var timing = NameTiming(refresh: .seconds(5), stale: .seconds(60))
        var cache = NameCache(timing: timing, seed: 1)
        cache.track(["a"], now: Self.start)
        _ = cache.answered("a", Self.good("192.0.2.1"), now: Self.start)
        #expect(cache.nextExpiry == .never)
        let failure = NameAnswer(ipv4: .failed(.timeout), ipv6: .failed(.timeout))
        _ = cache.answered("a", failure, now: Self.at(5))
        #expect(cache.nextExpiry == Self.at(60))

        cache.advance(now: Self.at(59))
        #expect(cache["a"]?.state == .stale)
        #expect(cache.proposal(for: "a", without: []).endpoints.count == 1)
        cache.advance(now: Self.at(60))
        #expect(cache["a"]?.state == .expired)
        #expect(cache.proposal(for: "a", without: []).endpoints.isEmpty)

        // A longer `stale` brings it back; so does an answer.
        timing.stale = nil
        cache.configure(timing, now: Self.at(70))
        #expect(cache.proposal(for: "a", without: []).endpoints.count == 1)
        timing.stale = .seconds(60)
        cache.configure(timing, now: Self.at(71))
        #expect(cache["a"]?.state == .expired)
        _ = cache.answered("a", Self.good("192.0.2.1"), now: Self.at(80))
        #expect(cache["a"]?.state == .fresh)
    }

    @Test("a name is asked again within `refresh`, whatever its TTL and its failures")
    func refresh() {
        let timing = NameTiming(refresh: .seconds(5), stale: nil)
        var cache = NameCache(timing: timing, seed: 1)
        cache.track(["a"], now: Self.start)
        var now = Self.start
        for round in 0..<20 {
            _ = cache.takeDue(now: now, room: 1)
            let failure = NameAnswer(ipv4: .failed(.timeout), ipv6: .failed(.timeout))
            let long = NameAnswer(
                ipv4: .addresses([SocketAddress(ipv4: 1 << 24 | 1, port: 0)], ttl: 3600),
                ipv6: .empty)
            _ = cache.answered("a", round % 3 == 0 ? long : failure, now: now)
            #expect(cache.nextDue <= now.advanced(by: .milliseconds(4500)))
            #expect(cache.nextDue >= now.advanced(by: .milliseconds(900)))
            now = cache.nextDue
        }
    }

    // MARK: - Memory

    private static let remembered: NameRecords = {
        var records = NameRecords()
        records.services[service] = .init(records: [record("a")], seconds: 4_000)
        records.names["a"] = .init(addresses: good("192.0.2.1").addresses, seconds: 4_940)
        records.names["b"] = .init(addresses: good("192.0.2.2").addresses, seconds: 4_000)
        return records
    }()

    @Test("what is remembered is proposed before the first answer, unconfirmed")
    func memory() {
        let harness = Harness(remembered: Self.remembered)

        #expect(harness.endpoints == ["192.0.2.1:443"])
        #expect(!harness.proposal.isConfirmed)
        #expect(harness.cache["a"]?.state == .stale)
        #expect(harness.cache["a"]?.confirmation.age(now: Self.at(1)) == .seconds(61))
        #expect(harness.cache.takeDue(now: Self.start, room: 9) == ["a"])

        harness.cache.track(["b"], services: [Self.service], now: Self.at(9))
        #expect(harness.cache["b"]?.addresses.map(\.addressText) == ["192.0.2.2"])
        harness.answer("b", Self.good("192.0.2.5"), at: Self.at(10))
        #expect(harness.cache["b"]?.state == .fresh)
    }

    @Test("what is remembered for longer than `stale` allows is not proposed")
    func memoryExpires() {
        let timing = NameTiming(refresh: .seconds(5), stale: .seconds(500))
        var cache = NameCache(
            timing: timing, seed: 1, remembered: Self.remembered, wallSeconds: 5_000,
            now: Self.start)
        cache.track(["a", "b"], now: Self.start)

        #expect(cache["a"]?.state == .stale && cache["b"]?.state == .expired)
        #expect(cache.nextExpiry == Self.at(440))
    }

    @Test("what is remembered says when it was confirmed, also over several starts")
    func times() {
        let harness = Harness(remembered: Self.remembered)
        harness.cache.track(["b"], services: [Self.service], now: Self.start)
        harness.answer("b", Self.good("192.0.2.2"), at: Self.at(7))

        let records = harness.cache.records(now: Self.at(10), wallSeconds: 5_010)

        #expect(records.names["a"]?.seconds == 4_940)
        #expect(records.names["b"]?.seconds == 5_007)
        #expect(records.services == Self.remembered.services)
    }

    @Test("a clock that went back makes nothing older than it is")
    func clockBack() {
        var cache = NameCache(
            seed: 1, remembered: Self.remembered, wallSeconds: -1, now: Self.start)
        cache.track(["a"], now: Self.start)

        #expect(cache["a"]?.confirmation.age(now: Self.at(3)) == .seconds(3))
    }
}
