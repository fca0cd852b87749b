internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("Certificate mint")
struct CertificateMintTests {
    /// What the openssl tool, which shares no code with the mint's callers, says about a file.
    private func openssl(_ arguments: String...) throws -> (exit: ProcessExit, text: String) {
        let result = try RunningProcess.run("openssl", arguments)
        return (result.exit, result.output + result.errors)
    }

    @Test("a leaf carries its names, wildcards and addresses")
    func names() throws {
        let directory = try TemporaryDirectory()
        let leaf = try CertificateMint().leaf(
            "a.home.example", "*.home.example", "192.0.2.1", "::1")
        let path = try leaf.writeBundle("a", in: directory.path)

        let text = try openssl("x509", "-in", path, "-noout", "-text").text

        #expect(text.contains("DNS:a.home.example, DNS:*.home.example, IP Address:192.0.2.1"))
        #expect(text.contains("prime256v1"))
    }

    @Test(
        "a chain verifies against the root for its name only",
        arguments: [CertificateMint.KeyKind.ecdsaP256, .rsa2048])
    func chain(kind: CertificateMint.KeyKind) throws {
        let directory = try TemporaryDirectory()
        let root = try CertificateMint(key: kind)
        let leaf = try root.intermediate(key: kind).leaf("a.example", key: kind)
        let root1 = try directory.write("root.pem", root.certificatePEM)
        let files = try leaf.writePair("a", in: directory.path)
        let verify = ["verify", "-CAfile", root1, "-untrusted", files.certificate]

        let good = try RunningProcess.run(
            "openssl", verify + ["-verify_hostname", "a.example", files.certificate])
        let bad = try RunningProcess.run(
            "openssl", verify + ["-verify_hostname", "b.example", files.certificate])

        #expect(good.exit == .code(0), "\(good)")
        #expect(bad.exit == .code(2), "\(bad)")
    }

    @Test("dates: expired and not yet valid are refused for that reason")
    func dates() throws {
        let directory = try TemporaryDirectory()
        let mint = try CertificateMint()
        let root = try directory.write("root.pem", mint.certificatePEM)
        let old = try mint.leaf("a.example", validity: .expired).writePair(
            "old", in: directory.path)
        let young = try mint.leaf("a.example", validity: .notYet).writePair(
            "young", in: directory.path)

        let expired = try openssl("verify", "-CAfile", root, old.certificate).text
        let notYet = try openssl("verify", "-CAfile", root, young.certificate).text

        #expect(expired.contains("certificate has expired"))
        #expect(notYet.contains("certificate is not yet valid"))
    }

    @Test("files are written with the mode asked for")
    func modes() throws {
        let directory = try TemporaryDirectory()
        let leaf = try CertificateMint().leaf("a.example")

        let paths = [
            try leaf.writeBundle("a", in: directory.path),
            try leaf.writePair("b", in: directory.path, mode: 0o600).key,
        ]

        let modes = try paths.map {
            try FileManager.default.attributesOfItem(atPath: $0)[.posixPermissions] as? Int
        }
        #expect(modes == [0o640, 0o600])
    }
}
