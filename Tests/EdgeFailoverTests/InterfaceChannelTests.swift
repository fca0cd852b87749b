import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Interface channel", .serialized) struct InterfaceChannelTests {
    private final class Hand {
        let channel: InterfaceChannel
        var packets: [RawPacket] = []
        /// Of the loop, as packets came.
        var turns: Set<Instant> = []

        init(_ loop: PollLoop) throws {
            channel = InterfaceChannel(name: "eth0", loop: loop)
            channel.routerIDs = [7]
            channel.speak([.ipv4: true])
            let link = try NetworkLink.readAll(NetlinkSocket()).first {
                $0.interface.name == "eth0"
            }
            _ = channel.update(link)
            channel.received = { [weak self, weak loop] _, packet in
                self?.packets.append(packet)
                if let loop { self?.turns.insert(loop.now) }
            }
        }
    }

    private let source = SocketAddress(ipv4: 0x0A4D_0001, port: 0)

    @Test("what has piled up is read in portions, and then only what may be for us is let in")
    func flood() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let thread = try LoopThread(in: wire.right.namespace) { try Hand($0) }
        defer { thread.stop() }
        nonisolated(unsafe) let socket = sender
        let source = source

        // The loop stands still meanwhile.
        thread.sync { _ in
            for _ in 0..<200 { try? socket.send([0x31, 9, 1], from: source) }
        }

        #expect(eventually { thread.sync { $0.packets.count } == 200 })
        #expect(thread.sync { $0.turns.count } >= 25)
        #expect(thread.sync { $0.channel.floods } >= 1)
        // Another router's is not for us, our own is.
        try sender.send([0x31, 9, 2], from: source)
        try sender.send([0x31, 7, 3], from: source)
        #expect(eventually { thread.sync { $0.packets.last?.bytes.last } == 3 })
        #expect(thread.sync { $0.packets.count } == 201)
    }

    @Test("a virtual router that is configured during a flood is let in at once")
    func floodAndReload() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let thread = try LoopThread(in: wire.right.namespace) { try Hand($0) }
        defer { thread.stop() }
        nonisolated(unsafe) let socket = sender
        let source = source
        thread.sync { _ in
            for _ in 0..<200 { try? socket.send([0x31, 9, 1], from: source) }
        }
        #expect(eventually { thread.sync { $0.packets.count } == 200 })

        thread.sync { $0.channel.routerIDs = [7, 9] }
        try sender.send([0x31, 9, 2], from: source)

        #expect(eventually { thread.sync { $0.packets.last?.bytes.last } == 2 })
    }

    @Test("while it is suspended packets stay in the socket, and keep their time")
    func suspended() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let thread = try LoopThread(in: wire.right.namespace) { try Hand($0) }
        defer { thread.stop() }
        // Stamps begin soon after somebody wants them.
        usleep(100_000)
        thread.sync { $0.channel.suspend() }

        try sender.send([0x31, 7, 1], from: source)
        let sent = Instant.now()
        usleep(60_000)
        #expect(thread.sync { $0.packets.isEmpty })
        thread.sync { $0.channel.resume() }

        #expect(eventually { thread.sync { $0.packets.count } == 1 })
        let packet = try #require(thread.sync { $0.packets.first })
        #expect(packet.receivedAt < sent.advanced(by: .milliseconds(30)))
    }

    @Test("one that is gone has no sockets; one that comes back has others")
    func recreated() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let thread = try LoopThread(in: wire.right.namespace) { try Hand($0) }
        defer { thread.stop() }
        #expect(thread.sync { $0.channel.sockets.count == 1 && $0.channel.state == .up })

        let isOther = thread.sync { $0.channel.update(nil) }
        #expect(isOther)
        #expect(thread.sync { $0.channel.sockets.isEmpty && $0.channel.state == .absent })
        let link = try inNamespace(wire.right.namespace) {
            try NetworkLink.readAll(NetlinkSocket()).first { $0.interface.name == "eth0" }
        }
        let isBack = thread.sync { $0.channel.update(link) }
        #expect(isBack)

        #expect(thread.sync { $0.channel.sockets.count == 1 })
        let isSame = thread.sync { !$0.channel.update(link) }
        #expect(isSame)
    }
}
