import EdgeConfig
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeDaemon

@Suite("What a configuration names") struct PreparationTests {
    private static func prepare(
        _ keys: String, previous: Preparation? = nil
    ) throws -> Preparation {
        let text = """
            version: 1
            listeners: [{ name: web, port: 80, protocol: http }]
            sites: [{ hosts: a.example, upstream: app }]
            upstreams: { app: { servers: ["10.0.0.1:80"], \(keys) } }
            """
        let bundle = ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)))
        return try Preparation.prepare(bundle, previous: previous, workers: nil)
    }

    private static func problems(_ keys: String) throws -> [String] {
        do {
            _ = try prepare(keys)
            return []
        } catch let refusal as Preparation.Refusal {
            return refusal.diagnostics
        }
    }

    @Test("A check's authorities and certificate are read, and kept by the next reload")
    func checkFiles() throws {
        let folder = try TemporaryDirectory("preparation")
        defer { folder.remove() }
        let mint = try CertificateMint()
        let pair = try mint.leaf("check.example").writePair("check", in: folder.path)
        let authority = try folder.write("ca.pem", mint.rootPEM)
        let keys =
            "health: { type: tls, ca: \(authority), certificate: \(pair.certificate), "
            + "key: \(pair.key) }"
        let identity = UpstreamConfiguration.TLS.Identity(
            certificateFile: pair.certificate, keyFile: pair.key)

        let first = try Self.prepare(keys)
        let second = try Self.prepare(keys + ", slow_start: 1s", previous: first)

        #expect(first.files.trusts[.init(authorities: authority)] != nil)
        let files = ClientTrust.Files(authorities: authority)
        #expect(second.files.trusts[files] === first.files.trusts[files])
        #expect(first.identities[identity] != nil)
        #expect(second.identities[identity] === first.identities[identity])
    }

    @Test("Files of checks that are missing refuse the configuration, all of them")
    func missingFiles() throws {
        let found = try Self.problems(
            "health: { preset: kube-apiserver, ca: /none/ca, certificate: /none/c, "
                + "token_file: /none/t }")

        #expect(found.count == 3 && found.allSatisfy { $0.hasPrefix("upstream app: ") }, "\(found)")
        for file in ["/none/ca", "/none/c", "/none/t"] {
            #expect(found.contains { $0.contains(file) }, "\(file)")
        }
    }

    @Test("A token is a small file that not everybody may read")
    func tokens() throws {
        let folder = try TemporaryDirectory("tokens")
        defer { folder.remove() }
        let good = try folder.write("good", "abc\n", mode: 0o640)
        let open = try folder.write("open", "abc\n", mode: 0o644)
        let empty = try folder.write("empty", "", mode: 0o600)
        let nested = try folder.makeDirectory("folder")

        func problems(_ file: String) throws -> [String] {
            try Self.problems("health: { preset: kube-apiserver, token_file: \(file) }")
        }
        #expect(try problems(good) == [])
        #expect(
            try problems(open) == [
                "upstream app: \(open): a token that everybody may read (mode 0644) "
                    + "(chmod 0640 \(open))"
            ])
        for file in [empty, nested] {
            #expect(try problems(file) == ["upstream app: \(file): not a file of 1 byte to 64 KiB"])
        }
        #expect(
            try Self.problems("health: { path: /, token_file: \(open) }").count == 1,
            "of every kind of check")
    }
}
