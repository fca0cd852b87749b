import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("DNS proposes, health disposes") struct UpstreamHealthNameTests {
    @Test("A name without any address is unresolved")
    func unresolved() {
        let pool = HealthPool.named()

        #expect(pool.health.report.map(\.state) == [.unresolved])
        #expect(pool.health.report.map(\.source) == ["ingress.example"])
        #expect(pool.health.ranked.isEmpty)
        pool.propose(1)

        #expect(pool.preferred == [1])
        #expect(pool.health.report.map(\.state) == [.unknown])
        #expect(pool.due() == [1])
    }

    @Test("A new address takes over once it has passed, and only then the old one leaves")
    func renumbering() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)

        pool.propose(2)
        #expect(pool.preferred == [1])
        #expect(pool.state(1) == .stale)
        #expect(pool.rank(2) == .fallback)
        #expect(pool.due() == [2])
        pool.pass(2)

        #expect(pool.everyone == [2])
        #expect(pool.preferred == [2])
    }

    @Test("An address that has left does not come back by itself")
    func noFlapping() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)
        pool.propose(2)
        pool.pass(2)

        pool.pass(1)
        pool.observe(1, .connectRefused)
        pool.fail(2)

        #expect(pool.everyone == [2])
        #expect(pool.preferred == [2])
    }

    @Test("Old addresses stay while no proposed one works")
    func wrongAnswer() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)

        pool.propose(7, 8)
        pool.fail(7, 8)
        pool.wait(.seconds(3600))

        #expect(pool.preferred == [1, 2])
        #expect(pool.state(1) == .stale)
    }

    @Test("An old address that fails itself leaves if a proposed one may work")
    func failedOld() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)
        pool.propose(2)

        pool.observe(1, .connectRefused)

        #expect(pool.everyone == [2])
        #expect(pool.preferred == [2])
    }

    @Test("An old address that fails is kept while proposed ones are worse, and is used again")
    func failedOldIsBest() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)
        pool.propose(2)
        pool.fail(2)

        pool.fail(1)
        #expect(pool.everyone == [1, 2])
        #expect(pool.preferred == [1], "it worked last")
        pool.pass(1, 1)

        #expect(pool.preferred == [1])
        #expect(pool.health.isFailingOpen == false)
    }

    @Test("What is left of a proposal needs no new check")
    func shrinking() {
        let pool = HealthPool.named()
        pool.propose(1, 2, 3)
        pool.pass(1, 2, 3)

        pool.propose(1, 2)

        #expect(pool.everyone == [1, 2])
    }

    @Test("No answer, and an empty one, remove nothing")
    func emptyAnswer() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)
        let version = pool.version

        pool.propose()

        #expect(pool.preferred == [1, 2])
        #expect(pool.version == version)
    }

    @Test("Last-known-good addresses are used and stale until DNS confirms them")
    func lastKnownGood() {
        let pool = HealthPool.named()

        pool.propose(1, 2, confirmed: false)
        #expect(pool.preferred == [1, 2])
        pool.pass(1)
        #expect(pool.state(1) == .stale)
        #expect(pool.preferred == [1])
        pool.propose(1, 2)

        #expect(pool.state(1) == .up)
        #expect(pool.state(2) == .unknown)
    }

    @Test("Last-known-good addresses take nothing away")
    func lastKnownGoodIsNoAnswer() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)

        pool.propose(2, confirmed: false)

        #expect(pool.preferred == [1, 2])
        #expect(pool.state(1) == .stale)
    }

    @Test("Without checks a new address is used and an old one leaves at once")
    func unchecked() {
        let pool = HealthPool.named { $0.health = nil }
        pool.propose(1)
        #expect(pool.state(1) == .up)

        pool.propose(2)
        #expect(pool.everyone == [2])
        pool.propose(99, suspicious: true)

        #expect(pool.preferred == [2])
        #expect(pool.rank(99) == .never)
    }

    @Test("Addresses per name are bounded, and those that work are the last to make room")
    func bound() {
        let pool = HealthPool.named()
        func propose(_ numbers: Range<Int>) {
            pool.health.propose(
                Proposal(
                    addresses: numbers.map {
                        Proposal.Proposed(address: HealthPool.address($0))
                    }), for: HealthPool.name, now: pool.now)
        }
        propose(0..<100)
        #expect(pool.everyone == Array(0..<64))
        pool.pass(3, 5)

        propose(200..<300)

        #expect(pool.health.ranked.count == 64)
        #expect(pool.preferred == [3, 5])
        propose(300..<364)
        #expect(pool.preferred == [3, 5])
        #expect(pool.everyone.contains(310))
        #expect(pool.health.ranked.count <= 64)
    }

    @Test("Two entries may have one address: it is one member, and stays as long as one has it")
    func sharedAddress() {
        let other = HealthPool.named("other.example")
        let pool = HealthPool(HealthPool.configuration([HealthPool.name, other]))
        pool.propose(1)
        pool.propose(1, 2, for: other)
        pool.pass(1, 2)
        #expect(pool.everyone == [1, 2])

        pool.propose(3)
        pool.pass(3)

        #expect(pool.everyone == [3, 1, 2])
        #expect(pool.report(1)?.source == "other.example")
    }

    @Test("A service says ports, weights and backups")
    func service() {
        let server = UpstreamConfiguration.Server(
            host: .service("_https._tcp.example"), port: 0, weight: 5)
        let pool = HealthPool(HealthPool.configuration([server]))
        pool.health.propose(
            Proposal(addresses: [
                Proposal.Proposed(address: HealthPool.address(1).with(port: 8443), weight: 300),
                Proposal.Proposed(address: HealthPool.address(2), weight: 0, isBackup: true),
                Proposal.Proposed(address: HealthPool.address(3)),
            ]), for: server, now: pool.now)

        let ranked = pool.health.ranked

        #expect(ranked.map(\.weight) == [256, 1, 5])
        #expect(ranked.map(\.address.port) == [8443, 80, 80])
        #expect(ranked.map(\.rank) == [.preferred, .fallback, .preferred])
    }

    @Test("The order of an answer does not matter")
    func order() {
        let pool = HealthPool.named()
        pool.propose(3, 1, 2)
        pool.pass(1, 2, 3)
        let version = pool.version

        pool.propose(2, 3, 1)

        #expect(pool.version == version)
        #expect(pool.everyone == [1, 2, 3])
    }

    @Test("A failed check or connection asks DNS at once; other failures do not")
    func resolution() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)
        #expect(pool.takeRequests().isEmpty)

        pool.observe(1, .consecutiveFailures(9))
        #expect(pool.takeRequests().isEmpty)
        pool.observe(2, .connectTimedOut)
        #expect(pool.takeRequests() == ["ingress.example"])
        #expect(pool.takeRequests().isEmpty)
        pool.check(1, .failed(reason: "timeout"))

        #expect(pool.takeRequests() == ["ingress.example"])
    }

    @Test("A drained address does not count as one that works")
    func drainedIsNotUsable() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)
        pool.propose(2)
        _ = pool.administer(2, .drain)

        pool.pass(2)
        #expect(pool.everyone == [1, 2])
        #expect(pool.preferred == [1])
        _ = pool.administer(2, .ready)

        #expect(pool.everyone == [2])
    }

    @Test("Joining and leaving are news")
    func news() {
        let pool = HealthPool.named()

        pool.propose(1)
        pool.pass(1)
        pool.propose(2)
        pool.pass(2)
        let news = pool.takeNews()

        #expect(news.first?.old == nil)
        #expect(news.first?.new == .unknown)
        #expect(news.first?.source == "ingress.example")
        #expect(news.contains { $0.old == .up && $0.new == .stale })
        #expect(news.contains { $0.new == nil && $0.address == HealthPool.address(1) })
    }
}
