internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

/// Two hosts on one switch: what most of these tests need.
private struct Pair {
    let network: VirtualNetwork
    let hub: VirtualSwitch
    let left: VirtualHost
    let right: VirtualHost
    let rightLink: VirtualLink
    let rightAddress: SocketAddress

    init() throws {
        network = try VirtualNetwork()
        hub = try network.addSwitch("hub")
        left = try network.addHost("left")
        right = try network.addHost("right")
        try network.connect(left, to: hub, addresses: ["10.77.0.1/24", "fd77::1/64"])
        rightLink = try network.connect(
            right, to: hub, addresses: ["10.77.0.2/24", "fd77::2/64"])
        rightAddress = try #require(SocketAddress("10.77.0.2:8080"))
    }

    /// Long enough for a second ARP request: they go out once a second.
    func ping(_ address: String = "10.77.0.2") throws -> Bool {
        try left.reaches(address, within: .seconds(3))
    }

    func isCutOff() throws -> Bool {
        try !left.reaches("10.77.0.2", within: .milliseconds(300))
    }
}

@Suite("Virtual network", .serialized)
struct VirtualNetworkTests {
    @Test("two hosts reach each other over a switch, IPv4 and IPv6, ping and TCP")
    func reach() throws {
        let pair = try Pair()
        let server = try ScriptedUpstream(
            on: SocketAddress(address: "fd77::2", port: 8080)!,
            namespace: pair.right.namespace, answering: "hello")
        defer { server.stop() }

        let client = try RawClient(server.address, namespace: pair.left.namespace)
        let answer = try client.get("/", host: "x")

        #expect(answer.text == "hello")
        #expect(try pair.ping())
        pair.network.tearDown()
    }

    @Test("a cut cable loses carrier and traffic, a restored one has both again")
    func cable() throws {
        let pair = try Pair()
        func carrier() throws -> Bool {
            try pair.right.tool("ip", ["link", "show", "eth0"]).output.contains("LOWER_UP")
        }
        #expect(try pair.ping())

        try pair.rightLink.cut()
        #expect(try !carrier())
        #expect(try pair.isCutOff())
        try pair.rightLink.restore()

        #expect(try carrier())
        #expect(try pair.ping())
        pair.network.tearDown()
    }

    @Test("a switch without power darkens its ports, and cut cables stay cut when it returns")
    func switchPower() throws {
        let pair = try Pair()

        try pair.hub.powerOff()
        #expect(try pair.isCutOff())
        try pair.hub.powerOn()
        #expect(try pair.ping())
        try pair.rightLink.cut()
        try pair.hub.powerOff()
        try pair.hub.powerOn()

        #expect(try pair.isCutOff())
        pair.network.tearDown()
    }

    @Test("a host without power sends neither RST nor FIN, and its processes are dead")
    func hostPower() throws {
        let pair = try Pair()
        let program = try pair.right.run(
            "python3", ["-m", "http.server", "8080", "--bind", "10.77.0.2"])
        try program.waitForServer(pair.rightAddress, namespace: pair.left.namespace)
        let client = try RawClient(pair.rightAddress, namespace: pair.left.namespace)

        try pair.right.powerOff()
        try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        #expect(client.read(within: .milliseconds(500)) == .timeout)
        #expect(program.waitForExit() == .signal(SIGKILL))
        #expect(throws: (any Error).self) {
            try RawClient(
                pair.rightAddress, namespace: pair.left.namespace, within: .milliseconds(200))
        }
        pair.network.tearDown()
    }

    @Test("a host comes back with its addresses")
    func powerOn() throws {
        let pair = try Pair()

        try pair.right.powerOff()
        #expect(try pair.isCutOff())
        try pair.right.powerOn()

        #expect(try pair.ping())
        #expect(try pair.ping("fd77::2"))
        #expect(try pair.right.holds("10.77.0.2"))
        pair.network.tearDown()
    }

    @Test("a forwarding host joins two networks")
    func forwarding() throws {
        let network = try VirtualNetwork()
        let near = try network.addSwitch("near")
        let far = try network.addSwitch("far")
        let router = try network.addHost("router", forwarding: true)
        let left = try network.addHost("left")
        let right = try network.addHost("right")
        try network.connect(router, to: near, addresses: ["10.1.0.254/24", "fd01::ff/64"])
        try network.connect(
            router, to: far, interface: "eth1", addresses: ["10.2.0.254/24", "fd02::ff/64"])
        try network.connect(
            left, to: near, addresses: ["10.1.0.1/24", "fd01::1/64"],
            gateways: ["10.1.0.254", "fd01::ff"])
        try network.connect(
            right, to: far, addresses: ["10.2.0.1/24", "fd02::1/64"],
            gateways: ["10.2.0.254", "fd02::ff"])

        #expect(try left.reaches("10.2.0.1", within: .seconds(3)))
        #expect(try left.reaches("fd02::1", within: .seconds(3)))
        network.tearDown()
    }

    @Test("switches can be chained")
    func chain() throws {
        let network = try VirtualNetwork()
        let one = try network.addSwitch("one")
        let two = try network.addSwitch("two")
        let cable = try network.connect(one, to: two)
        let left = try network.addHost("left")
        let right = try network.addHost("right")
        try network.connect(left, to: one, addresses: ["10.3.0.1/24"])
        try network.connect(right, to: two, addresses: ["10.3.0.2/24"])

        #expect(try left.reaches("10.3.0.2", within: .seconds(3)))
        try cable.cut()

        #expect(try !left.reaches("10.3.0.2", within: .milliseconds(300)))
        network.tearDown()
    }

    @Test("tearing down kills what runs there and leaves no namespace behind")
    func tearDown() throws {
        func listed() throws -> Set<String> {
            let text = try RunningProcess.run("ip", ["netns", "list"]).output
            return Set(text.split(separator: "\n").map { $0.prefix { $0 != " " } }.map(String.init))
        }
        let pair = try Pair()
        let names = Set(pair.network.namespaces)
        let program = try pair.left.run("sleep", ["60"])
        #expect(names.count == 3)
        #expect(try listed().isSuperset(of: names))

        pair.network.tearDown()

        #expect(program.waitForExit() == .signal(SIGKILL))
        #expect(try listed().isDisjoint(with: names))
    }

    @Test("networks of a dead owner are removed by the next one, those of the living are not")
    func leftovers() throws {
        let brief = try RunningProcess("true")
        _ = brief.waitForExit()
        brief.stop()
        let dead = "\(VirtualNetwork.mark)-\(brief.pid)-1-lost"
        let alive = "\(VirtualNetwork.mark)-1-1-kept"
        for name in [dead, alive] {
            #expect(try RunningProcess.run("ip", ["netns", "add", name]).exit == .code(0))
        }
        defer { _ = try? RunningProcess.run("ip", ["netns", "delete", alive]) }

        VirtualNetwork.removeLeftovers()

        #expect(!VirtualNetwork.namespaces.contains(dead))
        #expect(VirtualNetwork.namespaces.contains(alive))
    }

    @Test("without the rights it is refused aloud, with what to do")
    func refusal() throws {
        let complaint = Privileges.without { () -> String? in
            do {
                _ = try VirtualNetwork()
                return nil
            } catch {
                return "\(error)"
            }
        }

        let text = try #require(complaint ?? nil)
        #expect(text.contains("CAP_NET_ADMIN and CAP_SYS_ADMIN missing"))
        #expect(text.contains("Run these tests as root"))
    }

    @Test("this suite has the rights it needs (it fails, and does not skip, without)")
    func rights() { #expect(Privileges.missing() == nil) }
}

extension RunningProcess {
    /// Waits until the program accepts connections.
    func waitForServer(_ address: SocketAddress, namespace: String?) throws {
        for _ in 0..<500 where isRunning {
            if (try? RawClient(address, namespace: namespace, within: .milliseconds(200))) != nil {
                return
            }
            usleep(10_000)
        }
        throw KitError("nobody listens at \(address): \(standardError)")
    }
}
