import EdgeCore
import EdgeRing
import EdgeTesting
import Testing

/// The guard is worth nothing if it sleeps: each rule, broken, is told.
@Suite("Scripted ring") struct ScriptedRingTests {
    private let ring = ScriptedRing(buffers: 4)
    private let client: Int32
    private let bytes = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)

    init() {
        ring.incoming(1, [SocketAddress(ipv4: 1, port: 1)])
        client = ring.accept(from: 1).descriptor
        bytes.initializeMemory(as: UInt8.self, repeating: 1, count: 16)
    }

    private func token(
        _ operation: EdgeRing.Operation, slot: Int = 0, generation: UInt32 = 0
    ) -> CompletionToken {
        CompletionToken(slot: slot, generation: generation, operation: operation)
    }

    private func expectRule(_ words: String) {
        #expect(ring.violations.contains { $0.contains(words) }, "\(ring.violations)")
    }

    @Test("A life by the rules breaks none")
    func good() {
        ring.receive(token(.receive), from: client)
        ring.receives(client, "abc")
        ring.setRoom(client, 4)
        ring.send(token(.send), to: client, bytes, count: 16)
        ring.step()
        while let completion = ring.next() {
            if let buffer = completion.buffer { ring.returnBuffer(buffer) }
        }
        ring.cancelAll(token(.cancel), on: client)
        ring.step()
        while ring.next() != nil {}
        ring.close(client, reset: false)

        #expect(ring.violations.isEmpty)
        #expect(ring.sent(to: client).count == 4)
        #expect(ring.isClosed(client) && ring.openDescriptors.isEmpty)
    }

    @Test("Closed with an operation in flight, also one whose cancel has not come back")
    func closedInFlight() {
        ring.receive(token(.receive), from: client)
        ring.cancelAll(token(.cancel), on: client)
        ring.close(client, reset: false)

        expectRule("in flight")
    }

    @Test("Closed twice, and used after that")
    func closedTwice() {
        ring.close(client, reset: false)
        ring.close(client, reset: false)
        expectRule("closed twice")

        _ = ring.trySend(to: client, bytes, count: 1)
        expectRule("send after close")
        ring.receive(token(.receive), from: client)
        expectRule("receive after close")
    }

    @Test("Two receives or two sends at once, and a send that overtakes one")
    func twoAtOnce() {
        ring.setRoom(client, 0)
        ring.receive(token(.receive), from: client)
        ring.receive(token(.receive, generation: 1), from: client)
        ring.send(token(.send), to: client, bytes, count: 1)
        ring.send(token(.send, generation: 1), to: client, bytes, count: 1)
        _ = ring.trySend(to: client, bytes, count: 1)

        expectRule("two receives")
        expectRule("two sends")
        expectRule("overtakes")
    }

    @Test("A slot that is used again while an operation of it is in flight")
    func reused() {
        ring.receive(token(.receive), from: client)
        let other = ring.openSocket(for: SocketAddress(ipv4: 2, port: 2))
        ring.receive(token(.receive), from: other)

        expectRule("token in use")
        expectRule("another user")
        expectRule("receive before connect")
    }

    @Test("Memory of a send that changes before its completion")
    func memory() {
        ring.setRoom(client, 0)
        ring.send(token(.send), to: client, bytes, count: 16)
        ring.step()
        bytes.storeBytes(of: 9, as: UInt8.self)
        ring.setRoom(client, 16)
        ring.step()

        expectRule("bytes changed")
    }

    @Test("A buffer that is given back twice, a send after the end, a cancel of nothing")
    func others() {
        ring.receive(token(.receive), from: client)
        ring.receives(client, "abc")
        ring.step()
        let buffer = ring.next()?.buffer
        #expect(ring.buffersLent == 1)
        if let buffer {
            ring.returnBuffer(buffer)
            ring.returnBuffer(buffer)
        }
        ring.shutdownSending(client)
        ring.send(token(.send), to: client, bytes, count: 1)
        ring.cancel(token(.cancel), token(.connect))

        expectRule("given back twice")
        expectRule("send after shutdown")
        expectRule("not in flight")
    }
}
