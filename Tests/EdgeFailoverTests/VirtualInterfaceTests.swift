import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

@Suite("VRRP MAC address", .serialized) struct VirtualInterfaceTests {
    private static func settings(_ node: Int) -> FailoverSettings {
        PairNetwork.settings(node: node) { $0.usesVirtualMAC = true }
    }

    private static func links(_ host: VirtualHost) throws -> [NetworkLink] {
        try inNamespace(host.namespace) { try NetworkLink.readAll(NetlinkSocket()) }
    }

    @Test("the addresses answer with the virtual router's MAC, before and after they move")
    func moves() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let capture = try FrameCapture(in: pair.watcher.namespace)
        defer { capture.stop() }
        let left = try Node(pair.left, Self.settings(1))
        #expect(left.becomes(.master))
        let right = try Node(pair.right, Self.settings(2))
        #expect(right.becomes(.backup))

        func check() throws {
            #expect(try pair.watcher.reaches(PairNetwork.four))
            #expect(try pair.watcher.reaches(PairNetwork.six))
            for (address, mac) in [
                (PairNetwork.four, "00:00:5e:00:01:07"), (PairNetwork.six, "00:00:5e:00:02:07"),
            ] {
                let known = try pair.watcher.tool("ip", ["neighbour", "show", address]).output
                #expect(known.contains(mac), "\(known)")
            }
        }
        try check()
        // The nodes themselves go on answering with their own.
        #expect(try pair.watcher.reaches("10.77.0.1") && pair.watcher.reaches("10.77.0.2"))
        let own = try pair.watcher.tool("ip", ["neighbour", "show", "10.77.0.1"]).output
        #expect(!own.contains("00:00:5e"))
        let adverts = capture.all.filter { $0.vrrp != nil || $0.vrrpIPv6 != nil }
        #expect(adverts.contains { $0.vrrp != nil } && adverts.contains { $0.vrrpIPv6 != nil })
        #expect(
            adverts.allSatisfy { $0.source.starts(with: [0, 0, 0x5E, 0]) && $0.source[5] == 7 })

        #expect(left.stop())
        #expect(right.becomes(.master))
        try check()

        // Gone where it stopped.
        #expect(try Self.links(pair.left).allSatisfy { $0.interface.kind != "macvlan" })
        right.stop()
    }

    @Test("a guardian that becomes another program goes on with the interfaces that it has")
    func upgrade() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let old = try Node(pair.left, Self.settings(1))
        #expect(old.becomes(.master))
        func indices() throws -> [Int32] {
            try Self.links(pair.left).filter { $0.interface.kind == "macvlan" && $0.isEnabled }
                .map(\.interface.index)
        }
        let before = try indices()
        #expect(before.count == 2)

        let handover = old.prepareForExec(silence: .milliseconds(300))
        let new = try Node(pair.left, Self.settings(1), resuming: handover.duplicated())

        #expect(eventually { new.status.figures.packetsSent > 5 })
        #expect(try indices() == before)
        #expect(new.status.figures.addresses.leftBehind == 0)
        #expect(try pair.watcher.reaches(PairNetwork.four))
        new.stop()
        old.stop(within: .milliseconds(10))
    }

    @Test("one that a crash left behind is removed, or made anew if it is still configured")
    func leftBehind() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        for (name, mac) in [
            ("vr4-9-eth0", "00:00:5e:00:01:09"), ("vr4-7-eth0", "00:00:5e:00:01:07"),
        ] {
            try pair.left.ip(
                "link add \(name) link eth0 address \(mac) type macvlan mode private")
            try pair.left.ip("link set \(name) up")
        }
        try pair.left.ip("address add \(PairNetwork.four)/24 dev vr4-7-eth0")
        let before = try Self.links(pair.left)

        let node = try Node(pair.left, Self.settings(1), isReady: false)

        #expect(
            try eventually {
                try Self.links(pair.left).allSatisfy { $0.interface.name != "vr4-9-eth0" }
            })
        #expect(try eventually { try !node.holds(PairNetwork.four) })
        // Another one, and down.
        #expect(
            try eventually {
                try Self.links(pair.left).contains { link in
                    link.interface.name == "vr4-7-eth0" && !link.isEnabled
                        && !before.contains { $0.interface.index == link.interface.index }
                }
            })
        node.stop()
    }
}

@Suite("Kernel settings") struct KernelSettingTests {
    @Test("one that has its value already need not be written; one that is not there is refused")
    func required() throws {
        let network = try VirtualNetwork()
        defer { network.tearDown() }
        let host = try network.addHost("node")
        let key = "net/ipv4/conf/lo/arp_ignore"
        try inNamespace(host.namespace) {
            #expect(KernelSetting.read(key) == "0" && !KernelSetting.isSet(key))
            #expect(KernelSetting.require(key, "1"))
            #expect(KernelSetting.read(key) == "1" && KernelSetting.isSet(key))
            #expect(!KernelSetting.require("net/ipv4/conf/nope/arp_ignore", "1"))
        }
        // Without the right it may be read.
        let isContent = Privileges.without { () -> Bool? in
            try? inNamespaceWithoutRights(key)
        }
        #expect(isContent ?? nil == true)
    }

    /// Of this namespace: it has the value that it has.
    private func inNamespaceWithoutRights(_ key: String) throws -> Bool {
        let value = try #require(KernelSetting.read(key))
        return KernelSetting.require(key, value)
    }
}
