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
            // Of other programs, whatever they are called.
            ("vrrp.51", "00:00:5e:00:01:33"), ("vrrp4-2-8", "00:00:5e:00:01:08"),
            ("vr4-6-eth0", "00:00:5e:00:01:06"),
        ] {
            try pair.left.ip(
                "link add \(name) link eth0 address \(mac) type macvlan mode private")
            try pair.left.ip("link set \(name) up")
        }
        try pair.left.ip("address add \(PairNetwork.four)/24 dev vr4-7-eth0")
        // Not only our mark, and not only our form of name.
        for name in ["vr4-9-eth0", "vrrp.51"] {
            _ = try pair.left.tool(
                "ip", ["link", "set", name, "alias", VirtualInterface.mark])
        }
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
        let names = try Self.links(pair.left).map(\.interface.name)
        #expect(names.contains("vrrp.51") && names.contains("vrrp4-2-8"))
        #expect(names.contains("vr4-6-eth0"))
        node.stop()
    }

    @Test("two masters with the same MAC hear each other when they meet, and one stays")
    func conflict() throws {
        let network = try VirtualNetwork()
        defer { network.tearDown() }
        let near = try network.addSwitch("near")
        let far = try network.addSwitch("far")
        let cable = try network.connect(near, to: far)
        let left = try network.addHost("left")
        let right = try network.addHost("right")
        try network.connect(left, to: near, addresses: ["10.77.0.1/24", "fd77::1/64"])
        try network.connect(right, to: far, addresses: ["10.77.0.2/24", "fd77::2/64"])
        let one = try Node(left, Self.settings(1))
        #expect(one.becomes(.master))
        let two = try Node(right, Self.settings(2))
        #expect(two.becomes(.backup))

        try cable.cut()
        #expect(two.becomes(.master))
        usleep(300_000)
        #expect(one.state == .master)
        try cable.restore()

        let isSettled = eventually {
            [one.state, two.state].filter { $0 == .master }.count == 1
        }
        #expect(isSettled)
        one.stop()
        two.stop()
    }

    @Test("an interface of ours that somebody deletes or sets down is back, with its addresses")
    func tampered() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(pair.left, Self.settings(1))
        #expect(node.becomes(.master))
        func isWhole() throws -> Bool {
            let up = try Self.links(pair.left).filter {
                VirtualInterface.isOurs($0) && $0.isEnabled
            }
            return try up.count == 2 && node.holds(PairNetwork.four) && node.holds(PairNetwork.six)
        }
        #expect(try eventually { try isWhole() })

        for command in [
            "link set vr4-7-eth0 down", "link set vr6-7-eth0 down", "link delete vr4-7-eth0",
            "link delete vr6-7-eth0",
        ] {
            try pair.left.ip(command)
            #expect(try eventually { try isWhole() }, "\(command)")
        }

        #expect(node.state == .master)
        #expect(try pair.watcher.reaches(PairNetwork.four) && pair.watcher.reaches(PairNetwork.six))
        node.stop()
    }

    @Test("a node that the kernel refuses an address is unfit for all to see, and gives way")
    func refused() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        // Interfaces that are made from now on take no IPv6 addresses.
        try pair.left.setSystemValue("net/ipv6/conf/default/disable_ipv6", "1")
        let capture = try FrameCapture(in: pair.watcher.namespace)
        defer { capture.stop() }

        let left = try Node(pair.left, Self.settings(1))
        #expect(left.becomes(.master))
        #expect(
            eventually {
                left.status.instances[0].election.standing.fitness
                    == .unfit(.addressesMissing, answers: true)
            })
        // Nobody is told where an address is that is nowhere.
        let told = capture.all.filter {
            $0.source.elementsEqual([0, 0, 0x5E, 0, 2, 7]) && $0.bytes.count > 54
        }
        #expect(told.contains { $0.bytes[20] == 112 } && !told.contains { $0.bytes[20] == 58 })
        // Alone it keeps what it has.
        #expect(try left.state == .master && left.holds(PairNetwork.four))
        let right = try Node(pair.right, Self.settings(2))

        #expect(right.becomes(.master) && left.becomes(.backup))
        #expect(
            try eventually { try right.holds(PairNetwork.six) && right.holds(PairNetwork.four) })
        usleep(200_000)
        // Not fit again because it does not try any more.
        #expect(left.state == .backup && right.state == .master)
        #expect(
            left.status.instances[0].election.standing.fitness
                == .unfit(.addressesMissing, answers: true))
        left.stop()
        right.stop()
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
