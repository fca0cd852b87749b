import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

/// How packets go, and of which family.
struct Speech: Sendable, CustomTestStringConvertible {
    let family: IPFamily
    var isUnicast = false

    var testDescription: String { "\(family), \(isUnicast ? "unicast" : "multicast")" }

    var address: String { family == .ipv4 ? PairNetwork.four : PairNetwork.six }

    static let all = [
        Speech(family: .ipv4), Speech(family: .ipv4, isUnicast: true), Speech(family: .ipv6),
        Speech(family: .ipv6, isUnicast: true),
    ]
}

@Suite("keepalived 2.2 as the peer", .serialized) struct KeepalivedTests {
    private static func settings(
        node: Int, _ speech: Speech, _ change: (inout InstanceSettings) -> Void = { _ in }
    ) -> FailoverSettings {
        PairNetwork.settings(
            node: node, interval: .milliseconds(100), hasPresence: false,
            families: [speech.family], isUnicast: speech.isUnicast
        ) {
            $0.acceptsPeersOnly = speech.isUnicast
            // It sends IPv6 to peers with 64.
            $0.takesAnyHops = speech.isUnicast && speech.family == .ipv6
            change(&$0)
        }
    }

    /// Advertisements of a source, in order.
    private static func adverts(
        _ capture: FrameCapture, _ speech: Speech, from node: Int? = nil
    ) -> [ReceivedAdvertisement] {
        capture.all.compactMap { speech.family == .ipv4 ? $0.vrrp : $0.vrrpIPv6 }
            .filter { node == nil || $0.source.addressText == "10.77.0.\(node ?? 0)" }
    }

    @Test(
        "we are master, it is backup and takes over when we stop; we come back without a fight",
        arguments: Speech.all)
    func master(speech: Speech) throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        // On its link: unicast is seen there only.
        let capture = try FrameCapture(in: pair.right.namespace)
        defer { capture.stop() }
        let node = try Node(pair.left, Self.settings(node: 1, speech))
        #expect(node.becomes(.master))
        let peer = try Keepalived(
            on: pair.right, node: 2, priority: 100, isIPv6: speech.family == .ipv6,
            isUnicast: speech.isUnicast)
        defer { peer.kill() }
        #expect(peer.says("Entering BACKUP STATE"))
        // Longer than its master-down interval: it hears us.
        usleep(600_000)
        #expect(!peer.log.contains("Entering MASTER STATE"))
        #expect(try !pair.right.holds(speech.address))

        #expect(node.stop())

        #expect(peer.says("Entering MASTER STATE"))
        #expect(try eventually { try pair.right.holds(speech.address) })
        #expect(try !pair.left.holds(speech.address))
        let zero = Self.adverts(capture, speech).filter { $0.advertisement.priority == 0 }
        #expect(!zero.isEmpty && zero.allSatisfy { $0.hops == 255 })
        let theirs = try #require(
            Self.adverts(capture, speech).first { $0.advertisement.priority == 100 })
        if speech.isUnicast {
            let net = speech.family == .ipv4 ? "10.77.0." : "fd77::"
            #expect(zero[0].source.addressText == net + "1")
            #expect(zero[0].destination.addressText == net + "2")
            #expect(theirs.source.addressText == net + "2")
            #expect(theirs.destination.addressText == net + "1")
        }
        #expect(theirs.hops == (speech.isUnicast && speech.family == .ipv6 ? 64 : 255))
        // It comes back with a lower rank than it had: no fight.
        let second = try Node(pair.left, Self.settings(node: 1, speech))
        #expect(second.becomes(.backup))
        usleep(500_000)
        #expect(second.state == .backup)
        #expect(second.status.instances[0].election.heardMaster?.priority == 100)
        second.stop()
    }

    @Test(
        "it is master, we are backup and take over when it says good-bye, and when it is gone",
        arguments: Speech.all)
    func backup(speech: Speech) throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let peer = try Keepalived(
            on: pair.right, node: 2, priority: 120, isIPv6: speech.family == .ipv6,
            isUnicast: speech.isUnicast)
        #expect(peer.says("Entering MASTER STATE"))
        let node = try Node(pair.left, Self.settings(node: 1, speech))
        #expect(node.becomes(.backup))
        usleep(500_000)
        #expect(node.state == .backup)

        peer.terminate()

        #expect(node.becomes(.master))
        #expect(node.transitions.last?.transition.cause == .masterLeft)
        #expect(try node.holds(speech.address))
        // Back again with the higher priority: it preempts, and we let it.
        let again = try Keepalived(
            on: pair.right, node: 2, priority: 120, isIPv6: speech.family == .ipv6,
            isUnicast: speech.isUnicast)
        defer { again.kill() }
        #expect(again.says("Entering MASTER STATE") && node.becomes(.backup))
        #expect(try !node.holds(speech.address))
        try pair.rightLink.cut()

        #expect(node.becomes(.master))
        #expect(node.transitions.last?.transition.cause == .masterSilent)
        #expect(try node.holds(speech.address))
        node.stop()
    }

    @Test("what is on the wire is what the RFC says, of both")
    func wire() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let capture = try FrameCapture(in: pair.watcher.namespace)
        defer { capture.stop() }
        let speech = Speech(family: .ipv4)
        let node = try Node(pair.left, Self.settings(node: 1, speech))
        #expect(node.becomes(.master))
        let peer = try Keepalived(on: pair.right, node: 2, priority: 120)
        defer { peer.kill() }
        #expect(peer.says("Entering MASTER STATE") && node.becomes(.backup))
        usleep(300_000)

        let frames = capture.all.filter { $0.vrrp != nil }
        let ours = try #require(frames.first { $0.vrrp?.source.addressText == "10.77.0.1" })
        let theirs = try #require(frames.first { $0.vrrp?.source.addressText == "10.77.0.2" })
        for frame in [ours, theirs] {
            #expect(frame.destination.elementsEqual([1, 0, 0x5E, 0, 0, 0x12]))
            #expect(frame.bytes[15] == 0xC0 && frame.bytes[22] == 255)
            #expect(frame.vrrp?.checksum == .withPseudoHeader)
            #expect(frame.vrrp?.advertisement.centiseconds == 10)
            // Version 3, type 1; router id; one address.
            #expect(frame.bytes[34] == 0x31 && frame.bytes[35] == 7 && frame.bytes[37] == 1)
        }
        // Everything after the addresses, but source, checksums and priority, is the same.
        #expect(ours.bytes[38..<40].elementsEqual(theirs.bytes[38..<40]))
        #expect(ours.bytes[42..<46].elementsEqual(theirs.bytes[42..<46]))
        #expect(node.status.figures.refusals.isEmpty)
        node.stop()
    }

    @Test("one that speaks VRRPv2 is named and changes nothing")
    func versionTwo() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(
            pair.left, Self.settings(node: 1, Speech(family: .ipv4)))
        #expect(node.becomes(.master))

        let peer = try Keepalived(on: pair.right, node: 2, priority: 255, version: 2)
        defer { peer.kill() }

        #expect(
            eventually(within: .seconds(8)) {
                node.status.figures.refusals[.versionTwo, default: 0] > 0
            })
        #expect(node.state == .master)
        #expect(node.lines.contains { $0.contains("10.77.0.2") && $0.contains("VRRPv2") })
        node.stop()
    }
}
