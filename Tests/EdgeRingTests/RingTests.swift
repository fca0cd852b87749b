import CEdge
import EdgeCore
import EdgeTesting
import Glibc
import Testing

@testable import EdgeRing

@Suite("Completion tokens") struct CompletionTokenTests {
    @Test("Slot, generation and operation come back as they went in")
    func packing() {
        let operations: [EdgeRing.Operation] = [
            .receive, .send, .connect, .cancel, .incoming, .mail,
        ]
        for slot in [0, 1, 65_535, 1 << 20, Int(UInt32.max)] {
            for generation: UInt32 in [0, 1, 0x7F_FFFF, 0xFF_FFFF] {
                for operation in operations {
                    let token = CompletionToken(
                        slot: slot, generation: generation, operation: operation)
                    #expect(token.slot == slot)
                    #expect(token.generation == generation)
                    #expect(token.operation == operation)
                    #expect(CompletionToken(bits: token.bits) == token)
                }
            }
        }
    }

    @Test("A generation that is too large touches nothing else; other bits are no operation")
    func bounds() {
        let token = CompletionToken(slot: 5, generation: .max, operation: .send)

        #expect(token.slot == 5)
        #expect(token.generation == 0xFF_FFFF)
        #expect(token.operation == .send)
        #expect(CompletionToken(bits: 0).operation == nil)
        #expect(CompletionToken(bits: 7).operation == nil)
        #expect(CompletionToken(bits: .max).operation == nil)
    }
}

@Suite("Ring errors") struct RingErrorTests {
    @Test(
        "An errno becomes a case whose text says what to change",
        arguments: [
            (ENOSYS, ["ENOSYS", "seccomp", "6.1"]), (EPERM, ["EPERM", "io_uring"]),
            (EINVAL, ["what it needs", "6.1"]), (ENOMEM, ["ENOMEM", "LimitMEMLOCK"]),
            (EBADF, ["the call", "errno 9"]),
        ] as [(Int32, [String])])
    func texts(number: Int32, words: [String]) {
        let text = RingError.from(errno: number, call: "the call", needs: "what it needs")
            .description

        for word in words { #expect(text.contains(word), "\(text)") }
    }

    @Test("A sysctl that forbids is named with the way out; else seccomp is")
    func forbidden() {
        let sysctl = RingError.forbidden(sysctl: 2).description

        #expect(sysctl.contains("kernel.io_uring_disabled is 2"))
        #expect(sysctl.contains("sysctl -w kernel.io_uring_disabled=0"))
        #expect(RingError.forbidden(sysctl: 0).description.contains("seccomp"))
        #expect(RingError.forbidden(sysctl: nil).description.contains("seccomp"))
        #expect(RingError.operationsMissing(["RECV"]).description.contains("RECV"))
    }
}

/// Against the kernel of this machine, over loopback.
@Suite("Ring and kernel", .serialized) struct RingTests {
    /// A pair of connected TCP sockets, closed with this object.
    private final class Pair {
        let near: Int32
        let far: Int32
        init() throws {
            let listener = try Listener()
            far = try listener.connect()
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            near = ce_accept4(listener.descriptor, &address, &length, 0)
            try #require(near >= 0)
        }
        deinit {
            close(near)
            close(far)
        }
    }

    private final class Listener {
        let descriptor: Int32
        let address: SocketAddress

        init() throws {
            let made = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            descriptor = made
            var storage = [UInt8](repeating: 0, count: 28)
            SocketAddress(ipv4: 0x7F00_0001, port: 0).write(to: &storage)
            var length = socklen_t(16)
            let bound = storage.withUnsafeMutableBytes {
                let address = $0.baseAddress!.assumingMemoryBound(to: sockaddr.self)
                return bind(made, address, 16) == 0 && listen(made, 64) == 0
                    && getsockname(made, address, &length) == 0
            }
            address = SocketAddress(kernel: storage, byteCount: 16)!
            _ = fcntl(made, F_SETFL, O_NONBLOCK)
            guard bound else { throw KitError("cannot listen") }
        }
        deinit { close(descriptor) }

        func connect() throws -> Int32 {
            let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var storage = [UInt8](repeating: 0, count: 28)
            address.write(to: &storage)
            let status = storage.withUnsafeBytes {
                CEdge.connect(
                    client, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), 16)
            }
            try #require(status == 0)
            return client
        }
    }

    private static func token(_ slot: Int, _ operation: EdgeRing.Operation) -> CompletionToken {
        CompletionToken(slot: slot, generation: 3, operation: operation)
    }

    /// Completions until `count` are there, or two seconds are over.
    private static func reap(_ ring: Ring, _ count: Int) -> [Completion] {
        var all: [Completion] = []
        let end = Instant.now().advanced(by: .seconds(2))
        while all.count < count, Instant.now() < end {
            #expect(ring.wait(atMost: 100_000_000) == nil)
            while let completion = ring.next() { all.append(completion) }
        }
        return all
    }

    private static func write(_ descriptor: Int32, _ bytes: [UInt8]) {
        let count = CEdge.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        #expect(count == bytes.count)
    }

    @Test("This kernel has what a worker needs")
    func probe() throws { try Ring.probe() }

    @Test("A number of buffers that the kernel does not take is an error, not a crash")
    func odd() {
        #expect(throws: RingError.self) { _ = try Ring(entries: 8, bufferCount: 65_536) }
    }

    @Test("A wait ends at its time, and earlier when something comes")
    func waiting() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let start = Instant.now()

        #expect(ring.wait(atMost: 30_000_000) == nil)
        #expect(ring.next() == nil)
        #expect(Instant.now().nanoseconds(since: start) >= 25_000_000)

        var cell: UInt64 = 0
        let event = eventfd(1, 0)
        defer { close(event) }
        ring.readEvent(Self.token(0, .mail), from: event, into: &cell)
        let again = Instant.now()
        #expect(ring.wait(atMost: 5_000_000_000) == nil)
        #expect(Instant.now().nanoseconds(since: again) < 4_000_000_000)
        #expect(ring.next()?.token == Self.token(0, .mail))
    }

    @Test("A listener is reported and accepted from until its queue is empty")
    func accepting() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let listener = try Listener()
        ring.watchIncoming(Self.token(7, .incoming), on: listener.descriptor)
        #expect(ring.accept(from: listener.descriptor).descriptor == -EAGAIN)

        let clients = [try listener.connect(), try listener.connect()]
        defer { for client in clients { close(client) } }
        let first = try #require(Self.reap(ring, 1).first)
        #expect(first.token == Self.token(7, .incoming))
        #expect(first.hasMore && first.result > 0)
        for _ in 0..<2 {
            let (descriptor, peer) = ring.accept(from: listener.descriptor)
            #expect(descriptor >= 0)
            #expect(peer?.isLoopback == true)
            #expect(fcntl(descriptor, F_GETFD, 0) & FD_CLOEXEC != 0)
            ring.close(descriptor, reset: false)
        }
        #expect(ring.accept(from: listener.descriptor) == (-EAGAIN, nil))
        let third = try listener.connect()
        defer { close(third) }
        #expect(Self.reap(ring, 1).contains { $0.token == Self.token(7, .incoming) })

        ring.cancel(
            CompletionToken(slot: 7, generation: 1, operation: .incoming), Self.token(7, .incoming))
        let last = Self.reap(ring, 2)
        #expect(
            last.contains { $0.token.generation == 3 && !$0.hasMore && $0.result == -ECANCELED })
    }

    @Test("One receive brings everything, in buffers, until the end")
    func receiving() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let pair = try Pair()
        ring.receive(Self.token(1, .receive), from: pair.near)

        for round in 0..<40 {
            Self.write(pair.far, Array("message \(round)".utf8))
            let completion = try #require(Self.reap(ring, 1).first)
            let buffer = try #require(completion.buffer)
            #expect(completion.hasMore)
            #expect(
                Array(
                    UnsafeRawBufferPointer(
                        start: ring.bytes(of: buffer), count: Int(completion.result)))
                    == Array("message \(round)".utf8))
            ring.returnBuffer(buffer)
        }
        shutdown(pair.far, Int32(SHUT_WR))
        let end = try #require(Self.reap(ring, 1).first)

        #expect(end.result == 0 && !end.hasMore)
    }

    @Test("Out of buffers a receive ends with ENOBUFS; armed again it goes on where it was")
    func exhaustion() throws {
        let ring = try Ring(entries: 8, bufferCount: 2)
        let pair = try Pair()
        let content = (0..<80_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        ring.receive(Self.token(1, .receive), from: pair.near)
        Self.write(pair.far, content)

        var received: [UInt8] = []
        var starved = 0
        for _ in 0..<100 where received.count < content.count {
            var buffers: [UInt16] = []
            for completion in Self.reap(ring, 1) {
                if let buffer = completion.buffer {
                    received += UnsafeRawBufferPointer(
                        start: ring.bytes(of: buffer), count: Int(completion.result))
                    buffers.append(buffer)
                }
                guard !completion.hasMore else { continue }
                #expect(completion.result == -ENOBUFS || completion.result > 0)
                starved += completion.result == -ENOBUFS ? 1 : 0
                ring.receive(Self.token(1, .receive), from: pair.near)
            }
            for buffer in buffers { ring.returnBuffer(buffer) }
        }

        #expect(received == content)
        #expect(starved > 0)
    }

    @Test("Sends go out, at once and through the ring; a full socket says EAGAIN")
    func sending() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let pair = try Pair()
        let content = [UInt8](repeating: 5, count: 1 << 20)

        try content.withUnsafeBytes { bytes in
            let start = try #require(bytes.baseAddress)
            var total = 0
            while true {
                let count = ring.trySend(to: pair.near, start, count: bytes.count)
                guard count > 0 else {
                    #expect(count == -Int(EAGAIN))
                    break
                }
                total += count
            }
            ring.send(Self.token(2, .send), to: pair.near, start, count: 1_000)
            #expect(ring.wait(atMost: 10_000_000) == nil)
            #expect(ring.next() == nil)
            var block = [UInt8](repeating: 0, count: 1 << 20)
            while total > 0 { total -= recv(pair.far, &block, block.count, 0) }
            let completion = try #require(Self.reap(ring, 1).first)
            #expect(completion.token == Self.token(2, .send))
            #expect(completion.result > 0 && !completion.hasMore)
        }
    }

    @Test("A send to a peer that is gone is an error, not a signal")
    func broken() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let pair = try Pair()
        shutdown(pair.near, Int32(SHUT_WR))
        var byte: UInt8 = 1

        #expect(ring.trySend(to: pair.near, &byte, count: 1) == -Int(EPIPE))
        ring.send(Self.token(1, .send), to: pair.near, &byte, count: 1)
        #expect(Self.reap(ring, 1).first?.result == -EPIPE)
    }

    @Test("A connect comes to an end, well or refused")
    func connecting() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let gone: SocketAddress
        do { gone = try Listener().address }
        let listener = try Listener()
        for (address, result) in [(listener.address, Int32(0)), (gone, -ECONNREFUSED)] {
            let descriptor = ring.openSocket(for: address)
            try #require(descriptor >= 0)
            let storage = UnsafeMutableRawPointer.allocate(byteCount: 28, alignment: 8)
            defer { storage.deallocate() }
            address.write(to: storage)

            ring.connect(
                Self.token(4, .connect), descriptor, to: storage,
                byteCount: address.kernelByteCount)

            #expect(Self.reap(ring, 1).first?.result == result)
            ring.close(descriptor, reset: false)
        }
    }

    @Test("After a cancel of all, every operation has one final completion")
    func cancelling() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let pair = try Pair()
        let content = [UInt8](repeating: 5, count: 8 << 20)
        ring.receive(Self.token(1, .receive), from: pair.near)
        content.withUnsafeBytes { bytes in
            while ring.trySend(to: pair.near, bytes.baseAddress!, count: bytes.count) > 0 {}
            ring.send(Self.token(1, .send), to: pair.near, bytes.baseAddress!, count: 1_000)
            #expect(ring.wait(atMost: 5_000_000) == nil)

            ring.cancelAll(Self.token(1, .cancel), on: pair.near)
            let all = Self.reap(ring, 3)

            #expect(
                Set(all.compactMap(\.token.operation)) == [.receive, .send, .cancel])
            #expect(all.count == 3)
            #expect(all.allSatisfy { !$0.hasMore })
            #expect(
                all.filter { $0.token.operation != .cancel }.allSatisfy { $0.result == -ECANCELED })
        }
        #expect(ring.wait(atMost: 10_000_000) == nil)
        #expect(ring.next() == nil)
    }

    @Test("More submissions than entries are all taken")
    func overfull() throws {
        let ring = try Ring(entries: 4, bufferCount: 8)
        var cells = [UInt64](repeating: 0, count: 40)
        let event = eventfd(0, Int32(EFD_SEMAPHORE))
        defer { close(event) }
        cells.withUnsafeMutableBufferPointer { cells in
            for index in 0..<40 {
                ring.readEvent(
                    Self.token(index, .mail), from: event, into: cells.baseAddress! + index)
            }
            var count: UInt64 = 40
            #expect(CEdge.write(event, &count, 8) == 8)

            let all = Self.reap(ring, 40)

            #expect(Set(all.map(\.token.slot)) == Set(0..<40))
            #expect(all.allSatisfy { $0.result == 8 })
        }
    }

    @Test("A close with reset is seen as one")
    func reset() throws {
        let ring = try Ring(entries: 8, bufferCount: 8)
        let listener = try Listener()
        let client = try listener.connect()
        defer { close(client) }
        let (descriptor, _) = ring.accept(from: listener.descriptor)

        ring.close(descriptor, reset: true)

        var byte: UInt8 = 0
        #expect(recv(client, &byte, 1, 0) == -1)
        #expect(errno == ECONNRESET)
    }
}
