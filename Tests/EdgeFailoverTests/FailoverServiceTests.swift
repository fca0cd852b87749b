import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Failover service", .serialized) struct FailoverServiceTests {
    @Test("one node alone takes the addresses after its boot gate and answers for them")
    func alone() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let capture = try FrameCapture(in: pair.watcher.namespace)
        defer { capture.stop() }

        let node = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(node.becomes(.master))

        #expect(try node.holds(PairNetwork.four) && node.holds(PairNetwork.six))
        #expect(try pair.watcher.reaches(PairNetwork.four))
        #expect(try pair.watcher.reaches(PairNetwork.six))
        let four = try #require(capture.wait { $0.vrrp != nil }.first?.vrrp)
        #expect(four.advertisement.priority == 110 && four.advertisement.routerID == 7)
        #expect(four.advertisement.centiseconds == 2 && four.source.addressText == "10.77.0.1")
        #expect(four.advertisement.addresses.map(\.addressText) == [PairNetwork.four])
        let six = try #require(capture.wait { $0.vrrpIPv6 != nil }.first?.vrrpIPv6)
        #expect(six.source.isLinkLocal && six.destination.addressText == "ff02::12")
        #expect(
            six.advertisement.addresses.map(\.addressText) == [
                "fe80::200:5eff:fe00:207", PairNetwork.six,
            ])

        #expect(node.stop())
        #expect(try !node.holds(PairNetwork.four) && !node.holds(PairNetwork.six))
        // Priority 0 was the last word of each.
        #expect(capture.all.compactMap(\.vrrp).last?.advertisement.priority == 0)
        #expect(capture.all.compactMap(\.vrrpIPv6).last?.advertisement.priority == 0)
    }

    @Test("without readiness there is no master, and an address left by a crash is gone at once")
    func boot() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let index = try Wire.index(of: "eth0", on: pair.left)
        try inNamespace(pair.left.namespace) {
            let socket = try NetlinkSocket()
            for (text, bits) in [(PairNetwork.four, 24), (PairNetwork.six, 64)] {
                try AddressPlan.virtual(
                    try #require(SocketAddress(address: text, port: 0)),
                    prefixLength: UInt8(bits), on: index
                ).add(socket)
            }
        }
        #expect(try pair.left.holds(PairNetwork.four))

        let node = try Node(pair.left, PairNetwork.settings(node: 1), isReady: false)

        #expect(
            try eventually {
                try !node.holds(PairNetwork.four) && !node.holds(PairNetwork.six)
            })
        usleep(500_000)
        #expect(node.state != .master)
        #expect(node.status.instances[0].election.holdBack == .notPrepared)
        node.service.setReadiness(.all)
        node.service.setFitness(.fit)
        #expect(node.becomes(.master))
        #expect(try node.holds(PairNetwork.four))
        node.stop()
    }

    @Test("two nodes know each other by the addresses of a list that both have, of either family")
    func unicast() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let all = ["10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"].compactMap {
            SocketAddress(address: $0, port: 0)
        }
        func settings(_ node: Int) -> FailoverSettings {
            PairNetwork.settings(node: node, hasPresence: false, isUnicast: true) {
                $0.acceptsPeersOnly = true
                for index in $0.families.indices {
                    let family = $0.families[index].family
                    $0.families[index].peers = all.filter { $0.family == family }
                }
                // The node's own address is of another network.
                $0.families[0].source = SocketAddress(ipv4: 0xC000_0200 + UInt32(node), port: 0)
                $0.families[0].isSourceRequired = false
            }
        }
        let left = try Node(pair.left, settings(1))
        let right = try Node(pair.right, settings(2))
        #expect(eventually { left.state == .master || right.state == .master })
        usleep(500_000)

        #expect(Set([left.state, right.state]) == [.master, .backup])
        for node in [left, right] {
            #expect(node.status.figures.refusals.isEmpty)
            // One that starts late, on a busy machine, may have been master for a moment.
            #expect(node.status.instances[0].election.counters.conflictsWon <= 1)
        }
        left.stop()
        right.stop()
    }

    @Test("unicast over IPv6 waits for an address that peers know, and has no other until then")
    func unicastWithoutAddress() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        try pair.left.ip("address delete fd77::1/64 dev eth0")
        let capture = try FrameCapture(in: pair.right.namespace)
        defer { capture.stop() }
        let node = try Node(
            pair.left,
            PairNetwork.settings(
                node: 1, hasPresence: false, families: [.ipv6], isUnicast: true
            ) { $0.acceptsPeersOnly = true })
        #expect(node.becomes(.fault))
        #expect(node.transitions.last?.transition.cause == .noAddress)

        try pair.left.ip("address add fd77::1/64 dev eth0")

        #expect(node.becomes(.master))
        let heard = capture.wait { $0.vrrpIPv6 != nil }.compactMap(\.vrrpIPv6)
        #expect(!heard.isEmpty && heard.allSatisfy { $0.source.addressText == "fd77::1" })
        node.stop()
    }

    @Test("two nodes: one holds the addresses; it stops, and the other has them at once")
    func handover() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let left = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(left.becomes(.master))
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(right.becomes(.backup))
        #expect(eventually { right.status.peers.first?.message.nodeName == "lb-01" })
        #expect(eventually { left.status.peers.first?.message.instances.first?.isReady == true })

        let start = ContinuousClock.now
        #expect(left.stop())
        let span = ContinuousClock.now - start

        #expect(right.becomes(.master))
        #expect(span < .milliseconds(500))
        #expect(try right.holds(PairNetwork.four) && !left.holds(PairNetwork.four))
        #expect(try right.holds(PairNetwork.six) && !left.holds(PairNetwork.six))
        #expect(try pair.watcher.reaches(PairNetwork.four))
        #expect(right.transitions.filter { $0.transition.to == .master }.count == 1)
        right.stop()
    }

    @Test("a yield moves the addresses and they stay there; without a peer it is refused")
    func yields() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let left = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(left.becomes(.master))
        #expect(left.yield() == [.refused(.noPeer)])
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(eventually { left.status.peers.first?.message.instances.first?.isReady == true })

        #expect(left.yield() == [.moved])

        #expect(right.becomes(.master) && left.becomes(.backup))
        #expect(try right.holds(PairNetwork.four) && !left.holds(PairNetwork.four))
        #expect(left.yield() == [.refused(.notMaster)])
        usleep(300_000)
        #expect(right.state == .master && left.state == .backup)
        left.stop()
        right.stop()
    }

    @Test("a stop is answered as often as it is asked for, at its deadline at the latest")
    func stops() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(pair.left, PairNetwork.settings(node: 1, hasPresence: false))
        #expect(node.becomes(.master))
        let answered = DispatchSemaphore(value: 0)

        node.service.stop(within: .seconds(30)) { answered.signal() }
        #expect(node.stop(within: .milliseconds(1)))

        #expect(answered.wait(timeout: .now() + 1) == .success)
        #expect(try !node.holds(PairNetwork.four) && !node.holds(PairNetwork.six))
    }

    @Test("a node that becomes unfit gives the addresses to the fit one, and a drained one too")
    func fitness() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let left = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(left.becomes(.master))
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(eventually { left.status.peers.first?.message.instances.first?.isReady == true })

        left.service.setFitness(.unfit(.proxyNotServing, answers: false))
        #expect(right.becomes(.master) && left.becomes(.backup))
        left.service.setFitness(.fit)
        #expect(eventually { right.status.peers.first?.message.standing.fitness == .fit })
        right.service.setMaintenance(true)

        #expect(left.becomes(.master) && right.becomes(.backup))
        #expect(try left.holds(PairNetwork.four) && !right.holds(PairNetwork.four))
        left.stop()
        right.stop()
    }

    @Test("an owner takes its addresses from whoever has them, and keeps them when it stops")
    func owner() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let right = try Node(
            pair.right, PairNetwork.settings(node: 2, hasPresence: false, families: [.ipv4]))
        #expect(right.becomes(.master))

        try pair.left.ip("address add \(PairNetwork.four)/24 dev eth0")
        let owner = try Node(
            pair.left,
            PairNetwork.settings(node: 1, hasPresence: false, families: [.ipv4]) {
                $0.priority = 255
            })

        #expect(owner.becomes(.master) && right.becomes(.backup))
        #expect(right.status.instances[0].election.heardMaster?.priority == 255)
        #expect(try pair.watcher.reaches(PairNetwork.four))
        owner.stop()
        #expect(try pair.left.holds(PairNetwork.four))
        right.stop()
    }

    @Test("the cable of the master is pulled and put back: the other holds the addresses")
    func cable() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let left = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(left.becomes(.master))
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(right.becomes(.backup))

        try pair.leftLink.cut()
        #expect(right.becomes(.master) && left.becomes(.fault))
        #expect(try !left.holds(PairNetwork.four) && !left.holds(PairNetwork.six))
        #expect(left.status.instances[0].link == .noCarrier)
        try pair.leftLink.restore()

        #expect(left.becomes(.backup))
        usleep(300_000)
        #expect(right.state == .master && left.state == .backup)
        #expect(try pair.watcher.reaches(PairNetwork.four))
        left.stop()
        right.stop()
    }

    @Test("an interface set down, deleted and made anew: every time it takes part again")
    func recreated() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(
            pair.left, PairNetwork.settings(node: 1, families: [.ipv4]))
        #expect(node.becomes(.master))

        try pair.left.ip("link set eth0 down")
        #expect(node.becomes(.fault))
        #expect(node.status.instances[0].link == .disabled)
        try pair.left.ip("link set eth0 up")
        #expect(node.becomes(.master))
        #expect(try node.holds(PairNetwork.four))
        // Deleted, and another one in its place.
        try pair.left.ip("link delete eth0")
        #expect(node.becomes(.fault))
        #expect(eventually { node.status.instances[0].link == .absent })
        try pair.network.connect(
            pair.left, to: pair.hub, addresses: ["10.77.0.1/24", "fd77::1/64"])
        #expect(node.becomes(.master))

        #expect(try node.holds(PairNetwork.four))
        #expect(try pair.watcher.reaches(PairNetwork.four, within: .seconds(2)))
        // It hears others there: the new socket has joined the group.
        let other = try Node(
            pair.right, PairNetwork.settings(node: 2, families: [.ipv4]))
        #expect(other.becomes(.backup))
        usleep(200_000)
        #expect(other.state == .backup && node.state == .master)
        other.stop()
        node.stop()
    }

    @Test("addresses removed by hand are back, those put on by hand at a backup are removed")
    func byHand() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let left = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(left.becomes(.master))
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(right.becomes(.backup))

        try pair.left.ip("address delete \(PairNetwork.four)/24 dev eth0")
        try pair.right.ip("address add \(PairNetwork.four)/24 dev eth0")

        #expect(try eventually { try left.holds(PairNetwork.four) })
        #expect(try eventually { try !right.holds(PairNetwork.four) })
        #expect(left.lines.contains { $0.contains("had been removed and is back") })
        left.stop()
        right.stop()
    }

    @Test("a tracked interface that goes down makes the node unfit")
    func tracked() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        try pair.left.ip("link add tun0 type bridge")
        try pair.left.ip("link set tun0 up")
        // A bridge without ports has no carrier.
        let node = try Node(
            pair.left, PairNetwork.settings(node: 1) { $0.trackedInterfaces = ["lo"] })
        #expect(node.becomes(.master))
        #expect(node.status.standing.fitness == .fit)

        try pair.left.ip("link set lo down")

        #expect(
            eventually {
                node.status.standing.fitness == .unfit(.trackedInterface, answers: true)
            })
        // Alone it keeps the addresses: its proxy answers.
        usleep(200_000)
        #expect(try node.holds(PairNetwork.four))
        try pair.left.ip("link set lo up")
        #expect(eventually { node.status.standing.fitness == .fit })
        node.stop()
    }

    @Test("a reload that changes nothing relevant changes no state; addresses may come and go")
    func reload() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(node.becomes(.master))
        let before = node.transitions.count
        let other = try #require(SocketAddress(address: "10.77.0.77", port: 0))

        node.service.apply(
            PairNetwork.settings(node: 1, interval: .milliseconds(50)) { instance in
                instance.families[0].addresses.append(VirtualAddress(other, prefixLength: 32))
            }, options: .init())
        #expect(try eventually { try node.holds("10.77.0.77") })
        #expect(try pair.watcher.reaches("10.77.0.77"))
        node.service.apply(PairNetwork.settings(node: 1), options: .init())
        #expect(try eventually { try !node.holds("10.77.0.77") })

        #expect(try node.holds(PairNetwork.four) && node.holds(PairNetwork.six))
        #expect(node.transitions.count == before)
        node.stop()
    }

    @Test("an instance that leaves the configuration gives its addresses up; a new one begins")
    func instances() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(node.becomes(.master))

        node.service.apply(
            PairNetwork.settings(node: 1) { instance in
                instance.name = "other"
                instance.routerID = 8
                instance.families.removeLast()
            }, options: .init())

        #expect(
            eventually {
                node.status.instances.map(\.election.name) == ["other"]
                    && node.status.instances[0].election.state == .master
            })
        #expect(try eventually { try !node.holds(PairNetwork.six) })
        usleep(100_000)
        #expect(try node.holds(PairNetwork.four))
        node.stop()
    }
}
