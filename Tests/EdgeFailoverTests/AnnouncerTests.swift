import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Announcer", .serialized) struct AnnouncerTests {
    private let addresses = [
        SocketAddress(ipv4: 0x0A4D_0009, port: 0),
        SocketAddress(ipv6High: 0xFD77 << 48, low: 9, port: 0),
    ]

    /// Of the left host.
    private func place(_ wire: Wire) throws -> Announcer.Place {
        let link = try inNamespace(wire.left.namespace) {
            try NetworkLink.readAll(NetlinkSocket()).first { $0.interface.name == "eth0" }
        }
        return Announcer.Place(
            index: wire.leftIndex, name: "eth0",
            hardwareAddress: try #require(link?.hardwareAddress))
    }

    @Test("every address is announced to everybody on the network")
    func frames() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let capture = try FrameCapture(in: wire.right.namespace)
        defer { capture.stop() }
        let place = try place(wire)
        let announcer = Announcer(
            socket: try inNamespace(wire.left.namespace) { try PacketSocket() })

        announcer.announce(addresses, at: place)

        let isOurs = { (frame: FrameCapture.Frame) in frame.source == place.hardwareAddress }
        let arps = capture.wait(for: 2) { $0.etherType == 0x0806 && isOurs($0) }
        let adverts = capture.wait(for: 1) {
            $0.etherType == 0x86DD && $0.bytes[20] == 58 && $0.bytes[54] == 136 && isOurs($0)
        }
        #expect(arps.map { $0.word(20) } == [1, 2])
        #expect(arps.allSatisfy { $0.ipv4(28) == addresses[0] && $0.ipv4(38) == addresses[0] })
        #expect(adverts.count == 1)
        #expect(adverts.allSatisfy { $0.ipv6(62) == addresses[1] && $0.bytes[21] == 255 })
        #expect(announcer.figures.sent == 3 && announcer.figures.failures == 0)
    }

    @Test("neighbours that knew the address elsewhere send to its new place at once")
    func neighbours() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        // An entry as another holder of the address left it.
        for address in addresses {
            try wire.right.ip(
                "neighbour replace \(address.addressText) lladdr 02:00:00:00:00:99 dev eth0"
                    + " nud reachable")
        }
        let place = try place(wire)
        try inNamespace(wire.left.namespace) {
            let socket = try NetlinkSocket()
            for address in addresses {
                try AddressPlan.virtual(
                    address, prefixLength: address.isIPv4 ? 24 : 64, on: wire.leftIndex
                ).add(socket)
            }
            Announcer(socket: try PacketSocket()).announce(addresses, at: place)
        }

        let text = place.hardwareAddress.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            .joined(separator: ":")
        for address in addresses.map(\.addressText) {
            let isKnown = try eventually {
                try wire.right.tool("ip", ["neighbour", "show", address]).output.contains(text)
            }
            #expect(isKnown)
            #expect(try wire.right.reaches(address))
        }
    }

    @Test("frames for an interface that has gone are counted as failures")
    func gone() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let announcer = Announcer(
            socket: try inNamespace(wire.left.namespace) { try PacketSocket() })

        announcer.announce(
            addresses,
            at: Announcer.Place(index: 4711, name: "eth9", hardwareAddress: [2, 0, 0, 0, 0, 1]))

        #expect(announcer.figures.sent == 0 && announcer.figures.failures == 3)
        #expect(announcer.figures.lastFailure?.code == ENXIO)
    }
}
