import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("What failover settings may say")
struct FailoverSettingsTests {
    static func valid() -> FailoverSettings {
        FailoverSettings(
            nodeName: "lb-01",
            instances: [
                InstanceSettings(
                    name: "lan", routerID: 101, interfaceName: "eth0",
                    families: [
                        FamilySettings(
                            family: .ipv4,
                            addresses: [
                                VirtualAddress(
                                    SocketAddress(ipv4: 0xC0A8_010D, port: 0), prefixLength: 24)
                            ]),
                        FamilySettings(family: .ipv6, addresses: [.linkLocal(routerID: 101)]),
                    ])
            ],
            presence: PresenceSettings(peers: [SocketAddress(ipv4: 0xC0A8_010C, port: 5112)]))
    }

    private func reason(
        _ change: (inout FailoverSettings) -> Void
    ) -> FailoverSettingsError.Reason? {
        var settings = Self.valid()
        change(&settings)
        do throws(FailoverSettingsError) {
            try settings.check()
            return nil
        } catch {
            #expect(!error.description.isEmpty)
            return error.reason
        }
    }

    @Test("the example is accepted, and presence follows the advertisements")
    func accepted() {
        #expect(reason { _ in } == nil)
        #expect(Self.valid().presenceInterval == .milliseconds(200))
        #expect(Self.valid().presenceTimeout == .milliseconds(600))
        #expect(Self.valid().instances[0].centiseconds == 2)
    }

    @Test("presence is never sent more often than every 50 ms or less than every second")
    func presenceBounds() {
        var settings = Self.valid()
        settings.instances[0].interval = .milliseconds(10)
        #expect(settings.presenceInterval == .milliseconds(100))
        settings.instances[0].interval = .seconds(1)
        #expect(settings.presenceInterval == .seconds(1))
    }

    @Test("what an instance may not be is named")
    func instances() {
        #expect(reason { $0.instances[0].name = "" } == .name)
        #expect(reason { $0.instances[0].routerID = 0 } == .routerID)
        #expect(reason { $0.instances[0].interfaceName = "" } == .interfaceName)
        #expect(
            reason { $0.instances[0].trackedInterfaces = ["0123456789abcdef"] } == .interfaceName)
        #expect(reason { $0.instances[0].priority = 0 } == .priority)
        #expect(reason { $0.instances[0].interval = .milliseconds(5) } == .interval)
        #expect(reason { $0.instances[0].interval = .milliseconds(15) } == .interval)
        #expect(reason { $0.instances[0].interval = .seconds(41) } == .interval)
        #expect(reason { $0.instances[0].families = [] } == .families)
        #expect(reason { $0.instances[0].preemption = .after(.zero) } == .preemptDelay)
        #expect(reason { $0.instances[0].announcements.repeats = 17 } == .announcements)
        #expect(reason { $0.instances[0].damping.takeOversMax = 0 } == .damping)
        #expect(reason { $0.instances[0].acceptsPeersOnly = true } == .peersOnlyWithoutPeers(.ipv4))
        #expect(reason { $0.instances[0].takesAnyHops = true } == .anyHopsFromAnybody)
        #expect(reason { $0.instances[0].trustsPresentPeersOnly = true } == .presenceWithoutSecret)
    }

    @Test("what a family may not be is named")
    func families() {
        let six = SocketAddress(ipv6High: 0x2001_0DB8 << 32, low: 0x13, port: 0)
        let four = SocketAddress(ipv4: 0xC0A8_010D, port: 0)
        let group = IPFamily.ipv4.group
        #expect(reason { $0.instances[0].families[0].addresses = [] } == .noAddress(.ipv4))
        #expect(
            reason { $0.instances[0].families[0].addresses[0].address = six } == .wrongFamily(six))
        #expect(
            reason { $0.instances[0].families[0].addresses[0].address = group }
                == .notAHostAddress(group))
        #expect(
            reason { $0.instances[0].families[0].addresses[0].prefixLength = 33 }
                == .prefixLength(four, 33))
        #expect(
            reason {
                $0.instances[0].families[1].addresses = [VirtualAddress(six, prefixLength: 64)]
            } == .firstNotLinkLocal(six))
        #expect(
            reason { $0.instances[0].families[0].exchange = .unicast }
                == .unicastWithoutPeers(.ipv4)
        )
        #expect(
            reason {
                $0.instances[0].families[0].addresses.append(
                    $0.instances[0].families[0].addresses[0])
            } == .duplicateAddress(four))
        #expect(
            reason {
                $0.instances[0].families[0].addresses = (0..<17).map {
                    VirtualAddress(SocketAddress(ipv4: 0x0A00_0001 + $0, port: 0), prefixLength: 8)
                }
            } == .tooManyAddresses(.ipv4))
    }

    @Test("what the node may not be is named")
    func node() {
        let noPort = SocketAddress(ipv4: 0xC0A8_010C, port: 0)
        #expect(reason { $0.nodeName = "" } == .nodeName)
        #expect(reason { $0.nodeName = "a b" } == .nodeName)
        #expect(reason { $0.instances = [] } == .noInstance)
        #expect(reason { $0.hook = "notify.sh" } == .hook)
        #expect(reason { $0.presence.peers = [noPort] } == .presencePeer(noPort))
        #expect(reason { $0.presence.interval = .seconds(11) } == .presenceInterval)
        #expect(
            reason {
                $0.presence.interval = .seconds(1)
                $0.presence.timeout = .seconds(1)
            } == .presenceInterval)
    }

    @Test("two instances differ in name, router id on an interface, and addresses")
    func twins() {
        func twin(_ change: (inout InstanceSettings) -> Void) -> FailoverSettingsError.Reason? {
            reason {
                var second = $0.instances[0]
                second.name = "other"
                second.routerID = 102
                second.families[0].addresses = [
                    VirtualAddress(SocketAddress(ipv4: 0xC0A8_010E, port: 0), prefixLength: 24)
                ]
                change(&second)
                $0.instances.append(second)
            }
        }
        #expect(twin { _ in } == nil)
        #expect(twin { $0.name = "lan" } == .duplicateName)
        #expect(twin { $0.routerID = 101 } == .duplicateRouterID)
        #expect(
            twin {
                $0.routerID = 101
                $0.interfaceName = "eth1"
            } == nil)
        let four = SocketAddress(ipv4: 0xC0A8_010D, port: 0)
        #expect(
            twin { $0.families[0].addresses[0].address = four } == .duplicateAddress(four))
    }

    @Test("the link-local address of a virtual router is made of its MAC address")
    func linkLocal() {
        let text = VirtualAddress.linkLocal(routerID: 51).address.addressText
        #expect(text == "fe80::200:5eff:fe00:233")
    }
}

@Suite("Who is fitter")
struct FitnessTests {
    private static let fit = Standing(fitness: .fit)
    private static let names = Standing(fitness: .degraded(.names))
    private static let upstreams = Standing(fitness: .degraded(.upstreams))
    private static let both = Standing(fitness: .degraded([.names, .upstreams]))
    private static let drained = Standing(fitness: .fit, isInMaintenance: true)
    private static let answering = Standing(fitness: .unfit(.trackedInterface, answers: true))
    private static let dead = Standing(fitness: .unfit(.proxyNotServing, answers: false))
    private static let all = [fit, names, upstreams, both, drained, answering, dead]

    @Test("nobody is fitter than itself, and not both of two")
    func strict() {
        for one in Self.all {
            #expect(!one.isStrictlyFitter(than: one))
            for other in Self.all where one.isStrictlyFitter(than: other) {
                #expect(!other.isStrictlyFitter(than: one))
            }
        }
    }

    @Test("what is down for both moves nothing, and other troubles are no better")
    func troubles() {
        #expect(Self.fit.isStrictlyFitter(than: Self.names))
        #expect(Self.names.isStrictlyFitter(than: Self.both))
        #expect(!Self.names.isStrictlyFitter(than: Self.upstreams))
        #expect(!Self.upstreams.isStrictlyFitter(than: Self.names))
    }

    @Test("serving goes before maintenance, maintenance before unfit, answering before dead")
    func ranks() {
        let order = [Self.both, Self.drained, Self.answering, Self.dead]
        for (better, worse) in zip(order, order.dropFirst()) {
            #expect(better.isStrictlyFitter(than: worse))
        }
        #expect(Self.both.outclasses(Self.drained))
        #expect(!Self.fit.outclasses(Self.both))
        #expect(!Self.answering.outclasses(Self.dead))
    }
}
