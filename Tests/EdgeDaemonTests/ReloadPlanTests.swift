import EdgeConfig
import EdgeControlAPI
import EdgeTesting
import Testing

@testable import EdgeDaemon

@Suite("What a reload would change") struct ReloadPlanTests {
    private static func preparation(
        _ text: String, _ included: [String] = [], previous: Preparation? = nil
    ) throws -> Preparation {
        let bundle = ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)),
            included: included.enumerated().map {
                .init(path: "part\($0).yaml", bytes: Array($1.utf8))
            })
        return try Preparation.prepare(bundle, previous: previous, workers: nil)
    }

    private static func configuration(
        listeners: String = "{ name: web, port: 80, protocol: http }",
        sites: String = "{ hosts: a.example, upstream: app }",
        app: String = "servers: [\"10.0.0.1:80\"]", more: String = ""
    ) -> String {
        """
        version: 1
        listeners: [\(listeners)]
        sites: [\(sites)]
        upstreams: { app: { \(app) } }
        \(more)
        """
    }

    private static func plan(
        _ old: String, _ new: String, connections: ReloadPlan.Connections = { _, _ in nil }
    ) throws -> [PlannedChange] {
        let before = try preparation(old)
        let after = try preparation(new, previous: before)
        return try ReloadPlan(from: before, to: after, connections: connections).changes
    }

    @Test("The same files change nothing, and neither do other files that say the same")
    func unchanged() throws {
        let text = Self.configuration()
        let other = """
            # With a comment, in another order, with a default, and in two files.
            upstreams:
              app:
                servers: ["10.0.0.1:80"]
                protocol: http1
            include: [part0.yaml]
            version: 1
            listeners: [{ protocol: http, port: 80, name: web }]
            """
        let before = try Self.preparation(text)
        let after = try Self.preparation(
            other, ["sites: [{ upstream: app, hosts: [a.example] }]"])

        #expect(try Self.plan(text, text).isEmpty)
        let plan = try ReloadPlan(from: before, to: after) { _, _ in nil }
        #expect(plan.changes.isEmpty, "\(plan.changes)")
        #expect(plan.reply(epoch: 3, drainSeconds: 30).outcome == .unchanged)
    }

    @Test("Things come, go and change, with whom it concerns")
    func things() throws {
        let new = """
            version: 1
            listeners:
              - { name: web, port: 80, protocol: http }
              - { name: more, port: 81, protocol: http }
            sites:
              - { hosts: b.example, upstream: app }
            upstreams:
              app:
                servers: ["10.0.0.1:80", "10.0.0.2:80"]
                timeouts: { connect: 200ms }
            """
        let changes = try Self.plan(Self.configuration(), new) { kind, name in
            kind == .site && name == "a.example" ? 3 : kind == .upstream && name == "app" ? 7 : nil
        }

        #expect(
            changes == [
                PlannedChange(kind: .listener, name: "more", action: .added),
                PlannedChange(kind: .site, name: "b.example", action: .added),
                PlannedChange(
                    kind: .upstream, name: "app", action: .changed,
                    values: [
                        PlannedValue(
                            key: "servers", before: ["10.0.0.1:80"],
                            after: ["10.0.0.1:80", "10.0.0.2:80"]),
                        PlannedValue(
                            key: "timeouts.connect", before: ["2s"], after: ["200ms"]),
                    ],
                    connections: 7),
                PlannedChange(
                    kind: .site, name: "a.example", action: .removed, connections: 3,
                    fate: .drained),
            ], "\(changes)")
    }

    @Test("Of a site's paths each is told by its prefix, of servers what is said of each")
    func lists() throws {
        let changes = try Self.plan(
            Self.configuration(
                sites: "{ hosts: a.example, upstream: app, paths: [{ prefix: /x, strip: yes }] }"),
            Self.configuration(
                sites: "{ hosts: a.example, upstream: app, paths: "
                    + "[{ prefix: /y, maintenance: yes }, { prefix: /x }] }",
                app: "servers: [\"10.0.0.1:80\", { address: \"10.0.0.2:80\", weight: 2 }]"))

        let site = changes.first { $0.kind == .site }
        #expect(site?.name == "a.example" && site?.action == .changed && site?.fate == .untouched)
        #expect(
            site?.values == [
                PlannedValue(key: "paths[/y].prefix", before: [], after: ["/y"]),
                PlannedValue(key: "paths[/y].maintenance", before: ["no"], after: ["yes"]),
                PlannedValue(key: "paths[/x].strip", before: ["yes"], after: ["no"]),
            ], "\(changes)")
        #expect(
            changes.first { $0.kind == .upstream }?.values.first?.after
                == ["10.0.0.1:80", "{ address: 10.0.0.2:80, weight: 2 }"])
    }

    @Test("Sites of one host are told apart by their views and protocols")
    func sites() throws {
        let listener = "{ name: web, port: 443, protocol: tls }"
        let old = Self.configuration(
            listeners: listener,
            sites: "{ hosts: { lan: a.example }, passthrough: app }, "
                + "{ hosts: a.example, passthrough: app, alpn: [acme-tls/1] }",
            more: "views: { lan: { sources: [10.0.0.0/8] }, wan: {} }")
        let new = Self.configuration(
            listeners: listener, sites: "{ hosts: { lan: a.example }, passthrough: app }",
            more: "views: { lan: { sources: [10.0.0.0/8] }, wan: {} }")
        let changes = try Self.plan(old, new) { kind, name in
            kind == .site && name == "a.example" ? 5 : nil
        }

        #expect(
            changes == [
                PlannedChange(
                    kind: .site, name: "a.example ([acme-tls/1])", action: .removed,
                    connections: 5, fate: .drained)
            ], "\(changes)")
    }

    @Test("Settings that a reload cannot change refuse it")
    func restart() throws {
        let before = try Self.preparation(Self.configuration())
        let after = try Self.preparation(
            Self.configuration(more: "workers: 3\ntimeouts: { body: 7s }"))
        let reply = try ReloadPlan(from: before, to: after) { _, _ in nil }
            .reply(epoch: 3, drainSeconds: 30)

        #expect(reply.outcome == .refused)
        #expect(
            reply.changes.map(\.name) == ["workers", "timeouts"]
                && reply.changes.map(\.needsRestart) == [true, false])
        #expect(
            reply.changes[0].values == [
                PlannedValue(key: "workers", before: ["auto"], after: ["3"])
            ])
        #expect(reply.changes[1].values.first?.key == "timeouts.body")
    }

    static let fates: [(String, String, PlannedFate)] = [
        ("servers: [\"10.0.0.9:80\"]", "hosts: a.example", .untouched),
        ("servers: [\"10.0.0.1:80\"], protocol: h2", "hosts: a.example", .drained),
        ("servers: [\"10.0.0.1:80\"], tls: {}", "hosts: a.example", .drained),
        ("servers: [\"10.0.0.1:80\"]", "hosts: [a.example, b.example]", .drained),
        ("servers: [\"10.0.0.1:80\"]", "hosts: a.example, maintenance: yes", .untouched),
        (
            "servers: [\"10.0.0.1:80\"]",
            "hosts: a.example, paths: [{ prefix: /x, upstream: app }]", .drained
        ),
    ]

    @Test("Requests are untouched unless their connections end", arguments: fates)
    func fate(app: String, site: String, fate: PlannedFate) throws {
        let changes = try Self.plan(
            Self.configuration(),
            Self.configuration(sites: "{ \(site), upstream: app }", app: app))

        #expect(changes.map(\.fate) == [fate], "\(changes)")
    }

    @Test("Certificates and authorities are told by their files")
    func files() throws {
        let folder = try TemporaryDirectory("plan")
        defer { folder.remove() }
        let mint = try CertificateMint()
        _ = try mint.leaf("a.example").writePair("a", in: folder.path)
        _ = try mint.leaf("b.example").writePair("b", in: folder.path)
        let other = try TemporaryDirectory("plan-ca")
        defer { other.remove() }
        let authority = try other.write("ca.pem", mint.rootPEM)
        let text = Self.configuration(
            listeners: "{ name: web, port: 443, protocol: tls }",
            app: "servers: [\"10.0.0.1:80\"], tls: { ca: \(authority) }",
            more: "certificates: { directory: \(folder.path) }")
        let before = try Self.preparation(text)

        _ = try mint.leaf("a.example").writePair("a", in: folder.path)
        _ = try mint.leaf("c.example").writePair("c", in: folder.path)
        _ = try other.write("ca.pem", CertificateMint().rootPEM)
        let after = try Self.preparation(text, previous: before)
        let changes = try ReloadPlan(from: before, to: after) { _, _ in nil }.changes

        let shown = changes.map {
            "\($0.action) \($0.kind) \($0.name.split(separator: "/").last ?? "")"
        }
        #expect(
            shown.filter { !$0.hasSuffix(".key") } == [
                "changed certificate \(before.certificateEntries[0].file.lastPart)",
                "added certificate \(shown.first { $0.hasPrefix("added") }?.lastWord ?? "none")",
                "changed file ca.pem",
            ], "\(shown)")
        #expect(changes.map(\.fate) == [.untouched, .untouched, .drained])
        #expect(changes.allSatisfy { $0.connections == nil })
    }
}

extension String {
    fileprivate var lastPart: String { split(separator: "/").last.map(String.init) ?? self }
    fileprivate var lastWord: String { split(separator: " ").last.map(String.init) ?? self }
}
