internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeTesting
internal import Glibc
internal import Testing

@testable internal import EdgePair

@Suite("Pair: bounds of what the link takes", .serialized) struct PairBoundsTests {
    private static func until(_ loop: PollLoop, _ holds: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(20))
        while !holds(), Instant.now() < end { loop.runOnce(maxWait: .milliseconds(20)) }
        return holds()
    }

    private static func listener(
        _ loop: PollLoop, accept: PairListener.Accept? = nil,
        accepted: @escaping (Int32) -> Void
    ) throws -> PairListener {
        let own = try #require(SocketAddress("127.0.0.2:0"))
        let peer = try #require(SocketAddress("127.0.0.1:1"))
        guard let accept else {
            return PairListener(loop: loop, address: own, peer: peer, accepted: accepted)
        }
        return PairListener(
            loop: loop, address: own, peer: peer, accept: accept, accepted: accepted)
    }

    @Test(
        "Without descriptors the listener rests a moment, and goes on", arguments: [EMFILE, ENFILE])
    func rests(code: Int32) throws {
        let loop = try PollLoop()
        var refused = 0
        var isShort = true
        var taken: [Int32] = []
        let listener = try Self.listener(
            loop,
            accept: { socket, address, size in
                if isShort {
                    refused += 1
                    errno = code
                    return -1
                }
                return ce_accept4(
                    socket, address, size,
                    Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
            }, accepted: { taken.append($0) })
        defer { listener.close() }
        let client = try TestSocket.startConnect(
            to: try #require(listener.boundAddress), from: SocketAddress("127.0.0.1:0"))
        defer { close(client) }

        #expect(Self.until(loop) { refused == 1 })
        #expect(listener.problem?.contains("accept4") == true)
        var turns = 0
        while refused < 3, turns < 1_000 {
            loop.runOnce(maxWait: .milliseconds(200))
            turns += 1
        }
        #expect(refused == 3)
        #expect(turns < 20, "a turn each is a rest")
        let begun = Instant.now()
        #expect(Self.until(loop) { refused == 4 })
        #expect(Instant.now().nanoseconds(since: begun) >= 50_000_000)
        isShort = false

        #expect(Self.until(loop) { taken.count == 1 })
        #expect(listener.problem == nil)
        for socket in taken { close(socket) }
    }

    @Test("A peer that always has something left to read does not make us remember all of it")
    func backlog() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let tls = try PinnedTLS(files.high)
        var server: PairConnection?
        var isOpen = false
        var ending: String?
        let listener = try Self.listener(loop) { socket in
            let connection = PairConnection(
                loop: loop, tls: tls,
                handlers: .init(
                    secured: { isOpen = true }, received: { _ in }, violated: { _ in },
                    ended: { ending = $0 }))
            server = connection
            // The kernel does not take a turn's worth.
            var room: Int32 = 64 << 10
            setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, 4)
            try? connection.accept(socket)
        }
        defer { listener.close() }
        let client = try Dialer(
            files.low, from: "127.0.0.1", try #require(listener.boundAddress).port, loop)
        #expect(Self.until(loop) { isOpen && client.isSecured })
        let sender = try #require(server)

        let names = PairMessage.names([UInt8](repeating: 7, count: PairMessage.bodyBytesMax))
        let size = names.encoded.count
        var sent = 0
        var held = 0
        var idle = 0
        while sent < 32 << 20, ending == nil {
            // There is always something left.
            while sender.held.unsent < 1 << 20 {
                sender.send(names)
                sent += size
            }
            loop.runOnce(maxWait: .milliseconds(20))
            held = max(held, sender.held.all)
            if sender.held.unsent == 0 { idle += 1 }
        }
        #expect(ending == nil)
        // On a busy machine all of it may go out at once, now and then.
        #expect(idle < 4, "it was hardly ever rid of everything")
        #expect(held < 3 << 20, "held \(held) bytes")
        sender.close()
    }
}
