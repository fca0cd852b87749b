import CEdge
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

    @Test("what is about to be inherited stays open, and what is missed meanwhile is made up for")
    func frozen() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(node.becomes(.master))
        let handover = node.prepareForExec(silence: .milliseconds(300))
        #expect(handover.sockets.count == 2)
        func isOpen(_ socket: FailoverHandover.Socket) -> Bool {
            var number: Int32 = 0
            var size = socklen_t(4)
            let code = getsockopt(socket.descriptor, SOL_SOCKET, SO_PROTOCOL, &number, &size)
            return code == 0 && number == VRRPSocket.protocolNumber
        }

        node.service.apply(
            PairNetwork.settings(node: 1, families: [.ipv4]), options: .init())
        try pair.left.ip("link delete eth0")
        usleep(50_000)
        let areOpen = handover.sockets.allSatisfy(isOpen)
        #expect(areOpen)

        node.service.cancelExec()
        #expect(node.becomes(.fault))
        try pair.network.connect(
            pair.left, to: pair.hub, addresses: ["10.77.0.1/24", "fd77::1/64"])
        #expect(node.becomes(.master))
        #expect(try node.holds(PairNetwork.four) && !node.holds(PairNetwork.six))
        node.stop()
    }

    @Test("a stranger's datagrams are refused by their source, before anything is computed")
    func strangers() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        var settings = PairNetwork.settings(node: 1)
        settings.presence.isAuthenticated = true
        let node = try Node(
            pair.left, settings, options: FailoverOptions(secret: Array("of the pair".utf8)))
        let target = try #require(SocketAddress(address: "10.77.0.1", port: 9113))
        let socket = try inNamespace(pair.watcher.namespace) {
            try PresenceSocket(local: SocketAddress(ipv4: 0, port: 9113))
        }

        // It has begun when it answers.
        #expect(node.status.peers.isEmpty)
        for _ in 0..<3 { #expect(socket.send([1, 2, 3], to: target) == 0) }

        #expect(eventually { node.status.figures.presenceRefusals == [.sourceUnknown: 3] })
        node.stop()
    }

    @Test("in a flood the kernel lets through what comes from peers, IPv4 and IPv6")
    func filteredSources() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        func socket(_ host: VirtualHost, isIPv4: Bool) throws -> PresenceSocket {
            try inNamespace(host.namespace) {
                try PresenceSocket(
                    local: isIPv4
                        ? SocketAddress(ipv4: 0, port: 9113)
                        : SocketAddress(ipv6High: 0, low: 0, port: 9113))
            }
        }
        func address(_ text: String) throws -> SocketAddress {
            try #require(SocketAddress(address: text, port: 9113))
        }
        let peers = [
            try address("10.77.0.7"), try address("fd77::7"), try address("10.77.0.2"),
            try address("fd77::2"),
        ]
        for isIPv4 in [true, false] {
            let receiver = try socket(pair.left, isIPv4: isIPv4)
            let peer = try socket(pair.right, isIPv4: isIPv4)
            let stranger = try socket(pair.watcher, isIPv4: isIPv4)
            let target = try address(isIPv4 ? "10.77.0.1" : "fd77::1")
            var got: [UInt8] = []
            func passes(_ bytes: [UInt8]) -> Bool {
                for byte in bytes {
                    _ = (byte < 9 ? stranger : peer).send([byte], to: target)
                }
                return eventually {
                    _ = receiver.receive(max: 8) { got += $0.bytes }
                    return got.last == bytes.last
                }
            }

            receiver.admitOnly(peers)
            #expect(passes([1, 2, 11]))
            #expect(got == [11])
            receiver.admitAll()
            #expect(passes([3]))
        }
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

    @Test("a secret is replaced on two nodes that run, and neither loses sight of the other")
    func replacedSecret() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let (old, new) = (Array("an old secret of both".utf8), Array("a new secret of both".utf8))
        func settings(_ node: Int) -> FailoverSettings {
            var made = PairNetwork.settings(node: node)
            made.presence.isAuthenticated = true
            return made
        }
        let nodes = [
            try Node(pair.left, settings(1), options: FailoverOptions(secret: old)),
            try Node(pair.right, settings(2), options: FailoverOptions(secret: old)),
        ]
        #expect(eventually { nodes.allSatisfy { $0.status.peers.count == 1 } })

        for (secret, accepted) in [(old, [new]), (new, [old]), (new, [])] {
            for (index, node) in nodes.enumerated() {
                node.service.apply(
                    settings(index + 1),
                    options: FailoverOptions(secret: secret, acceptedSecrets: accepted))
                let heard = nodes.map { $0.status.figures.presenceHeard }
                #expect(
                    eventually {
                        zip(nodes, heard).allSatisfy {
                            $0.status.figures.presenceHeard > $1 + 1
                        }
                    })
            }
        }

        for node in nodes {
            let status = node.status
            #expect(status.peers.map(\.boots) == [1])
            #expect(status.figures.presenceRefusals[.authentication] == nil)
        }
        for node in nodes { node.stop() }
    }
}
