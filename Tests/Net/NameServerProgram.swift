package import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Glibc

/// A real name server on loopback that has read a file of records made for it. Whatever it does not
/// know it asks of another one, so that it can be seen what goes there.
package final class NameServerProgram: @unchecked Sendable {
    // Sendable: everything is constant, and `RunningProcess` may be used by any thread.
    package enum Program: String, Sendable, CaseIterable { case dnsmasq, unbound, bind }

    package let address: SocketAddress
    private let program: Program
    private let directory: TemporaryDirectory
    private let process: RunningProcess

    /// Checks the file with the program's own checker, then starts it.
    ///
    /// - Parameters:
    ///   - zones: of bind, which includes the file in each; it asks nobody else.
    ///   - upstream: asked about everything else.
    ///   - probe: a name that it answers once it is ready.
    /// - Throws: `KitError` with what the program says if it does not take the file.
    package init(
        _ program: Program, records: String, zones: [String] = [], upstream: SocketAddress,
        probe: String
    ) throws {
        self.program = program
        directory = try TemporaryDirectory("name-server", othersMayEnter: true)
        address = try Self.freeAddress()
        let file = try directory.write("records", records)
        let setup = Setup(
            directory: directory, file: file, port: address.port, zones: zones, upstream: upstream)
        let main = try setup.write(program)
        for check in setup.checks(program, main) {
            let result = try RunningProcess.run(check[0], Array(check.dropFirst()))
            guard result.exit == .code(0) else {
                throw KitError("\(check[0]): \(result.output)\(result.errors)")
            }
        }
        process =
            switch program {
            case .dnsmasq: try RunningProcess("dnsmasq", ["-k", "-C", main])
            case .unbound: try RunningProcess("unbound", ["-d", "-c", main])
            case .bind: try RunningProcess("named", ["-g", "-c", main])
            }
        for _ in 0..<500 {
            if try ask(probe, within: .milliseconds(100)).map({ !$0.records.isEmpty }) ?? false {
                return
            }
            usleep(10_000)
        }
        let said = process.standardError
        process.stop()
        throw KitError("\(program.rawValue) does not answer: \(said)")
    }

    package func stop() { process.stop() }

    /// One question. Nil: no answer in time.
    ///
    /// - Parameter type: 1 is A, 28 is AAAA, 65 is HTTPS.
    package func ask(
        _ name: String, type: UInt16 = 1, within span: Duration = .seconds(2)
    ) throws -> DNSAnswer? {
        let descriptor = try TestSocket.bindDatagram(.loopback())
        defer { close(descriptor) }
        let query = encodeDNSQuery(id: 7, name: name, type: type)
        withUnsafeTemporaryAllocation(byteCount: 28, alignment: 8) { storage in
            guard let base = storage.baseAddress else { return }
            address.write(to: base)
            _ = sendto(
                descriptor, query, query.count, 0,
                base.assumingMemoryBound(to: sockaddr.self), socklen_t(address.kernelByteCount))
        }
        var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&one, 1, Int32(span.seconds * 1000)) > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? DNSAnswer(Array(bytes[..<count])) : nil
    }

    /// Free for UDP and TCP a moment ago.
    private static func freeAddress() throws -> SocketAddress {
        for _ in 0..<20 {
            let stream = try TestSocket.listen(on: .loopback())
            defer { close(stream) }
            let chosen = try TestSocket.localAddress(of: stream)
            guard let datagram = try? TestSocket.bindDatagram(chosen) else { continue }
            close(datagram)
            return chosen
        }
        throw KitError("no port is free")
    }
}

/// The files around the records.
private struct Setup {
    let directory: TemporaryDirectory
    let file: String
    let port: UInt16
    let zones: [String]
    let upstream: SocketAddress

    func write(_ program: NameServerProgram.Program) throws -> String {
        switch program {
        case .dnsmasq: try write(dnsmasq)
        case .unbound: try write(unbound)
        case .bind: try writeNamed()
        }
    }

    func checks(_ program: NameServerProgram.Program, _ main: String) -> [[String]] {
        switch program {
        case .dnsmasq: [["dnsmasq", "--test", "-C", main]]
        case .unbound: [["unbound-checkconf", main]]
        case .bind:
            [["named-checkconf", "-z", main]]
                + zones.map { ["named-checkzone", $0, directory.file("\($0).zone")] }
        }
    }

    private func write(_ lines: [String]) throws -> String {
        try directory.write("main.conf", lines.joined(separator: "\n") + "\n")
    }

    private var dnsmasq: [String] {
        [
            "no-resolv", "no-hosts", "user=root", "bind-interfaces", "listen-address=127.0.0.1",
            "port=\(port)", "cache-size=0", "pid-file=",
            "server=\(upstream.addressText)#\(upstream.port)", "conf-file=\(file)",
        ]
    }

    private var unbound: [String] {
        [
            "server:", "  interface: 127.0.0.1@\(port)", "  do-daemonize: no", "  chroot: \"\"",
            "  username: \"\"", "  directory: \"\(directory.path)\"", "  pidfile: \"\"",
            "  use-syslog: no", "  logfile: \"\"", "  num-threads: 1",
            "  module-config: \"iterator\"", "  do-not-query-localhost: no", "  so-rcvbuf: 0",
            "  outgoing-range: 64", "  num-queries-per-thread: 64", "  msg-cache-size: 1m",
            "  rrset-cache-size: 1m", "include: \"\(file)\"", "forward-zone:", "  name: \".\"",
            "  forward-addr: \(upstream.addressText)@\(upstream.port)", "remote-control:",
            "  control-enable: no",
        ]
    }

    private func writeNamed() throws -> String {
        var lines = [
            "options {", "  directory \"\(directory.path)\";",
            "  listen-on port \(port) { 127.0.0.1; };", "  listen-on-v6 { none; };",
            "  recursion no;", "  dnssec-validation no;", "  pid-file none;",
            "  session-keyfile \"\(directory.file("session.key"))\";", "  notify no;", "};",
            "controls { };",
        ]
        for zone in zones {
            let zoneFile = try directory.write(
                "\(zone).zone",
                """
                $TTL 60
                @ IN SOA ns.\(zone). hostmaster.\(zone). 1 3600 600 86400 60
                @ IN NS ns.\(zone).
                ns.\(zone). IN A 127.0.0.1
                $INCLUDE \(file)

                """)
            lines.append("zone \"\(zone)\" { type primary; file \"\(zoneFile)\"; };")
        }
        return try write(lines)
    }
}
