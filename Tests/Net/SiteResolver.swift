internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A real DNS server of the site: dnsmasq, as home routers have it, or unbound.
package final class SiteResolver: @unchecked Sendable {
    // Sendable: `process`, `names`, `mode` and `ttl` are guarded by `lock`; the rest is constant.
    package enum Program: String, Sendable, CaseIterable { case dnsmasq, unbound }

    /// What it answers. Changes other than of addresses restart it, as a router restarts.
    package enum Mode: Sendable, Equatable {
        case normal
        /// NXDOMAIN for every name: a router that lost its device names.
        case nameErrorForAll
        /// This address for every name: a captive portal.
        case oneAddress(String)
        /// SERVFAIL (unbound only).
        case serverFailure
    }

    /// One SRV record's data (RFC 2782).
    package struct Service: Sendable {
        package let priority: Int
        package let weight: Int
        package let port: UInt16
        package let target: String

        package init(priority: Int = 0, weight: Int = 1, port: UInt16, target: String) {
            self.priority = priority
            self.weight = weight
            self.port = port
            self.target = target
        }
    }

    package let program: Program
    package let host: VirtualHost
    /// Without port; it listens on 53.
    package let address: String
    private let directory: TemporaryDirectory
    private let lock = NSRecursiveLock()
    private var process: RunningProcess?
    private var names: [String: [String]]
    private var services: [String: [Service]] = [:]
    private var mode = Mode.normal
    private var ttl: Int

    init(
        _ program: Program, host: VirtualHost, address: String, names: [String: [String]], ttl: Int
    ) throws {
        self.program = program
        self.host = host
        self.address = address
        self.names = names
        self.ttl = ttl
        directory = try TemporaryDirectory("site-dns", othersMayEnter: true)
        try start()
    }

    deinit { stop() }

    // MARK: Changes

    /// Replaces what it knows, at once; it keeps running. With `ttl` it is restarted.
    package func set(_ new: [String: [String]], ttl newTTL: Int? = nil) throws {
        try lock.withLock {
            names = new
            if let newTTL, newTTL != ttl {
                ttl = newTTL
                return try restart()
            }
            try writeFiles()
            process?.signal(SIGHUP)
            try waitForAnswer()
        }
    }

    /// Replaces the services it knows.
    package func set(services new: [String: [Service]]) throws {
        try lock.withLock {
            services = new
            try restart()
        }
    }

    package func set(_ new: Mode) throws {
        try lock.withLock {
            mode = new
            try restart()
        }
    }

    /// Takes questions and answers none, as a firewall that drops or a router that hangs.
    package func silence() throws { try host.ip("rule add pref 100 iif lo blackhole") }

    package func speak() throws { try host.ip("rule delete pref 100 iif lo blackhole") }

    package func restart() throws {
        stop()
        try start()
    }

    /// Harmless when called again; questions are refused from then on.
    package func stop() {
        lock.withLock {
            _ = process?.stop()
            process = nil
        }
    }

    // MARK: Program

    private func start() throws {
        try lock.withLock {
            try writeFiles()
            let file = directory.file("\(program.rawValue).conf")
            process =
                switch program {
                case .dnsmasq: try host.run("dnsmasq", ["-k", "-C", file])
                case .unbound: try host.run("unbound", ["-d", "-c", file])
                }
            try waitForAnswer()
        }
    }

    private func writeFiles() throws {
        switch program {
        case .dnsmasq: try writeDnsmasq()
        case .unbound: try writeUnbound()
        }
    }

    private func writeDnsmasq() throws {
        let known = mode == .normal ? names : [:]
        let lines = known.sorted { $0.key < $1.key }.flatMap { name, addresses in
            addresses.map { "\($0) \(name)" }
        }
        let hosts = try directory.write("hosts", lines.joined(separator: "\n") + "\n")
        var settings = [
            "no-resolv", "no-hosts", "no-daemon", "user=root", "bind-interfaces",
            "except-interface=lo", "listen-address=\(address)", "addn-hosts=\(hosts)",
            "local=/#/", "local-ttl=\(ttl)", "cache-size=0", "pid-file=",
        ]
        switch mode {
        case .normal:
            settings += allServices.map { name, one in
                "srv-host=\(name),\(one.target),\(one.port),\(one.priority),\(one.weight)"
            }
        case .nameErrorForAll: break
        case .oneAddress(let one): settings.append("address=/#/\(one)")
        case .serverFailure: throw KitError("dnsmasq has no way to answer SERVFAIL")
        }
        try directory.write("dnsmasq.conf", settings.joined(separator: "\n") + "\n")
    }

    private func writeUnbound() throws {
        var lines = [
            "server:", "  interface: \(address)", "  do-daemonize: no", "  chroot: \"\"",
            "  username: \"\"", "  directory: \"\(directory.path)\"", "  pidfile: \"\"",
            "  use-syslog: no", "  logfile: \"\"", "  num-threads: 1",
            "  module-config: \"iterator\"", "  access-control: 0.0.0.0/0 allow",
            "  do-not-query-localhost: yes", "  so-rcvbuf: 0", "  outgoing-range: 64",
            "  num-queries-per-thread: 64", "  msg-cache-size: 1m", "  rrset-cache-size: 1m",
            "  local-zone: \".\" \(zone)",
        ]
        switch mode {
        case .normal:
            for (name, addresses) in names.sorted(by: { $0.key < $1.key }) {
                for one in addresses {
                    lines.append("  local-data: \"\(name). \(ttl) IN A \(one)\"")
                }
            }
            for (name, one) in allServices {
                let data = "\(one.priority) \(one.weight) \(one.port) \(one.target)."
                lines.append("  local-data: \"\(name). \(ttl) IN SRV \(data)\"")
            }
        case .oneAddress(let one): lines.append("  local-data: \". \(ttl) IN A \(one)\"")
        case .nameErrorForAll: break
        case .serverFailure:
            // The only server to ask is one that must not be asked.
            lines += ["forward-zone:", "  name: \".\"", "  forward-addr: 127.0.0.1"]
        }
        lines += ["remote-control:", "  control-enable: no"]
        try directory.write("unbound.conf", lines.joined(separator: "\n") + "\n")
    }

    private var allServices: [(String, Service)] {
        services.sorted { $0.key < $1.key }.flatMap { name, all in all.map { (name, $0) } }
    }

    private var zone: String {
        switch mode {
        case .normal, .nameErrorForAll: "static"
        case .oneAddress: "redirect"
        case .serverFailure: "transparent"
        }
    }

    /// Waits until it says what it has been told to say, so that a test knows when DNS has it.
    private func waitForAnswer() throws {
        let probe = names.sorted { $0.key < $1.key }.first
        let name = probe?.key ?? "nobody.home.example"
        for _ in 0..<500 {
            if let answer = try ask(name, within: .milliseconds(100)) {
                let isRight =
                    switch mode {
                    case .normal: Set(answer.addresses) == Set(probe?.value ?? [])
                    case .nameErrorForAll: answer.code == 3
                    case .oneAddress(let one): answer.addresses == [one]
                    case .serverFailure: answer.code == 2
                    }
                if isRight { return }
            }
            usleep(2000)
        }
        throw KitError("\(program.rawValue) does not answer: \(process?.standardError ?? "")")
    }

    /// One question, asked on the resolver's own host or another. nil: no answer in time.
    ///
    /// - Parameter type: 1 is A, 33 is SRV.
    package func ask(
        _ name: String, type: UInt16 = 1, from asker: VirtualHost? = nil,
        within span: Duration = .seconds(1)
    ) throws -> DNSAnswer? {
        guard let target = SocketAddress(address: address, port: 53) else { return nil }
        let place = (asker ?? host).namespace
        let any = SocketAddress(ipv4: 0, port: 0)
        let descriptor = try TestSocket.bindDatagram(any, namespace: place)
        defer { close(descriptor) }
        let query = encodeDNSQuery(id: 7, name: name, type: type)
        withUnsafeTemporaryAllocation(byteCount: 28, alignment: 8) { storage in
            guard let base = storage.baseAddress else { return }
            target.write(to: base)
            _ = sendto(
                descriptor, query, query.count, 0,
                base.assumingMemoryBound(to: sockaddr.self), socklen_t(target.kernelByteCount))
        }
        var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&one, 1, Int32(span.seconds * 1000)) > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? DNSAnswer(Array(bytes[..<count])) : nil
    }
}
