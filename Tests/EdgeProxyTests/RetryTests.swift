import CEdge
import EdgeCore
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// Requests that are sent again, and those that must not be.
@Suite("Worker: retries") struct RetryTests {
    static func bench(
        _ members: Int = 3, _ change: (inout Bench.Options) -> Void = { _ in }
    ) throws -> Bench {
        var options = Bench.Options()
        options.members = (1...members).map { Bench.member($0) }
        change(&options)
        return try Bench(options)
    }

    private static let post =
        "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 2\r\n\r\nhi"

    private static func answer(_ status: Int) -> String {
        "HTTP/1.1 \(status) X\r\nContent-Length: 4\r\n\r\n\(status)\n"
    }

    /// Whoever has got the request answers it.
    private static func answer(_ bench: Bench, _ text: String) {
        for descriptor in bench.ring.openDescriptors
        where bench.ring.address(of: descriptor)?.port == 8080 {
            if !bench.ring.takeSent(to: descriptor).isEmpty { bench.send(descriptor, text) }
        }
    }

    // MARK: - Hosts that are gone

    @Test(
        "A host that acknowledges nothing loses a safe request to another member within 150 ms",
        // The kernel's count may be short by a tick.
        arguments: [112, 130])
    func goneHost(milliseconds: Int) throws {
        let bench = try Self.bench()
        let client = bench.client()
        bench.send(client, bench.get())
        let dead = bench.upstream
        bench.ring.setSilence(dead, .milliseconds(milliseconds))

        bench.pass(.milliseconds(160))

        #expect(bench.ring.isClosed(dead))
        #expect(bench.ring.address(of: bench.upstream) != bench.ring.address(of: dead))
        #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("GET / "))
        #expect(bench.observations(1) == [.unreachable])
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("What may do harm twice stays with a silent host, and fails after ten seconds")
    func goneHostOfPost() throws {
        let bench = try Self.bench()
        let client = bench.client()
        bench.send(client, Self.post)
        bench.ring.setSilence(bench.upstream, .seconds(1))
        bench.pass(.seconds(5))
        #expect(bench.ring.opened.count == 1 && bench.ring.takeSent(to: client) == "")
        // Others hear of it meanwhile.
        #expect(bench.observations(1).contains(.unreachable))

        bench.ring.setSilence(bench.upstream, .seconds(11))
        bench.pass(.seconds(2))
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamUnreachable) == 1)
        #expect(bench.ring.opened.count == 1)
    }

    @Test("A slow server that acknowledges is left in peace")
    func slowServer() throws {
        let bench = try Self.bench()
        let client = bench.client()
        bench.send(client, bench.get())
        for silence in [nil, Duration.zero, .milliseconds(100)] {
            bench.ring.setSilence(bench.upstream, silence)
            bench.pass(.seconds(3))
        }

        #expect(bench.ring.opened.count == 1)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.observations(1) == [])
    }

    @Test("With nobody else to go to, a lost segment fails no request", arguments: 0..<4)
    func nobodyElse(kind: Int) throws {
        let bench = try Self.bench(kind == 0 ? 1 : 2) {
            if kind == 1 { $0.retries.attempts = 0 }
            if kind == 2 { ($0.retries.budgetPercent, $0.retriesAlways) = (0, 0) }
        }
        let client = bench.client()
        bench.send(client, bench.get())
        if kind == 3 { bench.judge([(1, .preferred), (2, .never)]) }
        bench.ring.setSilence(bench.upstream, .milliseconds(250))
        bench.pass(.milliseconds(400))
        #expect(bench.ring.takeSent(to: client) == "")

        bench.ring.setSilence(bench.upstream, nil)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("An answer that has begun is not given up for a lost segment")
    func begunAnswer() throws {
        let bench = try Self.bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, "HTTP/1.1 103 Early\r\n\r\n")
        bench.ring.setSilence(bench.upstream, .milliseconds(300))
        bench.pass(.seconds(1))

        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.ring.opened.count == 1)
    }

    // MARK: - Answers

    @Test("An answer that is worth another attempt is not seen by the client")
    func statuses() throws {
        let bench = try Self.bench { $0.retries.statuses = [502, 503] }
        let client = bench.client()
        bench.send(client, bench.get())
        let first = bench.upstream
        bench.send(first, Self.answer(503))
        #expect(bench.ring.isClosed(first))
        #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("GET / "))
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(2))
        bench.send(bench.upstream, Bench.ok)

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("ok"))
        #expect(!answer.contains("503"))
        #expect(bench.count(.upstreamRetries) == 1)
    }

    @Test("With all members tried, or for what may do harm twice, the answer is the client's")
    func statusesPassed() throws {
        let bench = try Self.bench(2) { $0.retries.statuses = [503] }
        let client = bench.client()
        bench.send(client, bench.get())
        for _ in 0..<2 { bench.send(bench.upstream, Self.answer(503)) }
        #expect(bench.ring.opened.count == 2)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 503"))

        bench.send(client, Self.post)
        let before = bench.count(.upstreamRetries)
        bench.send(bench.upstream, Self.answer(503))
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 503"))
        #expect(bench.count(.upstreamRetries) == before)
    }

    @Test("No more attempts than are configured")
    func attempts() throws {
        let bench = try Self.bench(6) {
            $0.retries.statuses = [503]
            $0.retries.attempts = 2
        }
        let client = bench.client()
        bench.send(client, bench.get())
        for _ in 0..<3 { bench.send(bench.upstream, Self.answer(503)) }

        #expect(bench.ring.opened.count == 3)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 503"))
    }

    @Test("Attempts come from the budget; when it is empty, requests end with what they have")
    func budget() throws {
        let bench = try Self.bench {
            $0.retries.statuses = [503]
            ($0.retries.budgetPercent, $0.retriesAlways) = (50, 1)
        }
        let client = bench.client()
        func request() -> Bool {
            let before = bench.count(.upstreamRetries)
            bench.send(client, bench.get())
            Self.answer(bench, Self.answer(503))
            if bench.count(.upstreamRetries) > before { Self.answer(bench, Bench.ok) }
            return bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 200")
        }

        // One always, and half of the requests: of 10, 6.
        let served = (0..<10).count { _ in request() }
        #expect(served == 6)
        #expect(bench.count(ReasonCode.retryBudgetEmpty) == 4)
        bench.pass(.seconds(12))
        #expect(request())
    }

    // MARK: - Deadlines

    @Test("Each attempt has its time, and all of them theirs")
    func deadlines() throws {
        let bench = try Self.bench(4) {
            $0.retries.perTry = .seconds(1)
            $0.retries.overall = .milliseconds(2_500)
        }
        let client = bench.client()
        bench.send(client, bench.get())
        bench.tick(.milliseconds(900))
        #expect(bench.ring.opened.count == 1)
        bench.tick(.milliseconds(300))
        #expect(bench.ring.opened.count == 2)
        bench.tick(.milliseconds(1_000))
        #expect(bench.ring.opened.count == 3)
        #expect(bench.ring.takeSent(to: client) == "")
        bench.tick(.milliseconds(500))

        #expect(bench.ring.opened.count == 3)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504"))
        #expect(bench.count(ReasonCode.upstreamHeadTimeout) == 1)
    }

    @Test("The whole time is the request's, not half of it")
    func overall() throws {
        let bench = try Self.bench(1) { $0.retries.overall = .seconds(8) }
        let client = bench.client()
        bench.send(client, bench.get())
        bench.pass(.milliseconds(7_500))
        #expect(bench.ring.takeSent(to: client) == "")
        bench.pass(.seconds(1))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504"))
    }

    @Test("Connections and queues have no more time than the request", arguments: [true, false])
    func overallWithoutConnection(isQueued: Bool) throws {
        let bench = try Self.bench(4) {
            $0.retries.overall = .milliseconds(1_500)
            $0.memberMax = isQueued ? 1 : 0
        }
        if isQueued {
            for _ in 0..<4 { bench.send(bench.client(), bench.get()) }
            bench.pass(.milliseconds(1_000))
        } else {
            bench.ring.connectPolicy = { _ in nil }
        }
        let client = bench.client()
        bench.send(client, bench.get())
        bench.pass(.milliseconds(400))
        #expect(bench.ring.takeSent(to: client) == "")
        if isQueued { bench.ring.connectPolicy = { _ in nil } }
        bench.pass(.milliseconds(1_300))

        #expect(bench.ring.takeSent(to: client).contains(" 50"))
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    // MARK: - Limits and ranks

    @Test("Requests beyond the upstream's limit are refused, until one has ended")
    func requestLimit() throws {
        let bench = try Self.bench { $0.requestsMax = 2 }
        let clients = (0..<3).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        #expect(bench.ring.takeSent(to: clients[2]).hasPrefix("HTTP/1.1 503"))
        #expect(bench.count(ReasonCode.upstreamRequestLimit) == 1)

        bench.send(bench.ring.opened[0], Bench.ok)
        bench.send(clients[2], bench.get())
        #expect(bench.ring.takeSent(to: clients[2]) == "")
        #expect(bench.worker.groups[0]?.active == 2)
    }

    @Test("With all members down requests are refused, and served as soon as one is up")
    func allDown() throws {
        let bench = try Self.bench(2)
        let client = bench.client()
        bench.judge([(1, .never), (2, .never)])
        bench.send(client, bench.get())
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 503"))
        #expect(bench.count(ReasonCode.upstreamAllDown) == 1)
        #expect(bench.ring.opened.isEmpty)

        bench.judge([(1, .never), (2, .preferred)])
        bench.send(client, bench.get())
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(2))
    }

    @Test("Backups serve when the others have been tried; who is down or drained never does")
    func ranks() throws {
        let bench = try Self.bench(4)
        bench.judge([(1, .preferred), (2, .fallback), (3, .boundOnly), (4, .never)])
        let client = bench.client()
        for _ in 0..<4 {
            bench.send(client, bench.get())
            bench.send(bench.upstream, Bench.ok)
        }
        #expect(bench.ring.opened.count == 1)

        bench.ring.ends(bench.upstream)
        bench.ring.connectPolicy = { $0 == Bench.member(1) ? -ECONNREFUSED : 0 }
        bench.settle()
        bench.send(client, bench.get())
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(2))
        bench.send(bench.upstream, Bench.ok)
        bench.ring.ends(bench.upstream)
        bench.ring.connectPolicy = { _ in -ECONNREFUSED }
        bench.settle()
        _ = bench.ring.takeSent(to: client)
        bench.send(client, bench.get())
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.opened(to: 3).isEmpty && bench.opened(to: 4).isEmpty)
    }

    @Test("A member that goes down loses its unused connections; what is in use ends by itself")
    func goesDown() throws {
        let bench = try Self.bench(1)
        let clients = (0..<2).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        let (unused, used) = (bench.ring.opened[0], bench.ring.opened[1])
        bench.send(unused, Bench.ok)
        bench.judge([(1, .never)])
        bench.settle()
        #expect(bench.ring.isClosed(unused))

        bench.send(used, Bench.ok)
        #expect(bench.ring.takeSent(to: clients[1]).hasSuffix("ok"))
        #expect(bench.ring.isClosed(used))
    }

    // MARK: - What control is told

    @Test("Failures in a row are told when they are as many as was asked, also over a reload")
    func failuresInRow() throws {
        let bench = try Self.bench(1) { $0.tellsFailures = 3 }
        let client = bench.client()
        func fail() {
            bench.send(client, bench.get())
            bench.send(bench.upstream, Self.answer(500))
        }
        for _ in 0..<2 { fail() }
        #expect(bench.observations(1).isEmpty)
        bench.apply(2, [Bench.member(2), Bench.member(1)])
        bench.judge([(1, .preferred)])
        fail()
        #expect(bench.observations(1) == [.consecutiveFailures(3)])

        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        for _ in 0..<2 { fail() }
        #expect(bench.observations(1).count == 1)
    }

    @Test("Once a second control hears how many requests there were, and how many failed")
    func summaries() throws {
        let bench = try Self.bench(1)
        let client = bench.client()
        bench.pass(.milliseconds(1_100))
        for status in [200, 404, 500] {
            bench.send(client, bench.get())
            bench.pass(.milliseconds(10))
            bench.send(bench.upstream, Self.answer(status))
        }
        bench.pass(.milliseconds(1_100))
        bench.pass(.milliseconds(1_100))

        let told = bench.events.list.compactMap { event in
            if case .summarised("app", let summaries) = event { summaries } else { nil }
        }
        #expect(
            told == [
                [
                    MemberSummary(
                        address: Bench.member(1), requests: 3, failures: 1,
                        latencySum: 30_000_000)
                ]
            ])
    }

    @Test("Failed connections are told at once, not more often than every 50 ms and member")
    func observations() throws {
        let bench = try Self.bench(2)
        bench.ring.connectPolicy = { $0 == Bench.member(1) ? -ECONNREFUSED : -ETIMEDOUT }
        let client = bench.client()
        for _ in 0..<3 { bench.send(client, bench.get()) }
        #expect(bench.observations(1) == [.connectRefused])
        #expect(bench.observations(2) == [.connectFailed])
        bench.pass(.milliseconds(60))
        bench.send(client, bench.get())
        #expect(bench.observations(1).count == 2)
    }
}
