import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Failover conflicts and upgrades", .serialized) struct FailoverConflictTests {
    @Test("two masters meet: one stays, and its announcement is the last that neighbours hear")
    func conflict() throws {
        let network = try VirtualNetwork()
        defer { network.tearDown() }
        let near = try network.addSwitch("near")
        let far = try network.addSwitch("far")
        let cable = try network.connect(near, to: far)
        let left = try network.addHost("left")
        let right = try network.addHost("right")
        let watcher = try network.addHost("watch")
        try network.connect(left, to: near, addresses: ["10.77.0.1/24", "fd77::1/64"])
        try network.connect(right, to: far, addresses: ["10.77.0.2/24", "fd77::2/64"])
        try network.connect(watcher, to: far, addresses: ["10.77.0.3/24", "fd77::3/64"])
        let one = try Node(left, PairNetwork.settings(node: 1))
        #expect(one.becomes(.master))
        let two = try Node(right, PairNetwork.settings(node: 2))
        #expect(two.becomes(.backup))

        try cable.cut()
        #expect(two.becomes(.master))
        usleep(300_000)
        #expect(one.state == .master)
        let capture = try FrameCapture(in: watcher.namespace)
        try cable.restore()
        let isSettled = eventually {
            [one.state, two.state].filter { $0 == .master }.count == 1
        }
        #expect(isSettled)
        usleep(500_000)
        capture.stop()

        let winner = one.state == .master ? one : two
        let loser = one.state == .master ? two : one
        #expect(winner.state == .master && loser.state == .backup)
        #expect(try winner.holds(PairNetwork.four) && !loser.holds(PairNetwork.four))
        let link = try inNamespace(winner.host.namespace) {
            try NetworkLink.readAll(NetlinkSocket()).first { $0.interface.name == "eth0" }
        }
        let last = try #require(
            capture.all.last { $0.isAnnouncement(of: PairNetwork.four) })
        #expect(last.source.elementsEqual(try #require(link?.hardwareAddress)))
        #expect(try watcher.reaches(PairNetwork.four) && watcher.reaches(PairNetwork.six))
        one.stop()
        two.stop()
    }

    @Test("a guardian that becomes another program keeps the addresses, and nobody takes over")
    func upgrade() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let old = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(old.becomes(.master))
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(right.becomes(.backup))
        #expect(eventually { old.status.peers.first?.message.instances.first?.isReady == true })

        let handover = old.prepareForExec(silence: .milliseconds(500))
        #expect(handover.instances.count == 1 && handover.sockets.count == 2)
        // Far longer than the master-down interval of 72 ms.
        usleep(400_000)
        #expect(right.state == .backup)
        #expect(try pair.watcher.reaches(PairNetwork.four))
        let new = try Node(
            pair.left, PairNetwork.settings(node: 1), resuming: handover.duplicated())
        usleep(300_000)

        #expect(right.state == .backup)
        #expect(right.transitions.allSatisfy { $0.transition.to != .master })
        #expect(new.status.instances[0].election.state == .master)
        #expect(try new.holds(PairNetwork.four) && new.holds(PairNetwork.six))
        #expect(new.status.figures.addresses.leftBehind == 0)
        #expect(new.status.figures.packetsSent > 10)
        // The same boot for the peer, and nothing of it is a replay.
        #expect(right.status.peers.map(\.boots) == [1])
        #expect(right.status.figures.presenceRefusals[.replayed] == nil)
        new.stop()
        #expect(right.becomes(.master))
        right.stop()
        old.stop(within: .milliseconds(10))
    }

    @Test("when the exec fails everything goes on")
    func cancelled() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let left = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(left.becomes(.master))
        let right = try Node(pair.right, PairNetwork.settings(node: 2))
        #expect(right.becomes(.backup))

        // Once before it has begun, once in the middle.
        left.service.prepareForExec(silence: .milliseconds(300)) { _ in }
        left.service.cancelExec()
        usleep(100_000)
        #expect(right.state == .backup)
        _ = left.prepareForExec(silence: .milliseconds(300))
        usleep(100_000)
        left.service.setFitness(.degraded(.names))
        let sent = left.status.figures.packetsSent
        left.service.cancelExec()
        #expect(eventually { left.status.figures.packetsSent > sent + 10 })

        #expect(right.state == .backup && left.state == .master)
        #expect(left.status.instances[0].election.standing.fitness == .degraded(.names))
        left.service.setFitness(.fit)
        // The usual interval holds again.
        #expect(
            eventually {
                right.status.instances[0].election.heardMaster?.interval == .milliseconds(20)
            })
        left.stop()
        #expect(right.becomes(.master))
        right.stop()
    }

    @Test("guardians hear each other over IPv6 too")
    func presenceIPv6() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        func settings(_ node: Int) throws -> FailoverSettings {
            var made = PairNetwork.settings(node: node)
            made.presence.peers = [
                try #require(SocketAddress(address: "fd77::\(3 - node)", port: 9113))
            ]
            made.presence.local = SocketAddress(address: "fd77::\(node)", port: 9113)
            return made
        }
        let left = try Node(pair.left, settings(1))
        let right = try Node(pair.right, settings(2))

        #expect(eventually { left.status.peers.first?.message.nodeName == "lb-02" })
        #expect(eventually { right.status.peers.first?.message.nodeName == "lb-01" })
        left.stop()
        right.stop()
    }

    @Test("guardians believe each other with the same secret, and nobody with another")
    func secrets() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let secret = Array("a secret of the pair".utf8)
        func settings(_ node: Int) -> FailoverSettings {
            var made = PairNetwork.settings(node: node)
            made.presence.isAuthenticated = true
            return made
        }
        let left = try Node(
            pair.left, settings(1),
            options: FailoverOptions(secret: secret, programVersion: "1.2.3"))
        let right = try Node(pair.right, settings(2), options: FailoverOptions(secret: secret))

        #expect(eventually { right.status.peers.first?.message.programVersion == "1.2.3" })
        #expect(eventually { left.status.peers.first?.message.nodeName == "lb-02" })
        left.stop()
        let stranger = try Node(
            pair.left, settings(1), options: FailoverOptions(secret: Array("another".utf8)))

        #expect(
            eventually {
                right.status.figures.presenceRefusals[.authentication, default: 0] > 2
            })
        #expect(stranger.status.peers.isEmpty)
        stranger.stop()
        right.stop()
    }
}
