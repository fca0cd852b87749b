import EdgeCore
import EdgeVRRP
import Testing

@testable import EdgeConfig

@Suite("Nodes and failover, as they are read")
struct FailoverKeyTests {
    private static let base = """
        version: 1
        listeners: [{ name: web, port: 80, protocol: http }]
        sites: [{ hosts: "*", upstream: app }]
        upstreams: { app: { servers: ["10.0.0.1:80"] } }

        """
    private static let nodes = """
        nodes:
          lb-01: { address: [192.168.1.11, "fd00::11"], priority: 101 }
          LB-02.home.example: { address: 192.168.1.12 }

        """
    private static let one = """
        failover: { interface: eth0, addresses: 192.168.1.13/24, router_id: 7 }

        """

    private static func load(_ text: String, node: String? = "lb-01") throws -> Configuration {
        try Configuration.load(
            ConfigurationBundle(
                main: .init(path: "/etc/edged/main.yaml", bytes: Array((base + text).utf8)),
                node: node)
        ).0
    }

    private static func errors(_ text: String, node: String? = "lb-01") -> [String] {
        do {
            _ = try load(text, node: node)
            return []
        } catch let error as ConfigError {
            return error.diagnostics.map { $0.reason }
        } catch {
            return ["\(error)"]
        }
    }

    private static func instance(_ text: String, node: String? = "lb-01") throws -> InstanceSettings
    {
        try #require(try load(text, node: node).failover?.settings.instances.first)
    }

    @Test("Without them there is one machine, and no address moves")
    func nothing() throws {
        let configuration = try Self.load("")

        #expect(configuration.node == nil)
        #expect(configuration.nodes.isEmpty)
        #expect(configuration.failover == nil)
    }

    @Test(
        "A machine is the node of its host name, in full or by the first label, in any case",
        arguments: [
            ("lb-01", "lb-01"), ("LB-01.home.example", "lb-01"),
            ("lb-02.home.example", "LB-02.home.example"),
        ])
    func own(host: String, node: String) throws {
        let configuration = try Self.load(Self.nodes + Self.one, node: host)

        #expect(configuration.node?.name == node)
        #expect(configuration.failover?.settings.nodeName == node)
        #expect(configuration.otherNodes.count == 1)
    }

    @Test("A machine that is none of the nodes is told which there are", arguments: ["lb-02", nil])
    func unknown(host: String?) {
        let found = Self.errors(Self.nodes + Self.one, node: host)

        #expect(
            found == [
                host == nil
                    ? "which of the nodes this machine is, is not known"
                    : "no node is called 'lb-02', as this machine is"
            ])
    }

    @Test("What differs between nodes is the address and the priority, and nothing else")
    func difference() throws {
        let first = try #require(try Self.load(Self.nodes + Self.one).failover)
        let second = try #require(
            try Self.load(Self.nodes + Self.one, node: "lb-02.home.example").failover)

        var same = second.settings
        same.nodeName = first.settings.nodeName
        same.presence = first.settings.presence
        same.instances[0].priority = 101
        #expect(second.settings.instances[0].priority == 100)
        #expect(same == first.settings)
    }

    @Test("Nodes tell each other how they are at the addresses of the family that both have")
    func presence() throws {
        let first = try #require(try Self.load(Self.nodes + Self.one).failover)
        let second = try #require(
            try Self.load(
                Self.nodes
                    + "failover: { port: 9000, secret: key, accepted_secret: next, interface: eth0, "
                    + "addresses: 192.168.1.13/24, router_id: 7 }\n", node: "lb-02.home.example"
            ).failover)

        #expect(first.settings.presence.peers.map(\.description) == ["192.168.1.12:8946"])
        #expect(first.settings.presence.local?.description == "192.168.1.11:8946")
        #expect(!first.settings.presence.isAuthenticated)
        #expect(second.settings.presence.peers.map(\.description) == ["192.168.1.11:9000"])
        #expect(second.settings.presence.isAuthenticated)
        #expect(second.secret == "/etc/edged/key")
        #expect(second.acceptedSecret == "/etc/edged/next")
        #expect(first.acceptedSecret == nil)
    }

    @Test("What is not said has its default")
    func defaults() throws {
        let settings = try Self.instance(Self.one, node: nil)

        #expect(settings.name == "vip")
        #expect(settings.routerID == 7)
        #expect(settings.interfaceName == "eth0")
        #expect(settings.priority == 100)
        #expect(settings.interval == .milliseconds(20))
        #expect(settings.preemption == .never)
        #expect(settings.checksum == .withPseudoHeader)
        #expect(settings.bootGate == .seconds(10))
        #expect(settings.trackedInterfaces.isEmpty)
        #expect(!settings.usesVirtualMAC)
        #expect(!settings.acceptsPeersOnly && !settings.takesAnyHops)
        #expect(
            settings.families == [
                FamilySettings(
                    family: .ipv4,
                    addresses: [.init(SocketAddress(ipv4: 0xC0A8_010D, port: 0), prefixLength: 24)])
            ])
    }

    @Test("Everything that is said is taken")
    func everything() throws {
        let settings = try Self.instance(
            Self.nodes + """
                failover:
                  interface: eth1
                  addresses: [192.168.1.13/24, 192.168.1.14/32, "fd00::13/64"]
                  router_id: 255
                  interval: 1s
                  preempt: after 5m
                  unicast: yes
                  unicast_hop_limit: any
                  peers: [192.168.1.11, 192.168.1.12, 192.168.1.66, "fd00::66"]
                  track: [wg0, eth2]
                  mac: virtual
                  checksum: bare
                  boot_timeout: 3s
                  on_change: hooks/moved
                """)

        #expect(settings.priority == 101)
        #expect(settings.interval == .seconds(1))
        #expect(settings.preemption == .after(.seconds(300)))
        #expect(settings.checksum == .messageOnly)
        #expect(settings.bootGate == .seconds(3))
        #expect(settings.trackedInterfaces == ["wg0", "eth2"])
        #expect(settings.usesVirtualMAC)
        #expect(settings.acceptsPeersOnly)
        #expect(settings.families.map(\.exchange) == [.unicast, .unicast])
        #expect(
            settings.families.map { $0.peers.map(\.addressText) }
                == [["192.168.1.12", "192.168.1.66"], ["fd00::66"]])
        #expect(settings.families.map { $0.source?.addressText } == ["192.168.1.11", "fd00::11"])
        // It is one of the first list's, and may be none of the interface's of the second.
        #expect(settings.families.map(\.isSourceRequired) == [true, false])
        #expect(settings.takesAnyHops)
        // A link-local address comes first (RFC 9568 §5.2.9).
        #expect(
            settings.families[1].addresses.map(\.address.addressText)
                == ["fe80::200:5eff:fe00:2ff", "fd00::13"])
    }

    @Test("A link-local address that is written is the first, and none is made")
    func linkLocal() throws {
        let settings = try Self.instance(
            "failover: { interface: eth0, addresses: ['fd00::13/64', 'fe80::13/64'], router_id: 1 }"
        )

        #expect(
            settings.families[0].addresses.map(\.address.addressText) == ["fe80::13", "fd00::13"])
    }

    @Test("What stands beside instances holds for each that says nothing else")
    func instances() throws {
        let failover = try #require(
            try Self.load(
                """
                failover:
                  instances:
                    - { name: a, interface: eth0, addresses: 10.0.0.9/24, router_id: 1 }
                    - { name: b, interface: eth0, addresses: 10.0.1.9/24, router_id: 2,
                        interval: 50ms, preempt: no, track: eth5 }
                  interval: 10ms
                  preempt: yes
                  track: wg0
                """
            ).failover)
        let instances = failover.settings.instances

        #expect(instances.map(\.name) == ["a", "b"])
        #expect(instances.map(\.interval) == [.milliseconds(10), .milliseconds(50)])
        #expect(instances.map(\.preemption) == [.always, .never])
        #expect(instances.map(\.trackedInterfaces) == [["wg0"], ["eth5"]])
        #expect(failover.addresses.map(\.addressText) == ["10.0.0.9", "10.0.1.9"])
    }

    @Test("A mistake beside instances is told once")
    func once() {
        let found = Self.errors(
            """
            failover:
              interval: 15ms
              instances:
                - { name: a, interface: eth0, addresses: 10.0.0.9/24, router_id: 1 }
                - { name: b, interface: eth0, addresses: 10.0.1.9/24, router_id: 2 }
            """)

        #expect(found == ["failover.interval is no multiple of 10ms, as VRRP counts"])
    }

    static let between: [(String, String)] = [
        (
            "- { name: b, interface: eth0, addresses: 10.0.1.9/24, router_id: 1 }",
            "failover.instances[1].router_id: 1 is used twice on 'eth0'"
        ),
        (
            "- { name: b, interface: eth1, addresses: 10.0.0.9/24, router_id: 1 }",
            "failover.instances[1].addresses: 10.0.0.9 is there twice"
        ),
        (
            "- { name: a, interface: eth1, addresses: 10.0.1.9/24, router_id: 1 }",
            "two instances of failover are called 'a'"
        ),
        (
            "- { name: b, interface: eth1, addresses: 10.0.1.9/24, router_id: 1, unicast: yes }",
            "failover.instances[1] has 'unicast: yes' and nobody to talk to"
        ),
        (
            "- { name: b, interface: eth1, addresses: 224.0.0.1/24, router_id: 1 }",
            "224.0.0.1 is a multicast address"
        ),
        (
            "- { name: b, interface: eth1, addresses: [], router_id: 1 }",
            "failover.instances[1].addresses is an empty list"
        ),
    ]

    @Test("Instances that contradict each other are refused", arguments: between)
    func contradictions(second: String, reason: String) {
        let found = Self.errors(
            """
            failover:
              instances:
                - { name: a, interface: eth0, addresses: 10.0.0.9/24, router_id: 1 }
                \(second)
            """)

        #expect(found == [reason])
    }

    @Test("The same router id on another interface, and in another network, is another router")
    func otherInterface() throws {
        let configuration = try Self.load(
            """
            failover:
              instances:
                - { name: a, interface: eth0, addresses: 10.0.0.9/24, router_id: 1 }
                - { name: b, interface: eth1, addresses: 10.0.1.9/24, router_id: 1 }
            """)

        #expect(configuration.failover?.settings.instances.count == 2)
    }

    @Test("A node of priority 255 owns the addresses")
    func owner() throws {
        let text = """
            nodes:
              lb-01: { address: 192.168.1.13, priority: 255 }
              lb-02: { address: 192.168.1.12 }

            """
        #expect(try Self.instance(text + Self.one).isOwner)
        #expect(
            Self.errors(text.replacing("255", with: "254") + Self.one) == [
                "failover.addresses: 192.168.1.13 is the own address of node 'lb-01'"
            ])
    }

    @Test(
        "What tells nobody has no effect without nodes", arguments: ["secret: key", "port: 9000"])
    func alone(key: String) {
        let found = Self.errors(Self.one.replacing("{ interface", with: "{ \(key), interface"))

        #expect(found == ["failover.\(key.prefix { $0 != ":" }) has no effect without 'nodes'"])
    }

    @Test("A secret to be believed needs one to speak with, and a hop limit somebody to talk to")
    func ineffective() {
        #expect(
            Self.errors(
                Self.nodes
                    + Self.one.replacing("{ interface", with: "{ accepted_secret: b, interface")
            ) == ["failover.accepted_secret has no effect without 'secret'"])
        #expect(
            Self.errors(
                Self.one.replacing("{ interface", with: "{ unicast_hop_limit: any, interface"))
                == ["failover.unicast_hop_limit has no effect without 'unicast: yes'"])
        #expect(
            Self.errors(
                Self.nodes
                    + Self.one.replacing(
                        "{ interface", with: "{ unicast: yes, unicast_hop_limit: 64, interface")
            ).count == 1)
    }

    @Test("The name of the node goes with the files, and is no part of what they are")
    func bundle() throws {
        let bytes = Array((Self.base + Self.nodes + Self.one).utf8)
        let first = ConfigurationBundle(
            main: .init(path: "/a.yaml", bytes: bytes), node: "lb-01")
        let second = ConfigurationBundle(
            main: .init(path: "/b/a.yaml", bytes: bytes), node: "lb-02.home.example")
        let other = ConfigurationBundle(
            main: .init(path: "/a.yaml", bytes: bytes + [0x0A]), node: "lb-01")

        let read = try first.encode().withUnsafeBytes { try ConfigurationBundle(decoding: $0) }

        #expect(read == first)
        #expect(first != second)
        #expect(first.fingerprint == second.fingerprint)
        #expect(first.fingerprint != other.fingerprint)
    }
}
