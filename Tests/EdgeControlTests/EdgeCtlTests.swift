import EdgeControlAPI
import Glibc
import Testing

/// The real `edgectl`, built beside the test bundle, against the admin server.
@Suite("edgectl", .serialized) struct EdgeCtlTests {
    static let program: String = {
        var path = [UInt8](repeating: 0, count: 4096)
        let count = path.withUnsafeMutableBytes {
            readlink("/proc/self/exe", $0.baseAddress!, $0.count)
        }
        // The test runner may be a helper of the toolchain; the bundle is its argument then.
        let own = String(decoding: path.prefix(max(count, 0)), as: UTF8.self)
        let all = [own] + CommandLine.arguments
        let folders = all.compactMap { text in
            text.lastIndex(of: "/").map { String(text[..<$0]) }
        }
        return folders.map { $0 + "/edgectl" }.first { access($0, X_OK) == 0 } ?? "edgectl"
    }()

    static func run(_ arguments: String, _ site: AdminSite? = nil) -> (Int32, String) {
        shell("EDGED_SOCKET=\(site?.path ?? "/nonexistent") \(program) \(arguments)")
    }

    @Test("usage errors are 2", arguments: ["", "x", "--nope", "status x", "status --log=-1"])
    func usage(arguments: String) {
        let (code, output) = Self.run(arguments)
        #expect(code == (arguments.isEmpty ? 0 : 2), "\(output)")
        #expect(output.contains("edgectl"))
    }

    @Test("help and version are 0", arguments: ["--help", "help reload", "--version", "version"])
    func help(arguments: String) {
        #expect(Self.run(arguments).0 == 0)
    }

    @Test("no daemon is 3", arguments: ["status", "reload", "--json status"])
    func unreachable(arguments: String) {
        let (code, output) = Self.run(arguments)
        #expect(code == 3)
        #expect(output.contains("daemon unreachable: /nonexistent"))
    }

    @Test("a serving node is 0, any other 5", arguments: NodeState.allCases)
    func status(state: NodeState) {
        let site = AdminSite { $0.status.state = state }
        defer { site.stop() }

        let (code, output) = Self.run("status", site)

        #expect(code == (state == .serving ? 0 : 5))
        #expect(output.contains("w1.home.example"))
    }

    @Test("--json prints what the daemon said, before and after the verb")
    func json() throws {
        let site = AdminSite()
        defer { site.stop() }

        for arguments in ["status --json", "--json status", "--socket \(site.path) status --json"] {
            let (code, output) = Self.run(arguments, site)
            #expect(code == 0)
            #expect(try StatusReply(json: JSONValue(parsing: Array(output.utf8))) == Samples.status)
        }
    }

    static let outcomes: [(ReloadOutcome, Int32, String)] = [
        (.reloaded, 0, "reloaded in 1 ms, epoch 4"), (.unchanged, 0, "unchanged, epoch 4"),
        (.refused, 4, "a.yaml:1:2: error: no"),
    ]

    @Test("reload tells the outcome", arguments: outcomes)
    func reload(outcome: ReloadOutcome, code: Int32, text: String) {
        let site = AdminSite {
            $0.reload = ReloadReply(
                outcome: outcome, diagnostics: outcome == .refused ? [text] : [], epoch: 4,
                milliseconds: 1)
        }
        defer { site.stop() }

        let (status, output) = Self.run("reload", site)

        #expect(status == code)
        #expect(output.contains(text))
    }

    @Test("upstream list shows policies and members; 5: one has nobody left")
    func list() throws {
        let site = AdminSite()
        let empty = AdminSite { $0.status.upstreams[1].available = 0 }
        defer { site.stop() }
        defer { empty.stop() }

        let (code, output) = Self.run("upstream list", site)
        #expect(code == 0 && output.contains("1 of 2  round-robin, check http /up"), "\(output)")
        for arguments in ["upstream list --json", "--json upstream list", "upstream --json list"] {
            let (code, output) = Self.run(arguments, site)
            let reply = try UpstreamsReply(json: JSONValue(parsing: Array(output.utf8)))
            #expect(code == 0 && reply.upstreams == Samples.status.upstreams)
        }
        #expect(Self.run("upstream list", empty).0 == 5)
    }

    @Test("orders about members say what has become of them", arguments: MemberOrder.allCases)
    func order(order: MemberOrder) throws {
        let site = AdminSite()
        defer { site.stop() }

        let (code, output) = Self.run("upstream \(order.rawValue) ingress w1.home.example", site)
        #expect(code == 0 && output == "ingress 192.0.2.1:443: up\n", "\(output)")
        let (_, json) = Self.run("upstream \(order.rawValue) ingress 192.0.2.1:443 --json", site)
        #expect(
            try MemberReply(json: JSONValue(parsing: Array(json.utf8))).member.admin
                == order.rawValue)
        #expect(site.read(\.orders).count == 2)
    }

    @Test(
        "orders that cannot be followed are 1, half ones 2",
        arguments: [
            ("upstream drain ingress 192.0.2.9:443", 1, "no such member; there are: 192.0.2.1:443"),
            ("upstream maint none a", 1, "no such upstream"),
            ("upstream maint 'a/b' '../c'", 1, "no such upstream"),
            ("upstream drain ingress", 2, "<member>"), ("upstream stop a b", 2, "Usage"),
        ] as [(String, Int32, String)])
    func noOrder(arguments: String, code: Int32, text: String) {
        let site = AdminSite()
        defer { site.stop() }

        let (status, output) = Self.run(arguments, site)

        #expect(status == code && output.contains(text), "\(status) \(output)")
        #expect(site.read(\.orders) == [])
    }

    @Test("dns export prints a file for the name server", arguments: DNSFormat.allCases)
    func dns(format: DNSFormat) {
        let site = AdminSite()
        defer { site.stop() }
        let command = "dns export --view lan --format \(format.rawValue)"

        // Notes go to standard error, not into the file.
        let (_, output) = Self.run("\(command) --ttl 7 2>/dev/null | cat", site)
        #expect(output == DNSExport(DNSExportTests.records, format: format, ttl: 7).text)
        let (code, all) = Self.run(command, site)
        #expect(code == 0)
        #expect(all.contains("edgectl: the site for any name has none"))
        #expect(all.contains("60"))
    }

    @Test("dns export --json prints names and addresses, and needs no format")
    func dnsJSON() throws {
        let site = AdminSite()
        defer { site.stop() }

        for arguments in ["dns export --view lan --json", "--json dns export --view lan"] {
            let (code, output) = Self.run(arguments, site)
            #expect(code == 0)
            #expect(
                try DNSRecordsReply(json: JSONValue(parsing: Array(output.utf8)))
                    == DNSExportTests.records)
        }
    }

    @Test(
        "no records are 1 with a hint, a word too few 2, no daemon 3",
        arguments: [
            ("--view lam --format bind", 1, "did you mean 'lan'?"),
            ("--view bare --format bind", 1, "no addresses"),
            ("--view 'l&n' --format bind", 1, "did you mean"),
            ("--view lan", 2, "--format is needed"), ("--format bind", 2, "--view"),
            ("--view lan --format djbdns", 2, "djbdns"),
            ("--view lan --format bind --ttl=-1", 2, "--ttl takes"),
            ("--view lan --format bind --socket /nonexistent", 3, "unreachable"),
        ] as [(String, Int32, String)])
    func noDNS(arguments: String, code: Int32, text: String) {
        let site = AdminSite()
        defer { site.stop() }

        let (status, output) = Self.run("dns export \(arguments)", site)

        #expect(status == code && output.contains(text), "\(status) \(output)")
    }
}
