import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: accepting, snapshots, leaving") struct LifeTests {
    private static func peers(_ count: Int) -> [SocketAddress] {
        (0..<count).map { SocketAddress(ipv4: 0xC633_6400 + UInt32($0 % 250), port: 50_000) }
    }

    // MARK: - Accepting

    @Test("A worker accepts nothing before it is told to serve, and what waits then")
    func waiting() throws {
        let bench = try Bench(serving: false)
        bench.ring.incoming(Bench.listener, Self.peers(3))
        bench.settle()
        #expect(bench.ring.accepted.isEmpty)

        bench.worker.handle(.serve)
        bench.settle()

        #expect(bench.ring.accepted.count == 3)
        #expect(bench.count(Counter.connectionsAccepted) == 3)
    }

    @Test("Out of descriptors, clients wait and are taken when there are some again")
    func descriptors() throws {
        let bench = try Bench()
        bench.ring.acceptFailures = [EMFILE, ENFILE]
        bench.ring.incoming(Bench.listener, Self.peers(2))
        bench.settle()
        #expect(bench.ring.accepted.isEmpty)
        #expect(bench.count(ReasonCode.descriptorLimit) == 1)

        bench.pass(.seconds(3))

        #expect(bench.ring.accepted.count == 2)
        #expect(bench.count(Counter.acceptErrors) == 2)
    }

    @Test("After EMFILE the next try comes within 200 ms")
    func soon() throws {
        let bench = try Bench()
        bench.pass(.milliseconds(1_200))
        bench.ring.acceptFailures = [EMFILE]
        bench.ring.incoming(Bench.listener, Self.peers(1))
        bench.settle()

        bench.turn(after: .milliseconds(100))
        bench.turn(after: .milliseconds(100))

        #expect(bench.ring.accepted.count == 1)
    }

    @Test("Connections that were aborted in the queue are no error")
    func aborted() throws {
        let bench = try Bench()
        bench.ring.acceptFailures = [ECONNABORTED]
        bench.ring.incoming(Bench.listener, Self.peers(1))
        bench.pass(.seconds(2))

        #expect(bench.ring.accepted.count == 1)
        #expect(bench.count(Counter.acceptErrors) == 0)
    }

    @Test("Out of slots, clients are refused at once, counted, and taken again when one is free")
    func slots() throws {
        let bench = try Bench()
        bench.ring.incoming(Bench.listener, Self.peers(20))
        bench.settle()
        #expect(bench.ring.accepted.count == 20)
        for client in bench.ring.accepted.suffix(4) { #expect(bench.ring.wasReset(client)) }
        #expect(bench.count(Counter.connectionsRefused) == 4)
        #expect(bench.count(ReasonCode.connectionLimit) == 4)

        for client in bench.ring.accepted.prefix(3) { bench.ring.ends(client) }
        bench.settle()
        bench.ring.incoming(Bench.listener, Self.peers(3))
        bench.settle()

        #expect(bench.count(Counter.connectionsRefused) == 4)
        #expect(bench.count(Counter.connectionsOpen) == 16)
    }

    @Test("A burst larger than a turn takes is taken in the next turns")
    func burst() throws {
        var options = Bench.Options()
        options.connectionsMax = 256
        let bench = try Bench(options)
        bench.pass(.milliseconds(1_200))

        bench.ring.incoming(Bench.listener, Self.peers(150))
        bench.settle()
        bench.turn(after: .milliseconds(100))
        bench.turn(after: .milliseconds(100))

        #expect(bench.ring.accepted.count == 150)
        bench.pass(.seconds(3))
        #expect(bench.ring.accepted.count == 150)
    }

    @Test("A lost wake-up lasts until housekeeping, no longer")
    func lost() throws {
        let bench = try Bench()
        bench.pass(.seconds(2))
        // Queued without a word: as if a dying process had taken the wake-up.
        bench.ring.incoming(Bench.listener, Self.peers(1), isAnnounced: false)
        bench.pass(.milliseconds(1_100))

        #expect(bench.ring.accepted.count == 1)
    }

    // MARK: - Stopping

    @Test("To stop accepting takes what is queued and says so once")
    func stopAccepting() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.ring.incoming(Bench.listener, Self.peers(5))
        bench.worker.handle(.stopAccepting)
        bench.settle()
        #expect(bench.ring.accepted.count == 6)
        #expect(bench.drained == 1)

        bench.ring.incoming(Bench.listener, Self.peers(1))
        bench.pass(.seconds(2))
        #expect(bench.ring.accepted.count == 6)
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.drained == 1)
    }

    @Test("To stop accepting leaves nobody in the queue, however many there are")
    func stopWithQueue() throws {
        var options = Bench.Options()
        options.connectionsMax = 256
        let bench = try Bench(options)

        bench.ring.incoming(Bench.listener, Self.peers(150), isAnnounced: false)
        bench.worker.handle(.stopAccepting)
        bench.settle()

        #expect(bench.ring.waiting(Bench.listener) == 0)
    }

    @Test("Serving can begin again after a stop")
    func again() throws {
        let bench = try Bench()
        bench.worker.handle(.stopAccepting)
        bench.settle()

        bench.worker.handle(.serve)
        bench.ring.incoming(Bench.listener, Self.peers(1))
        bench.settle()

        #expect(bench.ring.accepted.count == 1)
    }

    @Test("Draining closes unused connections at once and others after their answer")
    func drain() throws {
        let bench = try Bench()
        let used = bench.client()
        bench.send(used, bench.get())
        bench.send(bench.upstream, Bench.ok)
        let idleUpstream = bench.upstream
        let busy = bench.client()
        bench.send(busy, bench.get("/busy"))
        _ = bench.ring.takeSent(to: busy)
        bench.worker.handle(.stopAccepting)
        bench.settle()

        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(10))))
        bench.settle()
        #expect(bench.ring.isSendingShut(used))
        #expect(!bench.isStopped)
        bench.send(bench.upstream, Bench.ok)
        let answer = bench.ring.takeSent(to: busy)
        #expect(answer.contains("Connection: close"))
        #expect(answer.hasSuffix("ok"))
        bench.ring.ends(used)
        bench.ring.ends(busy)
        bench.settle()

        #expect(bench.isStopped)
        #expect(bench.ring.isClosed(idleUpstream))
        bench.expectEmpty()
    }

    @Test("A client that keeps its end open holds up a drain until it has got everything")
    func drainLinger() throws {
        let bench = try Bench()
        let before = bench.client()
        let idle = bench.client()
        let slow = bench.client()
        bench.send(before, bench.get("/", "Connection: close\r\n"))
        bench.send(bench.upstream, Bench.ok)
        for client in [idle, slow] {
            bench.send(client, bench.get())
            bench.send(bench.upstream, Bench.ok)
        }
        bench.ring.setUnacknowledged(slow, 7)
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(10))))
        bench.settle()
        #expect([before, idle, slow].allSatisfy { bench.ring.isSendingShut($0) })

        bench.pass(.milliseconds(200))
        #expect(!bench.ring.isClosed(idle))
        bench.pass(.milliseconds(100))
        #expect(bench.ring.isClosed(before) && bench.ring.isClosed(idle))
        #expect(!bench.ring.wasReset(idle))
        bench.pass(.milliseconds(1_700))
        #expect(!bench.ring.isClosed(slow) && !bench.isStopped)
        bench.pass(.milliseconds(400))

        #expect(bench.ring.isClosed(slow) && bench.isStopped)
    }

    @Test("Draining ends at its deadline, whatever is left")
    func drainDeadline() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(10))))

        bench.pass(.seconds(9))
        #expect(!bench.isStopped)
        bench.pass(.milliseconds(1_500))

        #expect(bench.isStopped)
    }

    @Test("Commands come through the mailbox, wake the loop and are answered")
    func mail() throws {
        let bench = try Bench(serving: false)
        bench.worker.watchMail()
        bench.mailbox.post(.serve)
        bench.mailbox.post(.apply(Bench.snapshot(2, bench.options, bench.options.members)))
        bench.ring.wakes()
        bench.settle()

        #expect(bench.client() > 0)
        #expect(
            bench.events.list.contains {
                if case .applied(0, 2) = $0 { true } else { false }
            })
        #expect(bench.block.epoch == 2)
        bench.mailbox.post(.stop)
        bench.ring.wakes()
        bench.settle()
        #expect(bench.isStopped)
    }

    @Test("The loop ends on stop and closes what it can")
    func run() throws {
        let bench = try Bench(serving: false)
        bench.mailbox.post(.serve)
        bench.mailbox.post(.stop)
        bench.ring.wakes()

        bench.worker.run()

        #expect(
            bench.events.list.contains { if case .stopped(0) = $0 { true } else { false } })
        #expect(bench.block.thread != 0)
    }

    // MARK: - Snapshots

    @Test("A request in flight is not touched by a new snapshot")
    func swap() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get("/1"))

        bench.apply(2, [Bench.member(2)])
        bench.settle()
        bench.send(bench.ring.opened[0], Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        // Its member has left: the connection is not kept.
        #expect(bench.ring.isClosed(bench.ring.opened[0]))
        bench.send(client, bench.get("/2"))

        #expect(bench.ring.address(of: bench.upstream) == Bench.member(2))
        #expect(bench.block.epoch == 2)
    }

    @Test("Unused connections stay with members that stay, and close with those that leave")
    func members() throws {
        var options = Bench.Options()
        options.members = [Bench.member(1), Bench.member(2)]
        let bench = try Bench(options)
        let clients = [bench.client(), bench.client()]
        for client in clients { bench.send(client, bench.get()) }
        let upstreams = bench.ring.opened
        for upstream in upstreams { bench.send(upstream, Bench.ok) }
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 2)

        bench.apply(2, [Bench.member(2), Bench.member(3)])
        bench.settle()

        #expect(bench.ring.isClosed(upstreams[0]))
        #expect(!bench.ring.isClosed(upstreams[1]))
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1)
    }

    @Test("A pool that is gone drains; a request waiting for its connection still gets it")
    func retired() throws {
        let bench = try Bench()
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        bench.send(client, bench.get())
        let old = bench.upstream

        bench.apply(2, [Bench.member(9)], pool: 3)
        bench.settle()
        bench.ring.connects(old)
        bench.settle()
        bench.send(old, Bench.ok)

        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.ring.isClosed(old))
        bench.ring.connectPolicy = { _ in 0 }
        bench.send(client, bench.get())
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(9))
        // And back again, under its old number.
        bench.apply(3, [Bench.member(1)])
        bench.send(bench.upstream, Bench.ok)
        bench.send(client, bench.get())
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(1))
    }

    @Test("What waits for an upstream whose certificates rotate is served by the pool that comes")
    func rotated() throws {
        var options = Bench.Options()
        options.memberMax = 1
        let bench = try Bench(options)
        let clients = (0..<3).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        let old = bench.upstream
        #expect(bench.count(Counter.requestsWaiting) == 2)

        bench.apply(2, [Bench.member(1)], pool: 1, replaces: 0)
        bench.settle()
        #expect(bench.count(Counter.requestsWaiting) == 2)
        // Again before anybody was served: the chain of pools is not lost.
        bench.apply(3, [Bench.member(1)], pool: 2, replaces: 0)
        bench.settle()
        bench.send(old, Bench.ok)
        #expect(bench.ring.takeSent(to: clients[0]).hasSuffix("ok"))
        #expect(bench.ring.isClosed(old), "nothing verified by the old rules is used again")
        for client in clients.dropFirst() {
            #expect(bench.upstream != old)
            bench.send(bench.upstream, Bench.ok)
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        }

        #expect(bench.count(Counter.requestsWaiting) == 0)
        bench.turn(after: .seconds(2))
        #expect(bench.worker.pools.map { $0 != nil } == [false, false, true])
        #expect(bench.worker.groups[0]?.pools.count == 1)
    }

    @Test("A request whose old connection fails after a rotation is sent again by the new pool")
    func rotatedRetry() throws {
        let bench = try Bench()
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        bench.send(client, bench.get())
        let old = bench.upstream

        bench.apply(2, [Bench.member(1), Bench.member(2)], pool: 1, replaces: 0)
        bench.settle()
        bench.ring.connectPolicy = { _ in 0 }
        bench.ring.connects(old, ECONNREFUSED)
        bench.settle()
        let next = bench.upstream
        bench.send(next, Bench.ok)

        #expect(next != old && bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1, "the new pool keeps it")
        bench.turn(after: .seconds(2))
        #expect(bench.worker.pools.map { $0 != nil } == [false, true])
    }

    @Test("A stream through a pool that a rotation has replaced outlives the drain's deadline")
    func rotatedStream() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "hello")
        let server = bench.upstream

        bench.apply(2, [Bench.member(1)], pool: 1, replaces: 0)
        bench.settle()
        bench.turn(after: .seconds(40))
        bench.send(server, "and more")

        #expect(bench.ring.takeSent(to: client) == "and more")
        #expect(bench.worker.pools[0] != nil)
        bench.ring.ends(client)
        bench.ring.ends(server)
        bench.settle()
        bench.turn(after: .seconds(2))
        bench.turn(after: .seconds(2))
        #expect(bench.worker.pools[0] == nil)
    }

    @Test(
        "At a drain's end a WebSocket is told to come again, unless it is in a frame",
        arguments: [true, false])
    func webSocketDismissed(isBetweenFrames: Bool) throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(
            client,
            bench.get(
                "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"))
        let server = bench.upstream
        let head = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        // A frame comes with the head, and another behind it.
        bench.ring.receives(server, Array(head.utf8) + [0x81, 0x02, 0x41, 0x42])
        bench.settle()
        bench.ring.receives(server, [0x82, 0x03] + (isBetweenFrames ? [1, 2, 3] : [1]))
        bench.settle()
        _ = bench.ring.sent(to: client)
        _ = bench.ring.takeSent(to: client)

        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(10)), isPatient: true))
        bench.turn(after: .milliseconds(9_700))
        #expect(bench.ring.takeSent(to: client).isEmpty && !bench.ring.isClosed(client))
        bench.quietTurn(after: .milliseconds(100))
        bench.settle()

        let told = bench.ring.sent(to: client)
        #expect(told == (isBetweenFrames ? [0x88, 0x02, 0x03, 0xF4] : []))
        #expect(bench.count(ReasonCode.draining) == (isBetweenFrames ? 1 : 0))
        #expect(bench.ring.isSendingShut(client) == isBetweenFrames)
    }

    @Test("A slot that is used again in the same turn is not taken for its earlier user")
    func reusedSlot() throws {
        let bench = try Bench()
        bench.worker.watchMail()
        let client = bench.client()
        bench.send(client, bench.get())
        let first = bench.upstream
        bench.send(first, Bench.ok)
        bench.ring.connectPolicy = { _ in nil }

        // In one turn: the unused connection ends, its member leaves, a request needs another.
        bench.ring.ends(first)
        bench.ring.step()
        bench.mailbox.post(.apply(Bench.snapshot(2, bench.options, [Bench.member(2)])))
        bench.ring.wakes()
        bench.ring.step()
        bench.ring.receives(client, bench.get())
        bench.turn()
        #expect(!bench.ring.isReceiving(bench.upstream))
        #expect(bench.ring.isConnecting(bench.upstream))
    }

    @Test("Out of chunk memory, a request is refused with 503 and the worker goes on")
    func memory() throws {
        var options = Bench.Options()
        options.chunkBudget = 1024
        let bench = try Bench(options)
        bench.ring.connectPolicy = { _ in nil }
        let clients = (0..<3).map { _ in bench.client() }

        for client in clients.prefix(2) { bench.send(client, bench.get()) }
        bench.send(clients[2], bench.get())
        #expect(bench.ring.takeSent(to: clients[2]).hasPrefix("HTTP/1.1 503"))
        #expect(bench.count(ReasonCode.memoryLimit) == 1)
        bench.ring.ends(clients[2])
        for upstream in bench.ring.opened { bench.ring.connects(upstream) }
        bench.settle()
        for upstream in bench.ring.opened { bench.send(upstream, Bench.ok) }

        for client in clients.prefix(2) {
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        }
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A chunked body's end that finds no memory is refused")
    func memoryAtEnd() throws {
        var options = Bench.Options()
        options.chunkBudget = 6 * 1024
        let bench = try Bench(options)
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in 0..<60 { bench.send(client, "20\r\n\(String(repeating: "x", count: 32))\r\n") }

        bench.send(client, "0\r\nX-Sum: \(String(repeating: "y", count: 3_000))\r\n\r\n")

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 503"))
    }
}

extension Bench {
    /// How often the worker has said that nothing more is accepted.
    var drained: Int {
        events.list.count { if case .drained = $0 { true } else { false } }
    }
}
