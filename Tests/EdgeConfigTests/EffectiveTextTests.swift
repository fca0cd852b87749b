import EdgeTesting
import Foundation
import Testing

@testable import EdgeConfig

@Suite("The configuration with its defaults") struct EffectiveTextTests {
    private static let folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("conf").path

    private static func bundle(_ text: String, _ included: [String] = []) -> ConfigurationBundle {
        ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)),
            included: included.enumerated().map {
                .init(path: "part\($0).yaml", bytes: Array($1.utf8))
            })
    }

    @Test(
        "Loaded again it is the same configuration",
        arguments: ["minimal", "edged", "bridging", "views", "reference"])
    func examples(name: String) throws {
        let read = try Configuration.read(path: "\(Self.folder)/\(name).yaml", node: "lb-01")
        let text = try EffectiveText.render(read.bundle)
        let again = ConfigurationBundle(
            main: .init(path: read.bundle.main.path, bytes: Array(text.utf8)), node: "lb-01")

        do {
            let (configuration, _) = try Configuration.load(again)
            #expect(configuration == read.configuration, "\(text)")
        } catch {
            Issue.record("\(error.diagnostics.map(\.description))\n\(text)")
        }
    }

    private static let minimal = """
        version: 1
        include: [parts/*.yaml]
        listeners: [{ name: web, port: 80, protocol: http }]
        sites: [{ hosts: [a.example, "*.example"], upstream: app }]
        upstreams:
          app: { servers: ["10.0.0.1:80"] }
        """

    @Test("Every line says where it comes from, defaults say so, files that are included are in it")
    func places() throws {
        let part =
            "sites:\n  - hosts: b.example\n    upstream: more\n"
            + "upstreams: { more: { servers: [\"10.0.0.2:80\"] } }\n"
        let bundle = Self.bundle(Self.minimal, [part])
        let text = try EffectiveText.render(bundle)
        let lines = text.split(separator: "\n").map { String($0) }

        #expect(lines.allSatisfy { $0.contains("  # ") }, "\(text)")
        func place(_ start: String) -> Substring? {
            lines.first { $0.drop { $0 == " " || $0 == "-" }.hasPrefix(start) }?
                .split(separator: "#").last?.dropFirst()
        }
        #expect(place("port: 80") == "main.yaml:3")
        #expect(place("address: \"::\"") == "default")
        #expect(place("hosts: b.example") == "part0.yaml:2")
        #expect(place("\"*.example\"") == "main.yaml:4")
        #expect(place("request_head: ") == "default")
        #expect(!text.contains("include"))
        #expect(
            try Configuration.load(Self.bundle(text)).0 == Configuration.load(bundle).0, "\(text)")
    }

    @Test("A default that is changed is in it as it is written")
    func changed() throws {
        let text = try EffectiveText.render(
            Self.bundle(Self.minimal + "\nlimits: { connections: 77 }"))

        let lines = text.split(separator: "\n")
        let limits = lines.drop { !$0.hasPrefix("limits:") }.dropFirst().prefix {
            $0.hasPrefix("  ")
        }
        #expect(limits.count > 3)
        #expect(limits.filter { $0.hasPrefix("  connections: ") }.count == 1)
        #expect(limits.contains { $0.hasPrefix("  connections: 77 ") }, "\(text)")
    }

    @Test("However many sites have a default without effect, it loads again")
    func many() throws {
        let sites = (0..<2000).map { "  - { hosts: a\($0).example, passthrough: app }" }
        let bundle = Self.bundle(
            """
            version: 1
            listeners: [{ name: secure, port: 443, protocol: tls }]
            upstreams: { app: { servers: ["10.0.0.1:80"] } }
            sites:
            \(sites.joined(separator: "\n"))
            """)
        let text = try EffectiveText.render(bundle)

        #expect(try Configuration.load(Self.bundle(text)).0 == Configuration.load(bundle).0)
        #expect(!text.contains("maintenance"))
    }

    @Test("What is wrong with the files is told")
    func wrong() {
        #expect(throws: ConfigError.self) { try EffectiveText.render(Self.bundle("version: [")) }
    }
}
