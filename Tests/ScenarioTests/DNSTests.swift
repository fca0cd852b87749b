internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Testing

extension Scenarios {
    @Suite("What DNS says about sites")
    struct DNSSide {}
}

extension Scenarios.DNSSide {
    private static func check(_ edged: Edged) throws -> (
        exit: ProcessExit, output: String, errors: String
    ) {
        try RunningProcess.run(
            Edged.program("edged"), ["--check", "--dns", "-c", edged.configPath])
    }

    @Test("without views there is nothing to check or to export, and --dns goes with --check")
    func withoutViews() throws {
        let edged = try Edged(oneSite("127.0.0.1:9"))
        defer { edged.stop() }

        let checked = try Self.check(edged)
        let exported = try edged.edgectl("dns", "export", "--view", "lan", "--format", "bind")
        let alone = try RunningProcess.run(
            Edged.program("edged"), ["--dns", "-c", edged.configPath])

        #expect(checked.exit == .code(0), "\(checked.errors)")
        #expect(checked.errors.contains("warning: dns: nothing to check"), "\(checked.errors)")
        #expect(checked.output.contains("dns: 0 names asked, 0 findings"), "\(checked.output)")
        #expect(exported.code == 1)
        #expect(exported.errors.contains("no view is defined"), "\(exported.errors)")
        #expect(alone.exit == .code(64) && alone.errors.contains("--dns goes with --check"))
    }

    @Test("what DNS lacks is told with exit 5; a file exported for dnsmasq makes it right")
    func roundTrip() throws {
        let others = try StandInDNS(records: ["app.test": [.address("203.0.113.10")]])
        defer { others.stop() }
        func body(_ inside: SocketAddress) -> String {
            """
            views:
              lan: { interfaces: lo, addresses: { a: 192.168.1.13, aaaa: "fd00::13" } }
              public: { interfaces: wg0, addresses: { a: 203.0.113.10 } }
            sites:
              - { hosts: { lan: app.home.test, public: app.test }, upstream: app }
              - { hosts: { lan: "*.apps.home.test" }, upstream: app }
              - { hosts: { lan: raw.home.test }, passthrough: app }
            upstreams:
              app: { servers: [127.0.0.1:9], health: off }
            resolvers:
              inside: { servers: ["\(inside)"], domains: [home.test] }
              others: { servers: ["\(others.address)"] }
            """
        }
        let edged = try Edged(body(others.address))
        defer { edged.stop() }

        let before = try Self.check(edged)
        let exported = try edged.edgectl("dns", "export", "--view", "lan", "--format", "dnsmasq")
        let unknown = try edged.edgectl("dns", "export", "--view", "lam", "--format", "dnsmasq")
        let server = try NameServerProgram(
            .dnsmasq, records: exported.output, upstream: others.address, probe: "app.home.test")
        defer { server.stop() }
        try edged.configure(body(server.address))
        let after = try Self.check(edged)

        #expect(before.exit == .code(5), "\(before.errors)")
        let lines = before.output.split(separator: "\n").dropFirst()
        #expect(
            lines.map { $0.prefix { $0 != "," } } == [
                "lan: *.apps.home.test: missing", "lan: app.home.test: missing",
                "lan: raw.home.test: missing", "dns: 4 names asked",
            ])
        #expect(unknown.code == 1 && unknown.errors.contains("did you mean 'lan'?"))
        #expect(after.exit == .code(0), "\(after.output)\(after.errors)")
        #expect(after.output.contains("dns: 4 names asked, 0 findings"))
    }
}
