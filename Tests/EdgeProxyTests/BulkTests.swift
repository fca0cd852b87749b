import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: bulk transfers") struct BulkTests {
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 11) }
    }

    private static func body(_ bytes: [UInt8]) -> [UInt8] {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return [] }
        return Array(bytes[end.upperBound...])
    }

    private static func answer(_ content: [UInt8]) -> [UInt8] {
        Array("HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n".utf8) + content
    }

    /// Without the difference that a failed comparison of long arrays would be shown with.
    private func expectSame(
        _ found: [UInt8], _ expected: [UInt8], _ location: SourceLocation = #_sourceLocation
    ) {
        let isSame = found == expected
        #expect(
            isSame, "\(found.count) bytes, expected \(expected.count)", sourceLocation: location)
    }

    private func level(_ bench: Bench, _ descriptor: Int32) -> UInt8? {
        for slot in 0..<(bench.worker.upstreamBase + bench.worker.upstreamSlots.touched) {
            let channel = bench.worker.channels[slot].pointee
            if channel.phase != .free, channel.descriptor == descriptor {
                return channel.receiveLevel
            }
        }
        return nil
    }

    @Test("An answer that fills its buffers is read in growing rounds and arrives whole")
    func growing() throws {
        let bench = try Bench()
        let client = bench.client()
        let content = Self.pattern(2_200_000)
        bench.send(client, bench.get())

        // Not all at once: what fills the provided buffers comes first.
        bench.ring.receives(bench.upstream, Self.answer(content).prefix(64 * 1024))
        bench.turn()
        bench.turn()
        bench.ring.receives(bench.upstream, Self.answer(content).dropFirst(64 * 1024))
        bench.settle()

        expectSame(Self.body(bench.ring.sent(to: client)), content)
        #expect(bench.ring.largestReceive(bench.upstream) == 512 * 1024)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A connection that carries little again is read in small buffers again")
    func shrinking() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, Self.answer(Self.pattern(400_000)))
        bench.settle()
        #expect(level(bench, bench.upstream) ?? 0 > 0)

        for _ in 0..<5 {
            bench.send(client, bench.get())
            bench.send(bench.upstream, Bench.ok)
        }

        #expect(level(bench, bench.upstream) == 0)
        #expect(bench.count(.upstreamConnects) == 1)
    }

    @Test("An upload that fills its buffers arrives whole, and the next request as well")
    func upload() throws {
        let bench = try Bench()
        let client = bench.client()
        let content = Self.pattern(1_500_000)
        bench.send(
            client,
            "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: \(content.count)\r\n\r\n")
        for start in stride(from: 0, to: content.count, by: 100_000) {
            bench.ring.receives(client, content[start..<min(start + 100_000, content.count)])
            bench.settle()
        }
        bench.ring.receives(client, bench.get("/next"))
        bench.settle()

        expectSame(Self.body(bench.ring.sent(to: bench.upstream)), content)
        bench.send(bench.upstream, Bench.ok)
        #expect(
            String(decoding: bench.ring.sent(to: bench.upstream).suffix(400), as: UTF8.self)
                .contains("GET /next"))
    }

    @Test("A bulk connection that its upstream closes while unused is closed at once")
    func closedWhileIdle() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, Self.answer(Self.pattern(400_000)))
        bench.settle()
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1)

        bench.ring.ends(bench.upstream)
        bench.settle()

        #expect(bench.ring.isClosed(bench.upstream))
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 0)
    }

    @Test("Rounds get smaller as the budget is used up, and nobody is cut for it")
    func pressure() throws {
        var options = Bench.Options()
        options.chunkBudget = 2 << 20
        let bench = try Bench(options)
        let content = Self.pattern(200_000)
        let clients = (0..<12).map { _ in bench.client() }
        for round in 0..<2 {
            for client in clients {
                bench.send(client, bench.get())
                bench.ring.setRoom(client, round == 0 ? .max : 1_000)
            }
            // All at once, so that each has a connection of its own; bulk from the first answer on.
            for upstream in bench.ring.opened {
                bench.ring.receives(upstream, Self.answer(content))
            }
            bench.settle()
            guard round == 0 else { break }
            for client in clients {
                expectSame(Self.body(bench.ring.takeBytes(to: client)), content)
            }
        }
        for _ in 0..<15 {
            for client in clients { bench.ring.setRoom(client, 30_000) }
            bench.settle()
            #expect(bench.worker.chunks.bytesInUse <= 2 << 20)
        }
        for client in clients { bench.ring.setRoom(client, .max) }
        bench.settle()

        for client in clients { expectSame(Self.body(bench.ring.sent(to: client)), content) }
        #expect(bench.count(ReasonCode.memoryLimit) == 0)
    }

    @Test("A bulk peer that fails while its bytes wait leaves nothing behind")
    func failure() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 100_000)
        bench.ring.receives(bench.upstream, Self.answer(Self.pattern(1_500_000)).prefix(900_000))
        bench.settle()
        bench.ring.fails(client, 104)
        bench.settle()
        bench.pass(.seconds(3))

        bench.expectEmpty()
    }
}

@Suite("Worker: least rates") struct RateTests {
    private func bench(upload: Int = 0, download: Int = 0) throws -> Bench {
        var options = Bench.Options()
        options.uploadMin = upload
        options.downloadMin = download
        return try Bench(options)
    }

    private let put = "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 100000\r\n\r\n"

    @Test("A body that drips below the least rate is refused with 408")
    func drip() throws {
        let bench = try bench(upload: 100)
        let client = bench.client()
        bench.send(client, put)

        var seconds = 0
        while bench.ring.sent(to: client).isEmpty, seconds < 100 {
            bench.send(client, "x")
            bench.pass(.seconds(1))
            seconds += 1
        }

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 408 "))
        #expect((29...33).contains(seconds))
        #expect(bench.count(ReasonCode.clientBodyTimeout) == 1)
    }

    @Test("A body that keeps up with the least rate may take its time")
    func keepsUp() throws {
        let bench = try bench(upload: 100)
        let client = bench.client()
        bench.send(client, put)

        for _ in 0..<40 {
            bench.send(client, String(repeating: "x", count: 550))
            bench.pass(.seconds(5))
        }

        #expect(bench.ring.sent(to: client).isEmpty)
        #expect(!bench.ring.isClosed(client))
    }

    @Test("A burst buys no more rest than the time-out")
    func burst() throws {
        let bench = try bench(upload: 100)
        let client = bench.client()
        bench.send(client, put)
        bench.send(client, String(repeating: "x", count: 50_000))

        bench.pass(.seconds(29))
        #expect(bench.ring.sent(to: client).isEmpty)
        bench.pass(.seconds(2))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 408 "))
    }

    private func blocked(_ bench: Bench) -> Int32 {
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 10)
        bench.ring.receives(
            bench.upstream,
            "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"
                + String(repeating: "y", count: 60000))
        bench.settle()
        return client
    }

    @Test("A client that takes a byte now and then is cut, though it takes something")
    func dripReader() throws {
        let bench = try bench(download: 100)
        let client = blocked(bench)

        for _ in 0..<32 where !bench.ring.isClosed(client) {
            bench.ring.setRoom(client, 1)
            bench.pass(.seconds(1))
        }

        #expect(bench.ring.isClosed(client) && bench.ring.wasReset(client))
        #expect(bench.count(ReasonCode.clientReadTimeout) == 1)
    }

    @Test("A client that takes at the least rate is served, however long it takes")
    func slowReader() throws {
        let bench = try bench(download: 100)
        let client = blocked(bench)

        for _ in 0..<60 {
            bench.ring.setRoom(client, 600)
            bench.pass(.seconds(5))
        }

        #expect(!bench.ring.isClosed(client))
        bench.ring.setRoom(client, .max)
        bench.settle()
        #expect(bench.ring.sent(to: client).count > 60000)
    }

    @Test("What the kernel still holds for a slow client counts as taken when it is acknowledged")
    func acknowledged() throws {
        let bench = try bench(download: 100)
        let client = blocked(bench)

        // The socket takes nothing more, but its queue shrinks.
        for left in stride(from: 100_000, to: 50_000, by: -600) {
            bench.ring.setUnacknowledged(client, left)
            bench.pass(.seconds(1))
        }

        #expect(!bench.ring.isClosed(client))
        bench.pass(.seconds(32))
        #expect(bench.ring.isClosed(client))
    }
}
