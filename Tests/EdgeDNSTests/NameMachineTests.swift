import EdgeCore
import EdgeDNS
import Testing

private let one = address("192.0.2.1")
private let two = address("192.0.2.2")
private let six = address("2001:db8::1")
private let start = Instant(nanoseconds: 1_000_000_000_000)

private func address(_ text: String) -> SocketAddress { SocketAddress(address: text, port: 0)! }

private func good(_ addresses: [SocketAddress], ttl: UInt32 = 10) -> NameAnswer {
    let four = addresses.filter(\.isIPv4)
    let six = addresses.filter { !$0.isIPv4 }
    return NameAnswer(
        ipv4: four.isEmpty ? .empty : .addresses(four, ttl: ttl),
        ipv6: six.isEmpty ? .empty : .addresses(six, ttl: ttl))
}

private func failed(_ failure: QueryFailure) -> NameAnswer {
    NameAnswer(ipv4: .failed(failure), ipv6: .failed(failure))
}

private func seconds(_ count: Int64) -> Instant { start.advanced(by: .seconds(count)) }

/// A machine with its surroundings.
private final class Harness {
    var machine: NameMachine
    var random = SplitMix64(seed: 1)
    var timing = NameTiming()

    init(_ name: String = "a.example") { machine = NameMachine(name: name, now: start) }

    /// Asks and answers.
    func answer(_ answer: NameAnswer, at now: Instant) -> Bool {
        machine.asked(now: now)
        return machine.answered(answer, now: now, timing: timing, random: &random)
    }
}

@Suite("One name's addresses") struct NameMachineTests {
    @Test("a new name is due at once and unresolved")
    func isDueAtOnce() {
        let harness = Harness()

        #expect(harness.machine.due == start)
        #expect(harness.machine.state == .unresolved)
    }

    @Test("a valid answer replaces the set and reports it once")
    func replaces() {
        let harness = Harness()

        #expect(harness.answer(good([one]), at: seconds(0)))
        #expect(!harness.answer(good([one]), at: seconds(10)))
        #expect(harness.answer(good([two]), at: seconds(20)))
        #expect(harness.machine.addresses == [two])
        #expect(harness.machine.state == .fresh)
        #expect(harness.machine.lastGood == seconds(20))
    }

    @Test("rotation of the same addresses is no change")
    func rotation() {
        let harness = Harness()

        #expect(harness.answer(good([one, two, six]), at: seconds(0)))
        #expect(!harness.answer(good([six, two, one, two]), at: seconds(10)))
        #expect(harness.machine.addresses == [one, two, six])
    }

    static let uselessAnswers: [(NameAnswer, QueryFailure)] =
        [
            .timeout, .serverFailure, .refused, .nameNotFound, .malformed, .noServerUsable,
            .notImplemented,
            .badName, .noChannel, .unexpected(99),
        ].map { (failed($0), $0) } + [
            (good([]), .empty),
            (NameAnswer(ipv4: .failed(.timeout), ipv6: .empty), .timeout),
            (NameAnswer(ipv4: .empty, ipv6: .failed(.refused)), .refused),
            (good([address("0.0.0.0"), address("::")]), .unusableAddresses),
            (good([address("224.0.0.1"), address("255.255.255.255")]), .unusableAddresses),
            (NameAnswer(ipv4: .addresses([], ttl: 5), ipv6: .empty), .unusableAddresses),
        ]

    @Test("no other answer removes an address", arguments: uselessAnswers)
    func removesNothing(answer: NameAnswer, failure: QueryFailure) {
        let harness = Harness()
        _ = harness.answer(good([one, six]), at: seconds(0))

        #expect(!harness.answer(answer, at: seconds(10)))
        #expect(harness.machine.addresses == [one, six])
        #expect(harness.machine.state == .stale)
        #expect(harness.machine.lastFailure == failure)
        #expect(harness.machine.lastGood == seconds(0))
    }

    @Test("the failure of one family keeps that family's addresses and uses the other's answer")
    func partialFailure() {
        let harness = Harness()
        _ = harness.answer(good([one, six]), at: seconds(0))

        let changed = harness.answer(
            NameAnswer(ipv4: .addresses([two], ttl: 10), ipv6: .failed(.timeout)), at: seconds(10))

        #expect(changed)
        #expect(harness.machine.addresses == [two, six])
        #expect(harness.machine.state == .fresh)
        #expect(harness.machine.lastFailure == .timeout)
    }

    @Test("a family that is validly empty loses its addresses if the other has some")
    func familyGoes() {
        let harness = Harness()
        _ = harness.answer(good([one, six]), at: seconds(0))

        #expect(harness.answer(good([one]), at: seconds(10)))
        #expect(harness.machine.addresses == [one])
    }

    @Test("back-off doubles from 1 s to 30 s and ends with a good answer")
    func backOff() {
        let harness = Harness()
        var now = start
        var delays: [Double] = []

        for _ in 0..<8 {
            _ = harness.answer(failed(.timeout), at: now)
            delays.append(Double(harness.machine.due.nanoseconds(since: now)) / 1e9)
            now = harness.machine.due
        }
        _ = harness.answer(good([one]), at: now)

        for (delay, bound) in zip(delays, [1, 2, 4, 8, 16, 30, 30, 30] as [Double]) {
            #expect(delay <= bound && delay >= bound * 0.9)
        }
        #expect(harness.machine.failures == 0)
        #expect(harness.machine.due > now.advanced(by: .seconds(8)))
    }

    @Test(
        "the TTL is kept between floor and ceiling",
        arguments: [(0, 1), (1, 1), (30, 30), (3600, 60), (.max, 60)] as [(UInt32, Double)])
    func timeToLive(ttl: UInt32, expected: Double) {
        let harness = Harness()

        _ = harness.answer(good([one], ttl: ttl), at: start)

        let delay = Double(harness.machine.due.nanoseconds(since: start)) / 1e9
        #expect(delay <= expected && delay >= max(expected * 0.9, 1))
    }

    @Test("a hurried name is asked soon, but not more often than the interval")
    func hurry() {
        let harness = Harness()
        _ = harness.answer(good([one], ttl: 60), at: start)

        harness.machine.hurry(now: start, timing: harness.timing)
        #expect(harness.machine.due == start.advanced(by: .milliseconds(500)))
        harness.machine.hurry(now: seconds(5), timing: harness.timing)
        #expect(harness.machine.due == start.advanced(by: .milliseconds(500)))
    }

    @Test("hurry during a query asks once more after it")
    func hurryWhileAsking() {
        let harness = Harness()
        harness.machine.asked(now: start)

        harness.machine.hurry(now: start, timing: harness.timing)
        #expect(harness.machine.due == .never)
        _ = harness.machine.answered(
            good([one], ttl: 60), now: start, timing: harness.timing, random: &harness.random)
        #expect(harness.machine.due == start.advanced(by: .milliseconds(500)))
    }

    @Test("the time that an answer took is part of the time until the next query")
    func slowAnswers() {
        let harness = Harness()
        harness.timing = NameTiming(refresh: .seconds(5), stale: nil)
        for round in 0..<9 as Range<Int64> {
            let asked = seconds(round * 10)
            harness.machine.asked(now: asked)
            let answer = round % 3 == 0 ? good([one], ttl: 3600) : failed(.timeout)
            _ = harness.machine.answered(
                answer, now: seconds(round * 10 + 3), timing: harness.timing,
                random: &harness.random)

            #expect(harness.machine.due >= seconds(round * 10 + 3))
            #expect(harness.machine.due <= asked.advanced(by: .milliseconds(4500)))
        }
    }

    @Test("an address that needs an interface is of no use")
    func linkLocal() {
        let harness = Harness()
        let local = address("fe80::1")

        #expect(!harness.answer(good([local]), at: start))
        #expect(harness.machine.lastFailure == .unusableAddresses)
        #expect(harness.answer(good([one, local]), at: seconds(10)))
        #expect(harness.machine.addresses == [one])
    }

    @Test("a family whose addresses are of no use keeps those that were")
    func unusableFamily() {
        let harness = Harness()
        _ = harness.answer(good([one, six]), at: start)

        #expect(!harness.answer(good([address("0.0.0.0"), six]), at: seconds(10)))

        #expect(harness.machine.addresses == [one, six])
        #expect(harness.machine.lastFailure == .unusableAddresses)
    }

    @Test("a cancelled query is asked again at once and counts as no failure")
    func cancelled() {
        let harness = Harness()
        _ = harness.answer(good([one]), at: start)

        #expect(!harness.answer(failed(.cancelled), at: seconds(10)))
        #expect(harness.machine.due == seconds(10))
        #expect(harness.machine.state == .fresh)
    }

    @Test(
        "literal addresses and localhost are never asked",
        arguments: ["192.0.2.1", "2001:db8::1", "localhost", "a.LocalHost"])
    func literal(name: String) {
        let harness = Harness(name)
        let before = harness.machine.addresses

        #expect(before.count == 1)
        #expect(harness.machine.state == .fresh)
        harness.machine.hurry(now: start, timing: harness.timing)
        #expect(!harness.answer(good([two]), at: seconds(1)))
        #expect(!harness.answer(failed(.timeout), at: seconds(2)))
        #expect(harness.machine.due == .never)
        #expect(harness.machine.addresses == before)
    }

    @Test("more addresses than the bound are cut, the same ones each time")
    func bounded() {
        let harness = Harness()
        let many = (1...200).map { SocketAddress(ipv4: 0x0A00_0000 + $0, port: 0) }

        #expect(harness.answer(good(many.shuffled()), at: seconds(0)))
        #expect(!harness.answer(good(many.shuffled()), at: seconds(10)))
        #expect(harness.machine.addresses == Array(many.prefix(NameMachine.addressesMax)))
    }
}

@Suite("Which resolver is asked") struct ResolverGroupTests {
    static let server = SocketAddress(ipv4: 0x7F00_0001, port: 53)
    static let groups = [
        ResolverGroup(name: "home", servers: [server], domains: ["home.example"]),
        ResolverGroup(name: "lab", servers: [server], domains: ["lab.Home.Example", "lab"]),
        ResolverGroup(name: "rest", servers: [server], domains: []),
        ResolverGroup(name: "never", servers: [server], domains: []),
    ]

    @Test(
        "the longest domain wins",
        arguments: [
            ("home.example", 0), ("a.home.example", 0), ("A.HOME.EXAMPLE.", 0),
            ("lab.home.example", 1), ("x.lab.home.example", 1), ("lab", 1), ("x.lab", 1),
            ("nothome.example", 2), ("example", 2), ("xlab", 2), ("", 2),
        ])
    func longest(name: String, index: Int) {
        #expect(ResolverGroup.index(for: name, in: Self.groups) == index)
    }

    @Test("without a group for the rest the system's is asked")
    func system() {
        #expect(ResolverGroup.index(for: "a.example", in: Array(Self.groups[..<2])) == nil)
        #expect(ResolverGroup.index(for: "a.example", in: []) == nil)
    }
}
