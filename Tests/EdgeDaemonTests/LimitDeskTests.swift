import EdgeControlAPI
import EdgeCore
import EdgeLimits
import EdgeProxy
import EdgeSystem
import EdgeTesting
import Testing

@testable import EdgeDaemon

@Suite("Bans by name") struct LimitDeskTests {
    /// A desk over memory of its own, which a second desk may share.
    private final class Bench {
        let memory: LimitMemory
        let desk: LimitDesk
        var changes: [LimitDesk.Change] = []

        init(on other: Bench? = nil) throws {
            let file = try MemoryFile.make(
                name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: 64))
            memory =
                try other?.memory
                ?? LimitMemory(
                    descriptor: file.raw, now: Instant(nanoseconds: 0), seed: (1, 2))
            desk = LimitDesk(memory: memory)
            desk.changed = { [unowned self] in changes.append($0) }
        }

        /// Whether workers refuse him.
        func refuses(_ client: String, policy: String? = nil, at seconds: Int64) throws -> Bool {
            let ban = try LimitDeskTests.ban(client, policy: policy, 0, 1)
            return memory.bans.remaining(
                ban.key(memory.bans), now: LimitDeskTests.moment(seconds).instant) > 0
        }
    }

    private static func moment(_ seconds: Int64) -> LimitDesk.Moment {
        // The two clocks have nothing in common.
        LimitDesk.Moment(
            instant: Instant(nanoseconds: UInt64(5_000 + seconds) * 1_000_000_000),
            time: 1_000_000 + seconds)
    }

    private static func ban(
        _ client: String, policy: String? = nil, _ made: Int64, _ until: Int64
    ) throws -> Ban {
        Ban(
            client: try #require(ClientNetwork(client)), policy: policy, made: 1_000_000 + made,
            until: 1_000_000 + until)
    }

    private static func plans() throws -> LimitPlans {
        var policy = LimitPolicy(name: "public")
        policy.ipv6Bits = 48
        policy.errors = LimitPolicy.Errors(
            limit: try RateLimit(1, per: .seconds(9)), statuses: [404...404], ban: .seconds(60))
        return LimitPlans([policy], places: [LimitPlace(policies: [0])])
    }

    @Test(
        "Bans hold and are listed until they end; only those that began here are told"
    )
    func orders() throws {
        let bench = try Bench()
        let ours = try Self.ban("192.0.2.1", 0, 60)
        var theirs = try Self.ban("2001:db8::/64", 0, 30)
        theirs.node = "lb-02"

        #expect(bench.desk.apply(ours, isOurs: true, at: Self.moment(0)))
        #expect(bench.desk.apply(theirs, isOurs: false, at: Self.moment(0)))

        #expect(bench.changes == [.banned(ours)])
        #expect(bench.desk.bans(at: Self.moment(1)) == [theirs, ours])
        #expect(try bench.refuses("2001:db8::9", at: 29))
        #expect(try !bench.refuses("2001:db8::9", at: 31))
        #expect(bench.desk.bans(at: Self.moment(31)) == [ours])
        // A shorter one changes nothing, a longer one does.
        #expect(
            !bench.desk.apply(try Self.ban("192.0.2.1", 31, 40), isOurs: true, at: Self.moment(31)))
        #expect(
            bench.desk.apply(try Self.ban("192.0.2.1", 31, 90), isOurs: true, at: Self.moment(31)))
        #expect(try bench.refuses("192.0.2.1", at: 80))
        #expect(!bench.desk.apply(ours, isOurs: true, at: Self.moment(70)))
    }

    @Test("Lifting ends all bans of a client, listed or not, and is told")
    func lifting() throws {
        let bench = try Bench()
        let plans = try Self.plans()
        let now = Self.moment(0)
        bench.desk.apply(try Self.ban("2001:db8::/64", 0, 60), isOurs: true, at: now)
        bench.desk.apply(
            try Self.ban("2001:db8::/48", policy: "gone", 0, 60), isOurs: true, at: now)
        // The policy's own, of which nobody has said a word.
        let client = try #require(ClientNetwork("2001:db8::7"))
        bench.memory.bans.ban(
            bench.memory.bans.key(
                plans.policies[0].banIdentity, plans.policies[0].banned(client.base)),
            for: .seconds(60), now: now.instant)
        bench.desk.apply(try Self.ban("2001:db8:1::/64", 0, 60), isOurs: true, at: now)
        bench.changes = []

        #expect(bench.desk.lift(client, plans: plans, isOurs: true, at: now) == 3)

        #expect(bench.changes == [.lifted(client)])
        #expect(bench.desk.bans(at: now).map { "\($0.client)" } == ["2001:db8:1::/64"])
        #expect(try !bench.refuses("2001:db8::7", at: 1))
        #expect(try !bench.refuses("2001:db8::/48", policy: "public", at: 1))
        #expect(bench.desk.lift(client, plans: plans, isOurs: false, at: now) == 0)
        #expect(bench.changes.count == 1)
    }

    @Test("New memory learns the bans of before; memory that stayed says which of them still hold")
    func restored() throws {
        let bans = [
            try Self.ban("192.0.2.1", 0, 60), try Self.ban("192.0.2.2", policy: "public", 0, 60),
            try Self.ban("192.0.2.3", 0, 5),
        ]
        let first = try Bench()
        first.desk.restore(bans, at: Self.moment(10))

        #expect(
            first.desk.bans(at: Self.moment(10)).map { "\($0.client)" } == [
                "192.0.2.1", "192.0.2.2",
            ])
        #expect(try first.refuses("192.0.2.2", policy: "public", at: 59))
        #expect(try !first.refuses("192.0.2.3", at: 11))
        #expect(first.changes.isEmpty)

        // Lifted, and the file does not know it yet.
        first.desk.lift(
            try #require(ClientNetwork("192.0.2.1")), plans: try Self.plans(), isOurs: true,
            at: Self.moment(11))
        let next = try Bench(on: first)
        next.desk.restore(bans, at: Self.moment(12))
        #expect(next.desk.bans(at: Self.moment(12)).map { "\($0.client)" } == ["192.0.2.2"])
        #expect(try !next.refuses("192.0.2.1", at: 12))
    }

    @Test("What workers tell is added up, under the policies' names, for as long as they have them")
    func news() throws {
        let bench = try Bench()
        let client = try #require(ClientNetwork("192.0.2.1"))
        var figures = LimitNews.Figures()
        (figures.admitted, figures.refused, figures.bans) = (5, 3, 1)
        var news = LimitNews()
        news.policies = [("public", figures)]
        news.banned = [
            LimitNews.Banned(client: client, policy: "public", span: .seconds(60), isShadow: false),
            LimitNews.Banned(
                client: try #require(ClientNetwork("192.0.2.2")), policy: "watched",
                span: .seconds(60), isShadow: true),
        ]
        news.bannedMore = 4
        var top = TopTable<LimitNews.Refused>(capacity: 2)
        let now = Self.moment(0)
        top.note(LimitNews.Refused(client: client, policy: "public"), count: 3, now: now.instant)
        news.refused = top.rows

        let ban = try Self.ban("192.0.2.1", policy: "public", 0, 60)
        bench.memory.bans.ban(ban.key(bench.memory.bans), for: .seconds(60), now: now.instant)

        bench.desk.took(news, at: now)
        bench.desk.took(news, at: Self.moment(2))

        #expect(bench.desk.figures["public"]?.refused == 6)
        #expect(bench.desk.bans(at: now).map(\.policy) == ["public"])
        #expect(bench.desk.bannedCount(of: "public") == 1)
        #expect(bench.desk.bansUnlisted == 8)
        // Of the second word the end is later.
        #expect(bench.changes.count == 2)
        #expect(bench.desk.refused(at: now).map(\.count) == [6])
        #expect(bench.desk.refused(at: Self.moment(899)).count == 1)
        #expect(bench.desk.refused(at: Self.moment(903)).isEmpty)
        bench.desk.keep(policies: ["other"])
        #expect(bench.desk.figures.isEmpty)
    }

    @Test("News of a ban that was lifted before they came bans nobody, here or there")
    func lateNews() throws {
        let bench = try Bench()
        let now = Self.moment(0)
        let ban = try Self.ban("192.0.2.1", policy: "public", 0, 60)
        bench.memory.bans.ban(ban.key(bench.memory.bans), for: .seconds(60), now: now.instant)
        bench.desk.lift(ban.client, plans: try Self.plans(), isOurs: true, at: now)
        bench.changes = []
        var news = LimitNews()
        news.banned = [
            LimitNews.Banned(
                client: ban.client, policy: "public", span: .seconds(60), isShadow: false)
        ]

        bench.desk.took(news, at: Self.moment(1))

        #expect(bench.desk.bans(at: Self.moment(1)).isEmpty)
        #expect(bench.changes.isEmpty)
    }

    @Test("A ban that comes back before the clock is set lasts no longer than it was made for")
    func clockNotSet() throws {
        let bench = try Bench()
        let ban = try Self.ban("192.0.2.1", policy: "public", 0, 600)
        // A power cut, and a clock without a battery.
        let early = LimitDesk.Moment(instant: Self.moment(0).instant, time: 100)

        bench.desk.restore([ban], at: early)

        #expect(try bench.refuses("192.0.2.1", policy: "public", at: 590))
        #expect(try !bench.refuses("192.0.2.1", policy: "public", at: 610))
    }

    @Test(
        "A ban that a file says was made for no time, or for more than there is, is none",
        arguments: [(5, 5), (6, 5), (Int64.min, 5), (-5, Int64.max), (0, 6 * 366 * 86_400)]
            as [(Int64, Int64)])
    func senseless(made: Int64, until: Int64) {
        #expect(Ban(BanStatus(client: "192.0.2.1", made: made, until: until)) == nil)
        #expect(Ban(BanStatus(client: "192.0.2.1", made: 5, until: 6)) != nil)
    }

    @Test("Of a policy that tells hosts apart, the host that was named is freed, on both nodes")
    func hosts() throws {
        var policy = LimitPolicy(name: "public")
        policy.ipv6Bits = 128
        policy.errors = LimitPolicy.Errors(
            limit: try RateLimit(1, per: .seconds(9)), statuses: [404...404], ban: .seconds(60))
        let plans = LimitPlans([policy], places: [LimitPlace(policies: [0])])
        let now = Self.moment(0)
        let (one, two) = (try Bench(), try Bench())
        let text = "2001:db8::5"
        let ban = try Self.ban(text + "/128", policy: "public", 0, 60)
        one.desk.apply(ban, isOurs: true, at: now)
        two.desk.apply(ban, isOurs: false, at: now)
        one.changes = []

        let client = try #require(ClientNetwork(text))
        let host = try #require(ClientNetwork.host(text))
        #expect(one.desk.lift(client, host: host, plans: plans, isOurs: true, at: now) == 1)
        #expect(one.desk.bans(at: now).isEmpty)

        #expect(one.changes == [.lifted(ban.client)])
        guard case .lifted(let told) = one.changes.first else { return }
        #expect(two.desk.lift(told, plans: plans, isOurs: false, at: now) == 1)
        #expect(two.desk.bans(at: now).isEmpty)
        #expect(try !two.refuses(text + "/128", policy: "public", at: 1))
    }

    @Test("Whatever the other node says it has counted, sums stay numbers")
    func sums() {
        var status = LimitPolicyStatus(
            name: "p", isShadow: false, limits: [], views: [], admitted: 5, refused: 6, shadow: 7,
            bans: 8, bannedNow: 0)
        var figures = LimitNews.Figures()
        (figures.admitted, figures.refused, figures.shadow, figures.bans) = (.max, 1, 1 << 63, .max)
        status.add(figures)
        status.add(figures)
        #expect(status.admitted == .max && status.shadow == .max && status.bans == .max)
        #expect(status.refused == 8)
    }

    @Test("A file of bans that could not be written is written as soon as it can be")
    func writtenAgain() throws {
        let folder = try TemporaryDirectory("bans")
        defer { folder.remove() }
        let loop = try PollLoop()
        let bans = [try Self.ban("192.0.2.1", 0, 60)]
        let path = folder.file("later")
        let store = BanStore(directory: path, loop: loop, retry: .zero)
        var asked = 0
        func beats(until isDone: () -> Bool) -> Bool {
            eventually(within: .seconds(10)) {
                loop.runOnce(maxWait: .milliseconds(5))
                func asking() -> [Ban] {
                    asked += 1
                    return bans
                }
                store.keep(version: 1, asking())
                return isDone()
            }
        }
        #expect(beats { asked > 1 })

        try folder.makeDirectory("later")

        #expect(beats { BanStore(directory: path, loop: loop).load() == bans })
    }

    @Test("Of too many bans those that end first are not listed, and counted")
    func bounded() throws {
        var book = BanBook()
        for number in 0..<UInt32(BanBook.bansMax) {
            let client = ClientNetwork(SocketAddress(ipv4: number, port: 0))
            book.add(Ban(client: client, policy: nil, made: 0, until: 100 + Int64(number)))
        }

        book.add(try Self.ban("192.0.2.1", 0, 9))
        book.add(Ban(client: try #require(ClientNetwork("192.0.2.2")), made: 0, until: 1))

        #expect(book.count == BanBook.bansMax)
        #expect(book.unlisted == 2)
        #expect(book.list.first?.until == 101)
        #expect(book.list.last?.until == 1_000_009)
    }

    @Test("The file of bans is what was listed, and one that is damaged is kept aside")
    func stored() throws {
        let folder = try TemporaryDirectory("bans")
        defer { folder.remove() }
        let loop = try PollLoop()
        let bans = [
            try Self.ban("192.0.2.1", 0, 60), try Self.ban("2001:db8::/48", policy: "p", 1, 70),
        ]
        let store = BanStore(directory: folder.path, loop: loop)
        #expect(store.load().isEmpty)

        let liftings = [BanSharing.Lifting(client: bans[0].client, time: 1_000_003)]
        store.keep(version: 1, liftings: liftings, bans)

        #expect(
            eventually(within: .seconds(10)) {
                loop.runOnce(maxWait: .milliseconds(5))
                let next = BanStore(directory: folder.path, loop: loop)
                return next.load() == bans && next.liftings == liftings
            })
        try folder.write("bans", "EDGESTAT and then nothing of ours")
        #expect(BanStore(directory: folder.path, loop: loop).load().isEmpty)
        #expect(try folder.read("bans.bad").hasPrefix("EDGESTAT"))
    }
}
