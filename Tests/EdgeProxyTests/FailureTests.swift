import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: failures of upstreams and clients") struct FailureTests {
    private static func bench(members: Int) throws -> Bench {
        var options = Bench.Options()
        options.members = (1...max(members, 1)).map { Bench.member($0) }
        if members == 0 { options.members = [] }
        return try Bench(options)
    }

    // MARK: - Connecting

    @Test("A refused connect goes to the next member")
    func nextMember() throws {
        let bench = try Self.bench(members: 3)
        bench.ring.connectPolicy = { $0 == Bench.member(3) ? 0 : -ECONNREFUSED }
        let client = bench.client()

        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 2\r\n\r\nhi")

        #expect(bench.ring.opened.count == 3)
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(3))
        #expect(bench.ring.takeSent(to: bench.upstream).hasSuffix("\r\n\r\nhi"))
        #expect(bench.count(Counter.upstreamConnectFailures) == 2)
        #expect(bench.count(Counter.upstreamRetries) == 2)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test(
        "A fresh connection that ends before an answer sends a safe request to one other member",
        arguments: [true, false])
    func freshDeath(byReset: Bool) throws {
        let bench = try Self.bench(members: 3)
        let client = bench.client()
        func die() {
            if byReset {
                bench.ring.fails(bench.upstream, ECONNRESET)
            } else {
                bench.ring.ends(bench.upstream)
            }
            bench.settle()
        }

        bench.send(client, bench.get())
        die()
        #expect(bench.ring.opened.count == 2)
        #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("GET / "))
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))

        // A request that kills members has killed two, not all.
        bench.send(client, bench.get("/poison", "Cache-Control: no-cache\r\n"))
        let before = bench.ring.opened.count
        bench.ring.fails(bench.upstream, ECONNRESET)
        bench.settle()
        for _ in 0..<3 { die() }
        #expect(bench.ring.opened.count - before <= 2)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
    }

    @Test("A fresh connection that ends before an answer is a 502 for what may do harm twice")
    func freshDeathOfPost() throws {
        let bench = try Self.bench(members: 3)
        let client = bench.client()

        bench.send(client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 2\r\n\r\nhi")
        bench.ring.fails(bench.upstream, ECONNRESET)
        bench.settle()

        #expect(bench.ring.opened.count == 1)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
    }

    @Test("All members refuse: 502, the connection goes on, and control is told once")
    func allRefuse() throws {
        let bench = try Self.bench(members: 3)
        bench.ring.connectPolicy = { _ in -ECONNREFUSED }
        let client = bench.client()

        bench.send(client, bench.get())

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamConnectRefused) == 1)
        #expect(bench.ring.opened.count == 3)
        let told = bench.events.list.count {
            if case .connectFailed(let upstream) = $0 { upstream == "app" } else { false }
        }
        #expect(told == 1)
        bench.ring.connectPolicy = { _ in 0 }
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("No member: 503")
    func noMember() throws {
        let bench = try Self.bench(members: 0)
        let client = bench.client()

        bench.send(client, bench.get())

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 503"))
        #expect(bench.count(ReasonCode.noAddress) == 1)
    }

    @Test("No descriptor for a connect: the request fails, and the next one works")
    func noSocket() throws {
        let bench = try Self.bench(members: 1)
        bench.ring.socketFailures = [EMFILE]
        let client = bench.client()

        bench.send(client, bench.get())
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 50"))
        #expect(bench.count(ReasonCode.descriptorLimit) == 1)
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("No descriptor for a connect: a request waits for a connection that is in use")
    func noSocketButOne() throws {
        let bench = try Self.bench(members: 1)
        let first = bench.client()
        bench.send(first, bench.get())
        let upstream = bench.upstream
        _ = bench.ring.takeSent(to: upstream)
        bench.ring.socketFailures = [EMFILE]
        let second = bench.client()

        bench.send(second, bench.get())
        #expect(bench.ring.takeSent(to: second).isEmpty, "it waits")
        #expect(bench.count(ReasonCode.descriptorLimit) == 1)
        bench.send(upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: first).hasSuffix("ok"))
        bench.send(upstream, Bench.ok)

        #expect(bench.ring.takeSent(to: second).hasSuffix("ok"))
    }

    // MARK: - Reused connections

    /// A connection in the pool, and its client.
    private static func idle(_ bench: Bench) throws -> (client: Int32, upstream: Int32) {
        let client = bench.client()
        bench.send(client, bench.get())
        let upstream = bench.upstream
        bench.send(upstream, Bench.ok)
        _ = bench.ring.takeSent(to: client)
        _ = bench.ring.takeSent(to: upstream)
        try #require(bench.count(Counter.upstreamConnectionsIdle) == 1)
        return (client, upstream)
    }

    @Test(
        "A reused connection that dies silently: safe requests are sent again, others are not",
        arguments: [
            ("GET", true), ("HEAD", true), ("PUT", true), ("DELETE", true), ("OPTIONS", true),
            ("POST", false), ("PATCH", false), ("LOCK", false),
        ])
    func silentDeath(method: String, isRetried: Bool) throws {
        for number in [0, ECONNRESET] {
            let bench = try Self.bench(members: 1)
            let (client, first) = try Self.idle(bench)

            bench.send(client, "\(method) /2 HTTP/1.1\r\nHost: home.example\r\n\r\n")
            #expect(bench.ring.takeSent(to: first).hasPrefix("\(method) /2 "))
            if number == 0 { bench.ring.ends(first) } else { bench.ring.fails(first, number) }
            bench.settle()

            #expect(bench.ring.isClosed(first))
            if isRetried {
                #expect(bench.upstream != first)
                #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("\(method) /2 "))
            } else {
                #expect(bench.upstream == first)
                #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
            }
        }
    }

    @Test("Nothing is sent again once a byte of the answer has come")
    func partialAnswer() throws {
        let bench = try Self.bench(members: 1)
        let (client, first) = try Self.idle(bench)

        bench.send(client, bench.get())
        bench.send(first, "HTTP/1.1 2")
        bench.ring.ends(first)
        bench.settle()

        #expect(bench.ring.opened.count == 1)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
    }

    @Test("Nothing is sent again once the body has outgrown what is kept")
    func longBody() throws {
        let bench = try Self.bench(members: 1)
        let (client, first) = try Self.idle(bench)

        bench.send(
            client, "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 9000\r\n\r\n")
        bench.send(client, String(repeating: "x", count: 6_000))
        bench.ring.ends(first)
        bench.settle()

        #expect(bench.ring.opened.count == 1)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
    }

    @Test("An unused connection that ends, fails or speaks is closed and not used again")
    func idleDeath() throws {
        for kind in 0..<3 {
            let bench = try Self.bench(members: 1)
            let (client, first) = try Self.idle(bench)

            switch kind {
            case 0: bench.ring.ends(first)
            case 1: bench.ring.fails(first, ECONNRESET)
            default: bench.ring.receives(first, "HTTP/1.1 408 x\r\n\r\n")
            }
            bench.settle()
            #expect(bench.ring.isClosed(first), "kind \(kind)")
            bench.send(client, bench.get())

            #expect(bench.ring.opened.count == 2)
            #expect(bench.count(ReasonCode.upstreamSurplusBytes) == (kind == 2 ? 1 : 0))
        }
    }

    @Test("A connection that is known to be dead is not handed out")
    func knownDead() throws {
        let bench = try Self.bench(members: 1)
        let (client, first) = try Self.idle(bench)

        // Both in one turn, the end first.
        bench.ring.ends(first)
        bench.ring.step()
        bench.ring.receives(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 0\r\n\r\n")
        bench.settle()

        #expect(bench.ring.opened.count == 2)
        #expect(!bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
    }

    // MARK: - Bad answers

    @Test(
        "What is no answer is a 502, and the connection is closed",
        arguments: [
            "hello\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
        ])
    func badAnswer(answer: String) throws {
        let bench = try Self.bench(members: 1)
        let client = bench.client()

        bench.send(client, bench.get())
        bench.send(bench.upstream, answer)

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.ring.isClosed(bench.upstream))
        #expect(bench.count(ReasonCode.upstreamBadResponse) == 1)
        #expect(bench.ring.isReceiving(client))
    }

    @Test("An answer that is cut short is cut for the client too, visibly")
    func truncated() throws {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        ]
        for (number, answer) in answers.enumerated() {
            let bench = try Self.bench(members: 1)
            let client = bench.client()
            bench.send(client, bench.get())
            // What is broken in the segment of its head is a 502 (ClientPolicyTests).
            let head = try #require(answer.range(of: "\r\n\r\n")).upperBound
            bench.send(bench.upstream, String(answer[..<head]))
            bench.send(bench.upstream, String(answer[head...]))
            if number < 2 { bench.ring.ends(bench.upstream) }
            bench.settle()

            let sent = bench.ring.takeSent(to: client)
            #expect(sent.contains("abc"))
            #expect(!sent.contains("\r\n0\r\n\r\n"))
            #expect(bench.ring.isClosed(client) && bench.ring.wasReset(client))
            bench.expectEmpty()
        }
    }

    @Test("Bytes behind an answer: the client has its answer, the connection is closed")
    func surplus() throws {
        let bench = try Self.bench(members: 1)
        let client = bench.client()

        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok + "more")

        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.ring.isClosed(bench.upstream))
        #expect(bench.count(ReasonCode.upstreamSurplusBytes) == 1)
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 0)
    }

    @Test("Connection: close of an upstream is kept")
    func closing() throws {
        let bench = try Self.bench(members: 1)
        let client = bench.client()

        bench.send(client, bench.get())
        bench.send(
            bench.upstream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

        #expect(bench.ring.isClosed(bench.upstream))
        #expect(!bench.ring.takeSent(to: client).contains("close"))
        #expect(bench.ring.isReceiving(client))
    }

    // MARK: - Clients that leave

    @Test("A client that leaves in any phase leaves nothing behind", arguments: 0..<7)
    func leaves(phase: Int) throws {
        for number in [0, ECONNRESET] {
            let bench = try Self.bench(members: 1)
            if phase == 2 { bench.ring.connectPolicy = { _ in nil } }
            let client = bench.client()
            let long = "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 9\r\n\r\nabc"
            switch phase {
            case 0: break
            case 1: bench.send(client, "GET / HT")
            case 2: bench.send(client, bench.get())
            case 3: bench.send(client, long)
            case 4: bench.send(client, bench.get())
            case 5:
                bench.send(client, bench.get())
                bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
            default:
                bench.send(client, bench.get())
                bench.send(bench.upstream, Bench.ok)
            }

            if number == 0 { bench.ring.ends(client) } else { bench.ring.fails(client, number) }
            bench.settle()
            if number == 0, phase == 4 {
                // Only its sending side is shut: the answer still comes.
                bench.send(bench.upstream, Bench.ok)
                #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
            }
            if number == 0, phase == 5 { bench.send(bench.upstream, "cdefghi") }
            if number == 0, phase == 2 {
                bench.ring.connects(bench.upstream)
                bench.settle()
                bench.send(bench.upstream, Bench.ok)
            }

            #expect(bench.ring.isClosed(client), "phase \(phase), errno \(number)")
            bench.pass(.seconds(61))
            bench.expectEmpty()
        }
    }

    @Test("Requests pipelined before a half-close are answered")
    func halfClose() throws {
        let bench = try Self.bench(members: 1)
        let client = bench.client()

        bench.ring.receives(client, bench.get("/1") + bench.get("/2"))
        bench.ring.ends(client)
        bench.settle()
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.takeSent(to: bench.upstream).contains("GET /2 "))
    }

    @Test("Completions of an earlier user of a slot are ignored and counted")
    func stale() throws {
        let bench = try Self.bench(members: 1)
        let first = bench.client()
        bench.ring.fails(first, ECONNRESET)
        bench.settle()
        let second = bench.client()

        bench.ring.stray(
            .init(
                token: .init(slot: 0, generation: 0, operation: .receive), result: -ECONNRESET,
                hasMore: false, buffer: nil))
        bench.ring.stray(
            .init(
                token: .init(slot: 0, generation: 0, operation: .send), result: 5,
                hasMore: false, buffer: nil))
        bench.ring.stray(
            .init(token: .init(bits: 0), result: 0, hasMore: false, buffer: nil))
        bench.settle()

        #expect(bench.count(Counter.staleCompletions) == 3)
        bench.send(second, bench.get())
        #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("GET / "))
    }
}
