import EdgeCore
import EdgeDNS
import Testing

@Suite("What a server's answers are worth") struct ServerWatchTests {
    private static func address(_ text: String) -> SocketAddress {
        SocketAddress(address: text, port: 0) ?? SocketAddress(ipv4: 0, port: 0)
    }

    private static let known: [String: [SocketAddress]] = [
        "a": [address("192.0.2.1")], "b": [address("192.0.2.2")], "c": [address("192.0.2.3")],
        "alias": [address("192.0.2.1")], "new": [],
    ]

    /// A server with its surroundings; time moves by hand.
    private final class Harness {
        var watch = ServerWatch()
        var now = Instant(nanoseconds: 1_000_000_000_000)
        var asked = Instant(nanoseconds: 1_000_000_000_000)
        var own: Set<SocketAddress> = []

        func hear(_ name: String, _ texts: [String], _ failure: QueryFailure? = nil) {
            watch.heard(
                name, texts.map(ServerWatchTests.address), failure: failure, isRemembered: false,
                ownAddresses: own, now: now)
        }

        func judge(_ name: String, _ texts: [String], isFinal: Bool = false)
            -> ServerWatch.Verdict
        {
            hear(name, texts)
            return watch.judge(
                name, texts.map(ServerWatchTests.address),
                before: ServerWatchTests.known[name] ?? [],
                known: { ServerWatchTests.known }, asked: asked, window: .seconds(10), now: now,
                isFinal: isFinal)
        }

        func pass(_ span: Duration) {
            now = now.advanced(by: span)
            asked = now
        }

        var reasons: [ServerWatch.Reason] { watch.degraded.map(\.reason) }
    }

    @Test("a name that it knew and lost is reported until it is back")
    func lostNames() {
        let harness = Harness()
        harness.hear("a", ["192.0.2.1"])
        harness.hear("never", [], .nameNotFound)
        #expect(harness.watch.degraded.isEmpty)

        harness.hear("a", [], .nameNotFound)
        #expect(harness.watch.degraded.map(\.names) == [["a"]])
        harness.hear("a", [], .timeout)
        #expect(harness.reasons == [.lostNames])

        harness.hear("a", ["192.0.2.1"])
        #expect(harness.watch.degraded.isEmpty)
        #expect(harness.watch.answered == 4 && harness.watch.failed == 1)
    }

    @Test("an empty answer for a name remembered from before the start is a loss, too")
    func lostSinceStart() {
        let harness = Harness()
        harness.watch.heard(
            "a", [], failure: .empty, isRemembered: true, ownAddresses: [], now: harness.now)

        #expect(harness.reasons == [.lostNames])
        harness.watch.keep(["b"])
        #expect(harness.watch.degraded.isEmpty)
    }

    @Test(
        "failures without an answer are no loss",
        arguments: [
            QueryFailure.timeout, .serverFailure, .refused, .malformed, .noServerUsable,
        ])
    func failures(failure: QueryFailure) {
        let harness = Harness()
        harness.hear("a", ["192.0.2.1"])
        harness.hear("a", [], failure)

        #expect(harness.watch.degraded.isEmpty)
        #expect(harness.watch.lastFailure == failure && harness.watch.failed == 1)
    }

    @Test("an answer that is not new, or not single, is believed at once")
    func believed() {
        let harness = Harness()

        #expect(harness.judge("a", ["192.0.2.1"]) == .believed)
        #expect(harness.judge("a", ["192.0.2.7", "192.0.2.8"]) == .believed)
        #expect(harness.judge("a", ["192.0.2.1", "192.0.2.8"]) == .believed)
        #expect(harness.judge("new", ["192.0.2.7"]) == .believed)
    }

    @Test("one new address is held until the other names are asked")
    func undecided() {
        let harness = Harness()
        harness.hear("b", ["192.0.2.2"])
        harness.pass(.seconds(1))

        #expect(harness.judge("a", ["192.0.2.66"]) == .undecided(witnesses: ["b", "c"]))
        #expect(harness.watch.degraded.isEmpty)
    }

    @Test("a renumbering is believed as soon as one other name has another address")
    func renumbering() {
        let harness = Harness()
        harness.hear("b", ["192.0.2.22"])

        #expect(harness.judge("a", ["192.0.2.66"]) == .believed)
        #expect(harness.watch.degraded.isEmpty)
    }

    @Test("one address for every name is suspicious, as long as it is so")
    func oneAddress() {
        let harness = Harness()
        harness.hear("b", ["192.0.2.66"])
        harness.hear("c", ["192.0.2.66"])

        #expect(harness.judge("a", ["192.0.2.66"]) == .suspicious)
        #expect(harness.reasons == [.oneAddress])
        #expect(harness.watch.degraded.first?.names == ["a", "b", "c"])
        #expect(harness.watch.degraded.first?.address == Self.address("192.0.2.66"))

        // Later nobody has to be asked again, and new names are no better.
        harness.pass(.seconds(4))
        #expect(harness.judge("b", ["192.0.2.66"]) == .suspicious)
        #expect(harness.judge("new", ["192.0.2.66"]) == .suspicious)

        #expect(harness.judge("c", ["192.0.2.3"]) == .believed)
        #expect(harness.watch.degraded.isEmpty)
    }

    @Test("answers without an address say nothing about the one for every name")
    func service() {
        let harness = Harness()
        harness.hear("b", ["192.0.2.66"])
        harness.hear("c", ["192.0.2.66"])
        #expect(harness.judge("a", ["192.0.2.66"]) == .suspicious)

        harness.hear("_s._tcp.home", [])
        harness.hear("d", [], .unusableAddresses)

        #expect(harness.reasons == [.oneAddress])
    }

    @Test("names of one host that is renumbered go with it")
    func aliases() {
        let harness = Harness()
        harness.hear("alias", ["192.0.2.66"])

        #expect(harness.judge("a", ["192.0.2.66"]) == .undecided(witnesses: ["b", "c"]))
        harness.hear("b", ["192.0.2.2"])
        #expect(harness.judge("a", ["192.0.2.66"]) == .believed)
        harness.hear("b", ["192.0.2.66"])
        harness.hear("c", ["192.0.2.66"])
        #expect(harness.judge("a", ["192.0.2.66"]) == .suspicious)
    }

    @Test("both families of one page are one address, and one family may be missing")
    func bothFamilies() {
        let harness = Harness()
        harness.hear("b", ["192.0.2.66"])
        harness.hear("c", ["192.0.2.66", "2001:db8::66"])

        #expect(harness.judge("a", ["192.0.2.66", "2001:db8::66"]) == .suspicious)
    }

    @Test("if no other name is answered, an answer is believed when time is up")
    func noWitness() {
        let harness = Harness()
        harness.hear("b", [], .timeout)
        harness.hear("c", [], .nameNotFound)

        #expect(harness.judge("a", ["192.0.2.66"], isFinal: true) == .believed)
    }

    @Test("names that it does not answer are known until it does")
    func mute() {
        let harness = Harness()
        harness.hear("c", ["192.0.2.3"])
        harness.pass(.seconds(1))
        harness.hear("b", [], .timeout)
        #expect(!harness.watch.isMute("b"))

        // It may just be back.
        harness.pass(.seconds(1))
        harness.hear("c", ["192.0.2.3"])
        harness.hear("a", ["192.0.2.1"])
        #expect(!harness.watch.isMute("b"))
        harness.pass(.seconds(1))
        harness.hear("c", ["192.0.2.3"])
        #expect(harness.watch.isMute("b") && !harness.watch.isMute("c"))

        harness.hear("b", [], .nameNotFound)
        #expect(!harness.watch.isMute("b"))
    }

    @Test("our own address is suspicious until the answer has none")
    func ownAddress() {
        let harness = Harness()
        harness.own = [Self.address("192.0.2.13")]

        #expect(harness.judge("a", ["192.0.2.13", "192.0.2.1"]) == .suspicious)
        #expect(harness.reasons == [.ownAddress])
        #expect(harness.judge("a", ["192.0.2.1"]) == .believed)
        #expect(harness.watch.degraded.isEmpty)
    }
}

@Suite("One name asked of several servers") struct NameRoundTests {
    private static let start = Instant(nanoseconds: 1_000_000_000)
    private static let subject = QuerySubject.host("a.example")

    private static func good(_ value: UInt32) -> QueryAnswer {
        .host(
            NameAnswer(
                ipv4: .addresses([SocketAddress(ipv4: 1 << 24 | value, port: 0)], ttl: 5),
                ipv6: .empty))
    }

    private static func round(isHurried: Bool = false) -> NameRound {
        NameRound(
            subject, servers: [1, 2], isHurried: isHurried, timing: NameTiming(), now: start)
    }

    private static func later(_ milliseconds: Int64) -> Instant {
        start.advanced(by: .milliseconds(milliseconds))
    }

    @Test("the first good answer counts, without waiting for a silent server")
    func first() {
        var round = Self.round()
        #expect(round.decision(now: Self.start) { _ in true } == nil)

        round.set(2, .good(Self.good(7), at: Self.later(3)))

        let decision = round.decision(now: Self.later(3)) { _ in true }
        #expect(decision?.answer == Self.good(7) && decision?.server == 2)
    }

    @Test(
        "a useless answer waits for the other server, and tells if that says less",
        arguments: [QueryFailure.nameNotFound, .empty, .serverFailure, .refused])
    func useless(failure: QueryFailure) {
        var round = Self.round()
        round.set(1, .useless(.failed(failure, Self.subject)))
        #expect(round.decision(now: Self.later(5)) { _ in true } == nil)
        #expect(round.overdue(now: Self.later(2999)).isEmpty)
        #expect(round.overdue(now: Self.later(3000)) == [2])

        var other = round
        round.set(2, .useless(.failed(.timeout, Self.subject)))
        other.set(2, .good(Self.good(1), at: Self.later(9)))

        #expect(round.decision(now: Self.later(3000)) { _ in true }?.answer.failure == failure)
        #expect(other.decision(now: Self.later(9)) { _ in true }?.answer == Self.good(1))
    }

    @Test("a suspicious answer loses against one that is not, and wins against none")
    func suspicious() {
        var round = Self.round()
        round.set(1, .suspicious(Self.good(66)))
        #expect(round.decision(now: Self.later(5)) { _ in true } == nil)

        var other = round
        round.set(2, .good(Self.good(1), at: Self.later(9)))
        other.set(2, .useless(.failed(.nameNotFound, Self.subject)))

        #expect(round.decision(now: Self.later(9)) { _ in true }?.isSuspicious == false)
        let decision = other.decision(now: Self.later(9)) { _ in true }
        #expect(decision?.answer == Self.good(66) && decision?.isSuspicious == true)
    }

    @Test(
        "half an answer has to do after a moment's patience, in a hurry after half of it",
        arguments: [(false, 510), (true, 260)] as [(Bool, Int64)])
    func partial(isHurried: Bool, end: Int64) {
        var round = Self.round(isHurried: isHurried)
        round.set(1, .partial(since: Self.later(10)))

        #expect(round.due == Self.later(end))
        #expect(round.overdue(now: Self.later(end - 1)).isEmpty)
        #expect(round.overdue(now: Self.later(end)) == [1])
    }

    @Test("in a hurry news is preferred, and waited for a moment")
    func hurried() {
        var round = Self.round(isHurried: true)
        round.set(1, .good(Self.good(1), at: Self.later(2)))
        let isNews: (QueryAnswer) -> Bool = { $0 != Self.good(1) }
        #expect(round.decision(now: Self.later(2), isNews: isNews) == nil)
        #expect(round.due == Self.later(502))

        var slow = round
        round.set(2, .good(Self.good(2), at: Self.later(8)))

        #expect(round.decision(now: Self.later(8), isNews: isNews)?.answer == Self.good(2))
        #expect(slow.decision(now: Self.later(502), isNews: isNews)?.answer == Self.good(1))
        slow.set(1, .awaited)
        #expect(slow.replies[1] == .good(Self.good(1), at: Self.later(2)))
    }
}
