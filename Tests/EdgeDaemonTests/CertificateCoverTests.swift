import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeDaemon

@Suite("What a rotation must not take away") struct CertificateCoverTests {
    private let mint: CertificateMint

    init() throws { mint = try CertificateMint() }

    /// Which of these must stay so that a site of these hosts is as well off without `gone`.
    private func needed(
        _ leaves: [String: MintedCertificate], without gone: Set<String>, _ hosts: String...,
        common: [String: MintedCertificate]? = nil
    ) throws -> Set<String> {
        let cover = CertificateCover(
            hosts: Set(hosts), common: try common.map { try load($0) },
            seconds: CertificateClock.now())
        let old = try load(leaves)
        let new = CertificateStore(
            entries: old.entries.filter { !gone.contains(String($0.name.dropLast(4))) })
        return cover.needed(of: old, without: new)
    }

    private func load(
        _ leaves: [String: MintedCertificate]
    ) throws -> CertificateStore {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        for (name, leaf) in leaves { try leaf.writeBundle(name, in: folder.path) }
        return try CertificateFolder.load(folder.path)
    }

    @Test("A valid certificate stays if only an expired one would be left")
    func expiredLeft() throws {
        let leaves = [
            "good": try mint.leaf("a.home.example"),
            "late": try mint.leaf("*.home.example", validity: .expired),
        ]

        #expect(try needed(leaves, without: ["good"], "a.home.example") == ["good.pem"])
        #expect(try needed(leaves, without: ["late"], "a.home.example").isEmpty)
        #expect(try needed(leaves, without: ["good", "late"], "a.home.example") == ["good.pem"])
        #expect(try needed(leaves, without: ["good", "late"], "b.home.example") == ["late.pem"])
        #expect(try needed(leaves, without: ["good", "late"], "other.example").isEmpty)
    }

    @Test("Another valid one lets it go, also one of all views")
    func validLeft() throws {
        let good = try mint.leaf("a.home.example")
        let wide = try mint.leaf("*.home.example")
        let late = try mint.leaf("a.home.example", validity: .expired)

        #expect(
            try needed(["good": good, "wide": wide], without: ["good"], "a.home.example").isEmpty)
        #expect(
            try needed(["good": good], without: ["good"], "a.home.example", common: ["x": wide])
                .isEmpty)
        #expect(
            try needed(["good": good], without: ["good"], "a.home.example", common: ["x": late])
                == ["good.pem"])
    }

    @Test(
        "Sites of many names need each name of what goes, and no other",
        arguments: ["*.home.example", "*"])
    func wildcards(host: String) throws {
        let leaves = [
            "a": try mint.leaf("a.home.example"), "b": try mint.leaf("b.home.example"),
            "wide": try mint.leaf("*.b.home.example"),
        ]

        #expect(try needed(leaves, without: ["a"], host) == ["a.pem"])
        #expect(
            try needed(leaves, without: ["wide"], host) == (host == "*" ? ["wide.pem"] : []))
        #expect(try needed(leaves, without: [], host).isEmpty)
    }
}
