internal import EdgeCore
package import EdgeTesting
internal import Foundation

/// A machine of a virtual network: programs, lanes and scripted servers run in `namespace`.
package final class VirtualHost: @unchecked Sendable {
    // Sendable: `isOn` is guarded by `lock`; the rest is constant.
    package let name: String
    /// For the `namespace:` parameter of clients and servers of the kit.
    package let namespace: String
    private let forwarding: Bool
    private unowned let network: VirtualNetwork
    private let lock = NSLock()
    private var on = false

    init(name: String, namespace: String, forwarding: Bool, network: VirtualNetwork) {
        self.name = name
        self.namespace = namespace
        self.forwarding = forwarding
        self.network = network
    }

    package var isOn: Bool { lock.withLock { on } }

    func build() throws {
        try runIP(in: nil, ["netns add \(namespace)"])
        try runIP(in: namespace, ["link set lo up"])
        let flag = forwarding ? "1" : "0"
        for (key, value) in [
            ("ipv4/ip_forward", flag), ("ipv6/conf/all/forwarding", flag),
            // Addresses are usable at once: nobody else is on these networks.
            ("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/dad_transmits", "0"), ("ipv4/ip_unprivileged_port_start", "0"),
        ] {
            try setSystemValue("net/" + key, value)
        }
        lock.withLock { on = true }
    }

    /// Writes `/proc/sys/KEY` as this machine sees it, such as `net/ipv4/ip_nonlocal_bind`.
    package func setSystemValue(_ key: String, _ value: String) throws {
        try inNamespace(namespace) {
            let descriptor = open("/proc/sys/" + key, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw KitError.system("open \(key) on \(name)") }
            defer { close(descriptor) }
            guard write(descriptor, value, value.utf8.count) > 0 else {
                throw KitError.system("write \(key) on \(name)")
            }
        }
    }

    /// Runs an `ip` command here: `host.ip("address add 10.0.0.9/24 dev eth0")`.
    package func ip(_ command: String) throws {
        try runIP(in: namespace, [command])
    }

    /// Starts a program on this machine.
    package func run(
        _ program: String, _ arguments: [String] = [], _ options: ProcessOptions = .init()
    ) throws -> RunningProcess {
        var here = options
        here.namespace = namespace
        return try RunningProcess(program, arguments, here)
    }

    /// Runs a short tool to its end.
    package func tool(
        _ program: String, _ arguments: [String] = [], within span: Duration = .seconds(10)
    ) throws -> (exit: ProcessExit, output: String, errors: String) {
        try RunningProcess.run(
            program, arguments, ProcessOptions(namespace: namespace), within: span)
    }

    /// True as soon as `address` answers an ICMP echo from here; asks every 50 ms.
    package func reaches(_ address: String, within span: Duration = .seconds(1)) throws -> Bool {
        guard let target = SocketAddress(address: address, port: 0) else {
            throw KitError("“\(address)” is no address")
        }
        let probe = try Echo(target, from: namespace)
        return probe.isAnswered(within: span)
    }

    /// True if an address (without prefix length) is on one of its interfaces now.
    package func holds(_ address: String) throws -> Bool {
        let text = try tool("ip", ["-o", "address", "show"]).output
        return text.contains(" \(address)/")
    }

    /// As if the plug were pulled: the cables go dead first, so nobody hears a FIN or RST, then
    /// every process dies, then the machine is gone. Sockets of this process that were made there
    /// (lanes, scripted servers) stay, connected to nothing.
    package func powerOff() throws {
        guard lock.withLock({ on }) else { return }
        lock.withLock { on = false }
        let links = network.links(of: self)
        for link in links { try link.apply() }
        VirtualNetwork.killProcesses(in: namespace)
        for link in links { try link.unplug() }
        try runIP(in: nil, ["netns delete \(namespace)"])
    }

    /// The machine is back with its cables and addresses, and nothing runs on it.
    package func powerOn() throws {
        guard !lock.withLock({ on }) else { return }
        try build()
        for link in network.links(of: self) { try link.build() }
    }
}

/// A layer-2 switch: a bridge without spanning tree, in a namespace of its own. Multicast is
/// flooded.
package final class VirtualSwitch: @unchecked Sendable {
    // Sendable: the mutable fields are guarded by `lock`.
    package let name: String
    let namespace: String
    private unowned let network: VirtualNetwork
    private let lock = NSLock()
    private var on = true
    private var ports = 0

    init(name: String, namespace: String, network: VirtualNetwork) {
        self.name = name
        self.namespace = namespace
        self.network = network
    }

    package var isOn: Bool { lock.withLock { on } }

    func nextPort() -> String {
        lock.withLock {
            ports += 1
            return "port\(ports)"
        }
    }

    func build() throws {
        try runIP(in: nil, ["netns add \(namespace)"])
        try runIP(
            in: namespace,
            [
                "link set lo up",
                "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set br0 up",
            ])
    }

    /// All ports go dark: whoever is plugged in loses carrier.
    package func powerOff() throws { try set(false) }

    /// Ports whose cable was not cut get carrier again.
    package func powerOn() throws { try set(true) }

    private func set(_ value: Bool) throws {
        lock.withLock { on = value }
        let links = network.links(of: self)
        for link in links { try link.apply() }
        for link in links { try link.waitUntilForwarding() }
    }
}

/// A cable from a switch to a host or to another switch.
package final class VirtualLink: @unchecked Sendable {
    // Sendable: `isCutNow` is guarded by `lock`; the rest is constant.
    private unowned let network: VirtualNetwork
    let host: VirtualHost?
    package let interface: String
    package let addresses: [String]
    private let gateways: [String]
    let hub: VirtualSwitch
    let uplink: VirtualSwitch?
    private let port: String
    private let lock = NSLock()
    private var isCutNow = false

    init(
        network: VirtualNetwork, host: VirtualHost?, interface: String, addresses: [String],
        gateways: [String], hub: VirtualSwitch, uplink: VirtualSwitch?, port: String
    ) {
        self.network = network
        self.host = host
        self.interface = interface
        self.addresses = addresses
        self.gateways = gateways
        self.hub = hub
        self.uplink = uplink
        self.port = port
    }

    package var isCut: Bool { lock.withLock { isCutNow } }

    /// Both ends lose carrier; what was on the way is lost.
    package func cut() throws {
        lock.withLock { isCutNow = true }
        try apply()
    }

    /// Both ends keep carrier, and every frame is lost: as behind a switch that has gone.
    package func lose() throws { try runIP(in: hub.namespace, ["link set \(port) nomaster"]) }

    /// Ends `lose`.
    package func find() throws {
        try runIP(in: hub.namespace, ["link set \(port) master br0"])
        try waitUntilForwarding()
    }

    package func restore() throws {
        lock.withLock { isCutNow = false }
        try apply()
        try waitUntilForwarding()
    }

    func build() throws {
        guard let far = host?.namespace ?? uplink?.namespace else { return }
        try runIP(
            in: nil,
            [
                "link add name \(interface) netns \(far) type veth"
                    + " peer name \(port) netns \(hub.namespace)"
            ])
        try runIP(in: hub.namespace, ["link set \(port) master br0"])
        try apply()
        if let uplink {
            try runIP(
                in: uplink.namespace,
                ["link set \(interface) master br0", "link set \(interface) up"])
        } else {
            var lines = addresses.map {
                "address add \($0) dev \(interface)" + ($0.contains(":") ? " nodad" : "")
            }
            lines.append("link set \(interface) up")
            lines += gateways.map {
                "route add \($0.contains(":") ? "::/0" : "0.0.0.0/0") via \($0)"
            }
            try runIP(in: far, lines)
        }
        try waitUntilForwarding()
    }

    func unplug() throws { try runIP(in: hub.namespace, ["link delete \(port)"]) }

    private var isLive: Bool {
        !isCut && hub.isOn && (uplink?.isOn ?? true) && (host?.isOn ?? true)
    }

    /// Brings the port into the state that follows from cable, switches and host.
    func apply() throws {
        try runIP(in: hub.namespace, ["link set \(port) \(isLive ? "up" : "down")"])
    }

    /// The kernel tells a bridge about carrier a little later; a frame sent before that is lost,
    /// and an ARP request is repeated only after a second.
    func waitUntilForwarding() throws {
        guard isLive else { return }
        try waitUntilForwarding(hub, port)
        if let uplink { try waitUntilForwarding(uplink, interface) }
    }

    private func waitUntilForwarding(_ hub: VirtualSwitch, _ port: String) throws {
        for _ in 0..<200 {
            let shown = try RunningProcess.run(
                "ip", ["-n", hub.namespace, "-d", "-o", "link", "show", "dev", port]
            ).output
            if shown.contains("LOWER_UP"), shown.contains("state forwarding") { return }
            usleep(5000)
        }
        throw KitError("\(port) of \(hub.name) does not forward")
    }
}
