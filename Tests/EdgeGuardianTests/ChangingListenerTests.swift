import EdgeConfig
import EdgeCore
import EdgeGuardian
import EdgeSystem
import Glibc
import Testing

@Suite("Guardian: listeners that come and go, programs that follow one another")
struct ChangingListenerTests {
    /// A port that nobody has at the moment.
    private static func freeAddress() throws -> SocketAddress {
        try ListenerGroup(address: SocketAddress(ipv4: 0x7F00_0001, port: 0), count: 1).address
    }

    private static func code(_ address: SocketAddress) -> Int32 {
        let fd = socket(AF_INET, 1, 0)
        defer { close(fd) }
        var storage = sockaddr_storage()
        return withUnsafeMutablePointer(to: &storage) { pointer in
            address.write(to: pointer)
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, 16) == 0 ? 0 : errno
            }
        }
    }

    private static func listeners(
        _ rig: GuardianRig, _ addresses: [SocketAddress]
    ) -> Configuration {
        let base = GuardianRig.configuration(socket: rig.folder + "/admin.sock")
        return Configuration(
            runAs: base.runAs, workers: base.workers,
            listeners: addresses.enumerated().map { index, address in
                .init(name: "l\(index)", addresses: [address], kind: .http, redirectPort: nil)
            },
            certificates: base.certificates, tls: base.tls, sites: [], upstreams: [],
            resolvers: [], timeouts: base.timeouts, limits: base.limits, admin: base.admin,
            process: base.process)
    }

    @Test("A listener is added, is removed when its queue is empty, and comes back")
    func changes() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let first = SocketAddress(ipv4: 0x7F00_0001, port: 0)
        let second = try Self.freeAddress()
        for _ in 0..<3 {
            rig.source.configuration = Self.listeners(rig, [first, second])
            rig.service.deliver(.hangUp)
            #expect(rig.turn { Self.code(second) == 0 })

            rig.source.configuration = Self.listeners(rig, [first])
            rig.service.deliver(.hangUp)
            #expect(rig.turn { rig.service.property.groups.count == 1 })
            let end = Instant.now().advanced(by: .milliseconds(700))
            #expect(rig.turn { Instant.now() > end })
            #expect(Self.code(second) == ECONNREFUSED)
        }
        #expect(Self.code(rig.address) == 0)
        #expect(rig.service.property.groups[0].address == rig.address)
    }

    @Test("A listener that comes back while it leaves is served, however often")
    func flaps() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let first = SocketAddress(ipv4: 0x7F00_0001, port: 0)
        let second = try Self.freeAddress()
        func use(_ addresses: [SocketAddress]) {
            rig.source.configuration = Self.listeners(rig, addresses)
            rig.service.deliver(.hangUp)
            #expect(rig.turn { rig.service.property.groups.count == addresses.count })
        }
        for round in 0..<12 {
            use([first, second])
            use([first])
            // Some come back before the proxy is told to leave, some after.
            let end = Instant.now().advanced(by: .milliseconds(round * 60))
            #expect(rig.turn { Instant.now() > end })
        }
        use([first, second])
        let end = Instant.now().advanced(by: .milliseconds(900))
        #expect(rig.turn { Instant.now() > end })

        // Each may be one of either socket.
        for _ in 0..<16 { #expect(Self.code(second) == 0) }
    }

    @Test("A port that somebody else has refuses the reload, by name")
    func taken() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let other = OwnedDescriptors([socket(AF_INET, 1, 0)])
        let address = try Self.freeAddress()
        var storage = sockaddr_storage()
        withUnsafeMutablePointer(to: &storage) { pointer in
            address.write(to: pointer)
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(other.borrowed[0], $0, 16)
            }
        }
        listen(other.borrowed[0], 1)

        rig.source.configuration = Self.listeners(
            rig, [SocketAddress(ipv4: 0x7F00_0001, port: 0), address])
        rig.service.deliver(.hangUp)

        #expect(rig.turn { rig.log().contains("another process has the port") })
        #expect(rig.turn { rig.log().contains("reload: refused") })
        #expect(rig.service.property.groups.count == 1)
        #expect(rig.isServing)
    }

    @Test("An upgrade hands over to the new program's proxy; the old one finishes")
    func upgrades() throws {
        let rig = try GuardianRig(mode: "slow", drainDeadline: .seconds(2))
        #expect(rig.turn { rig.isServing })
        let old = try #require(rig.service.proxyProcessID)
        try rig.install(mode: "good")

        rig.service.deliver(.user2)
        #expect(rig.turn { rig.service.proxyProcessID != old })
        let new = try #require(rig.service.proxyProcessID)
        #expect(rig.isServing)
        #expect(rig.service.leavingCount == 1)
        #expect(rig.turn { rig.service.leavingCount == 0 })

        #expect(rig.service.proxyProcessID == new)
        #expect(rig.answer(rig.connect()) == new)
    }

    @Test("A new program that refuses the configuration, or whose proxy dies, is abandoned")
    func abandoned() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let old = try #require(rig.service.proxyProcessID)

        rig.service.deliver(.user2)
        #expect(rig.turn { rig.log().contains("upgrade abandoned: stat") })
        try rig.install(mode: "good")
        chmod(rig.folder + "/program", 0o777)
        rig.service.deliver(.user2)
        #expect(rig.turn { rig.log().contains("can be written by others") })
        chmod(rig.folder + "/program", 0o700)
        try rig.install(check: 78, mode: "good")
        rig.service.deliver(.user2)
        #expect(rig.turn { rig.log().contains("refuses: exit code 78") })
        try rig.install(mode: "fail")
        rig.service.deliver(.user2)
        #expect(rig.turn { rig.log().contains("the new proxy ended with exit code 78") })

        #expect(rig.isServing)
        #expect(rig.service.proxyProcessID == old)
        #expect(rig.answer(rig.connect()) == old)
    }

    @Test("A stop waits for a proxy that was replaced, and then ends with 0")
    func stopDuringUpgrade() throws {
        let rig = try GuardianRig(mode: "slow", drainDeadline: .seconds(3))
        #expect(rig.turn { rig.isServing })
        try rig.install(mode: "good")
        rig.service.deliver(.user2)
        #expect(rig.turn { rig.service.leavingCount == 1 })

        rig.service.deliver(.terminate)

        #expect(rig.turn { rig.service.exitCode == 0 })
        #expect(rig.service.leavingCount == 0)
    }
}
