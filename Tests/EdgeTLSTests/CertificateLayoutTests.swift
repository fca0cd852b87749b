import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("Layouts of certificate files") struct CertificateLayoutTests {
    private let folder: TemporaryDirectory
    private let below: CertificateMint

    init() throws {
        folder = try TemporaryDirectory()
        below = try Shared.mint.get().intermediate(name: "Layout Issuer")
    }

    private func store() throws -> CertificateStore { try CertificateFolder.load(folder.path) }

    private func write(_ name: String, _ text: String) throws {
        try folder.write(name, text, mode: 0o640)
    }

    struct Layout: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let file: String
        let files: @Sendable (MintedCertificate) -> [(String, String)]
    }

    static let layouts = [
        Layout(testDescription: "certificate, chain, key", file: "a.pem") {
            [("a.pem", $0.bundlePEM)]
        },
        Layout(testDescription: "key, chain, certificate", file: "a.pem") {
            [("a.pem", $0.keyPEM + $0.chainPEM + $0.certificatePEM)]
        },
        Layout(testDescription: "nginx: .crt and .key", file: "a.crt") {
            [("a.crt", $0.certificatePEM + $0.chainPEM), ("a.key", $0.keyPEM)]
        },
        Layout(testDescription: "HAProxy: .pem and .pem.key", file: "a.pem") {
            [("a.pem", $0.certificatePEM + $0.chainPEM), ("a.pem.key", $0.keyPEM)]
        },
        Layout(testDescription: ".pem and .key", file: "a.pem") {
            [("a.pem", $0.certificatePEM + $0.chainPEM), ("a.key", $0.keyPEM)]
        },
        Layout(testDescription: "certbot's folder", file: "app.test/fullchain.pem") {
            [
                ("app.test/cert.pem", $0.certificatePEM), ("app.test/chain.pem", $0.chainPEM),
                ("app.test/fullchain.pem", $0.certificatePEM + $0.chainPEM),
                ("app.test/privkey.pem", $0.keyPEM), ("README", "not looked at"),
            ]
        },
        Layout(testDescription: "certbot's files in the folder itself", file: "fullchain.pem") {
            [
                ("cert.pem", $0.certificatePEM), ("chain.pem", $0.chainPEM),
                ("fullchain.pem", $0.certificatePEM + $0.chainPEM), ("privkey.pem", $0.keyPEM),
            ]
        },
        Layout(testDescription: "Kubernetes' secret", file: "app-tls/tls.crt") {
            [
                ("app-tls/ca.crt", $0.rootPEM), ("app-tls/tls.key", $0.keyPEM),
                ("app-tls/tls.crt", $0.certificatePEM + $0.chainPEM),
            ]
        },
        Layout(testDescription: "Kubernetes' secret as the folder", file: "tls.crt") {
            [
                ("ca.crt", $0.rootPEM), ("tls.crt", $0.certificatePEM + $0.chainPEM),
                ("tls.key", $0.keyPEM),
            ]
        },
    ]

    @Test("Each usual layout is one certificate with its chain", arguments: layouts)
    func layout(item: Layout) throws {
        for (name, text) in item.files(try below.leaf("app.test")) { try write(name, text) }

        let store = try store()

        #expect(store.entries.map(\.file) == [folder.file(item.file)])
        #expect(store.entries.map(\.names) == [["app.test"]])
        #expect(store.entries.map(\.chain.count) == [1])
    }

    @Test("A chain is sent in its order, each certificate once")
    func chainOrder() throws {
        let lower = try below.intermediate(name: "Lower Issuer")
        let leaf = try lower.leaf("app.test")
        let issuers = leaf.chainPEM.split(separator: "-----END CERTIFICATE-----\n").map {
            $0 + "-----END CERTIFICATE-----\n"
        }
        try #require(issuers.count == 2)
        try write("a.pem", leaf.bundlePEM)
        let expected = try store().entries[0].chain

        try write(
            "a.pem",
            leaf.keyPEM + issuers[1] + issuers[0] + leaf.certificatePEM + issuers[1]
                + leaf.certificatePEM)

        let chain = try store().entries[0].chain
        #expect(chain.ends == expected.ends && chain.bytes.elementsEqual(expected.bytes))
    }

    @Test("Of several keys the one that fits is taken")
    func keys() throws {
        let leaf = try below.leaf("app.test")
        let other = try below.leaf("app.test")
        try write("a.pem", other.keyPEM + leaf.keyPEM + leaf.certificatePEM + leaf.chainPEM)

        #expect(try store().entries.count == 1)
    }

    @Test("A chain of another authority is refused, a self-signed certificate is not")
    func strangers() throws {
        let leaf = try below.leaf("app.test")
        let stranger = try CertificateMint(name: "A").intermediate(name: "B").leaf("x.test")
        try write("a.pem", leaf.certificatePEM + stranger.chainPEM + leaf.keyPEM)

        #expect {
            _ = try store()
        } throws: { error in
            (error as? CertificateFolderError)?.problems.map(\.cause) == [.chain]
        }
    }

    @Test("A problem says which line it is at")
    func lines() throws {
        let leaf = try below.leaf("app.test")
        let first = leaf.certificatePEM.split(separator: "\n").count
        try write(
            "a.pem",
            leaf.certificatePEM + "-----BEGIN CERTIFICATE-----\nA*\n-----END CERTIFICATE-----\n")

        #expect {
            _ = try store()
        } throws: { error in
            let problem = (error as? CertificateFolderError)?.problems.first
            return problem?.line == first + 1 && problem?.reason.contains("certificate 2") == true
        }
    }

    @Test("Weak keys and signatures are refused; those of a root nobody looks at are not")
    func strength() throws {
        let mint = try Shared.mint.get()
        for (leaf, word) in [
            (try mint.leaf("app.test", key: .rsa1024), "1024 bits"),
            (try mint.leaf("app.test", digest: .sha1), "SHA-1"),
        ] {
            try write("a.pem", leaf.bundlePEM)
            #expect {
                _ = try store()
            } throws: { error in
                let problem = (error as? CertificateFolderError)?.problems.first
                return problem?.cause == .weak && problem?.reason.contains(word) == true
            }
        }
    }
}
