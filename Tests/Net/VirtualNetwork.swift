internal import EdgeTesting
internal import Foundation

/// Hosts and switches on this machine: each a network namespace of its own, joined by veth
/// cables. Needs root. Everything is gone after `tearDown()` or deinit; what a crashed run left
/// behind is removed by the next one.
package final class VirtualNetwork: @unchecked Sendable {
    // Sendable: the tables are guarded by `lock`.
    private let prefix: String
    private let lock = NSRecursiveLock()
    private var hosts: [VirtualHost] = []
    private var switches: [VirtualSwitch] = []
    private var links: [VirtualLink] = []
    private var isTornDown = false

    /// - Throws: `KitError` that says what to do when the rights are missing.
    package init() throws {
        if let complaint = Privileges.missing() { throw KitError(complaint) }
        Self.removeLeftovers()
        prefix = "\(Self.mark)-\(getpid())-\(networkNumber.next())-"
    }

    deinit { tearDown() }

    /// What the names of all our namespaces begin with.
    package static let mark = "edgenet"

    // MARK: Building

    /// A machine without interfaces other than `lo`.
    ///
    /// - Parameter forwarding: it routes between its interfaces, IPv4 and IPv6.
    package func addHost(_ name: String, forwarding: Bool = false) throws -> VirtualHost {
        let host = VirtualHost(
            name: name, namespace: prefix + name, forwarding: forwarding, network: self)
        try host.build()
        lock.withLock { hosts.append(host) }
        return host
    }

    /// A layer-2 switch, switched on.
    package func addSwitch(_ name: String) throws -> VirtualSwitch {
        let made = VirtualSwitch(name: name, namespace: prefix + name, network: self)
        try made.build()
        lock.withLock { switches.append(made) }
        return made
    }

    /// Plugs a host into a switch.
    ///
    /// - Parameters:
    ///   - interface: the interface's name on the host, 15 characters at most.
    ///   - addresses: with prefix length, IPv4 and IPv6: `10.0.0.1/24`, `fd00::1/64`.
    ///   - gateways: default routes, one per family at most.
    @discardableResult
    package func connect(
        _ host: VirtualHost, to hub: VirtualSwitch, interface: String = "eth0",
        addresses: [String], gateways: [String] = []
    ) throws -> VirtualLink {
        let link = VirtualLink(
            network: self, host: host, interface: interface, addresses: addresses,
            gateways: gateways, hub: hub, uplink: nil, port: hub.nextPort())
        try add(link)
        return link
    }

    /// A cable between two switches.
    @discardableResult
    package func connect(_ hub: VirtualSwitch, to other: VirtualSwitch) throws -> VirtualLink {
        let link = VirtualLink(
            network: self, host: nil, interface: other.nextPort(), addresses: [], gateways: [],
            hub: hub, uplink: other, port: hub.nextPort())
        try add(link)
        return link
    }

    private func add(_ link: VirtualLink) throws {
        try link.build()
        lock.withLock { links.append(link) }
    }

    func links(of host: VirtualHost) -> [VirtualLink] {
        lock.withLock { links.filter { $0.host === host } }
    }

    func links(of hub: VirtualSwitch) -> [VirtualLink] {
        lock.withLock { links.filter { $0.hub === hub || $0.uplink === hub } }
    }

    /// The names of this network's namespaces, as `ip netns` lists them.
    package var namespaces: [String] {
        lock.withLock { hosts.map(\.namespace) + switches.map(\.namespace) }
    }

    // MARK: The end

    /// Kills every process in the network and removes it. Harmless when called again.
    package func tearDown() {
        let names: [String] = lock.withLock {
            defer { isTornDown = true }
            return isTornDown ? [] : namespaces
        }
        for name in names { Self.remove(name) }
    }

    static func remove(_ namespace: String) {
        killProcesses(in: namespace)
        _ = try? RunningProcess.run("ip", ["netns", "delete", namespace])
    }

    /// SIGKILL to whatever runs there, and waits until it is gone (bounded).
    static func killProcesses(in namespace: String) {
        for _ in 0..<100 {
            guard let listed = try? RunningProcess.run("ip", ["netns", "pids", namespace]).output
            else { return }
            // Never this process, one of whose threads may be in there for a moment.
            let numbers = listed.split(separator: "\n").compactMap { Int32($0) }
                .filter { $0 > 1 && $0 != getpid() && !isZombie($0) }
            if numbers.isEmpty { return }
            for number in numbers { kill(number, SIGKILL) }
            usleep(5000)
        }
    }

    private static func isZombie(_ pid: Int32) -> Bool {
        let status = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
        return status.contains(") Z ")
    }

    /// The names of all namespaces of ours, of this run or others.
    package static var namespaces: [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")) ?? []
        return all.filter { $0.hasPrefix(mark + "-") }.sorted()
    }

    /// Removes networks whose owner, named by its pid, is dead.
    package static func removeLeftovers() {
        for name in namespaces {
            let parts = name.split(separator: "-")
            guard parts.count >= 3, let owner = Int32(parts[1]), owner > 1 else { continue }
            if kill(owner, 0) != 0, errno == ESRCH { remove(name) }
        }
    }
}

/// Numbers the networks of this process.
private final class Sequence: @unchecked Sendable {
    // Sendable: `value` is guarded by `lock`.
    private let lock = NSLock()
    private var value = 0

    func next() -> Int {
        lock.withLock {
            value += 1
            return value
        }
    }
}

private let networkNumber = Sequence()

/// Runs `ip` commands, one per line, all inside one namespace; the first failure stops and throws.
func runIP(in namespace: String?, _ lines: [String]) throws {
    let directory = try TemporaryDirectory("ip")
    let file = try directory.write("batch", lines.joined(separator: "\n") + "\n")
    let place = namespace.map { ["-n", $0] } ?? []
    let result = try RunningProcess.run("ip", place + ["-batch", file])
    guard result.exit == .code(0) else {
        throw KitError(
            "ip in \(namespace ?? "this namespace") failed: \(result.errors)"
                + lines.joined(separator: "; "))
    }
}
