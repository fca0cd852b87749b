import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("Certificate folder") struct CertificateFolderTests {
    private let folder: TemporaryDirectory
    private let leaf: MintedCertificate

    init() throws {
        folder = try TemporaryDirectory()
        leaf = try Shared.mint.get().leaf("www.home.example", "*.Home.example", "192.0.2.1")
    }

    /// What is wrong with the folder; empty if nothing.
    private func problems() -> [CertificateProblem] {
        do {
            _ = try CertificateFolder.load(folder.path)
            return []
        } catch {
            return error.problems
        }
    }

    private func expectProblem(_ file: String, _ words: String...) {
        let found = problems()
        #expect(found.count == 1)
        #expect(found.first?.file == file)
        for word in words {
            #expect(found.first?.description.contains(word) == true, "\(found)")
        }
    }

    @Test("One file, or two, are read; names are lower-case, addresses left out")
    func formats() throws {
        try leaf.writeBundle("one", in: folder.path)
        try Shared.mint.get().intermediate().leaf("two.example").writePair("two", in: folder.path)
        try folder.write("readme.txt", "not a certificate")
        try folder.write(".hidden.pem", "not looked at")

        let store = try CertificateFolder.load(folder.path)

        #expect(
            store.entries.map(\.names) == [
                ["www.home.example", "*.home.example"], ["two.example"],
            ])
        #expect(store.entries.map(\.key) == [.ecdsa, .ecdsa])
        #expect(store.entries.map(\.chain.count) == [0, 1])
        #expect(store.entries[0].notAfter - store.entries[0].notBefore == 30 * 86_400 + 3_600)
        #expect(store.matches(for: "WWW.home.example") == [0])
        #expect(store.matches(for: "x.home.example") == [0])
        #expect(store.matches(for: "x.y.home.example").isEmpty)
        #expect(store.matches(for: "192.0.2.1").isEmpty)
        #expect(store.matches(for: "").isEmpty && store.matches(for: ".home.example").isEmpty)
    }

    @Test("Certificate, chain and key may come in any order")
    func order() throws {
        let below = try Shared.mint.get().intermediate().leaf("www.home.example", key: .rsa2048)
        try folder.write(
            "a.pem", below.keyPEM + below.chainPEM + below.certificatePEM, mode: 0o600)

        let store = try CertificateFolder.load(folder.path)

        #expect(store.entries[0].names == ["www.home.example"])
        #expect(store.entries[0].chain.count == 1)
        #expect(store.entries[0].key == .rsa)
    }

    @Test("Exact names come before wildcards, and all key types of a name are found")
    func several() throws {
        try leaf.writeBundle("a", in: folder.path)
        try Shared.leaves.get()[2].writeBundle("b", in: folder.path)

        let store = try CertificateFolder.load(folder.path)

        #expect(store.matches(for: "www.home.example") == [0, 1])
        #expect(store.matches(for: "other.home.example") == [0])
    }

    @Test("A folder that is missing or empty is a problem of its own")
    func nothing() throws {
        expectProblem(folder.path, "no certificate in this folder")
        #expect {
            _ = try CertificateFolder.load(folder.file("missing"))
        } throws: { error in
            (error as? CertificateFolderError)?.problems.first?.reason.contains("No such file")
                == true
        }
    }

    @Test("A key that everybody may read is refused", arguments: [0o644, 0o604, 0o777] as [UInt32])
    func readable(mode: UInt32) throws {
        let path = try leaf.writeBundle("a", in: folder.path, mode: mode)

        expectProblem(path, "everybody may read", String(mode, radix: 8), "chmod 0640")
    }

    @Test("Of a pair only the key has to be private")
    func pairModes() throws {
        let paths = try leaf.writePair("a", in: folder.path)
        chmod(paths.certificate, 0o644)
        #expect(problems().isEmpty)

        chmod(paths.key, 0o644)
        expectProblem(paths.key, "everybody may read")
    }

    @Test("A key of another certificate is refused")
    func mismatch() throws {
        let other = try Shared.mint.get().leaf("www.home.example")
        let path = try folder.write("a.pem", leaf.certificatePEM + other.keyPEM, mode: 0o600)

        expectProblem(path, "belongs to none")
    }

    @Test("A file cut anywhere is refused or whole, never half used")
    func halfWritten() throws {
        let text = leaf.bundlePEM
        for count in stride(from: 0, to: text.utf8.count - 2, by: 23) {
            try folder.write("a.pem", String(text.prefix(count)), mode: 0o600)
            #expect(problems().count == 1, "cut at \(count)")
        }
        try folder.write("a.pem", text, mode: 0o600)
        #expect(problems().isEmpty)
    }

    @Test("A damaged second certificate spoils the file")
    func damaged() throws {
        let path = try folder.write(
            "a.pem",
            leaf.keyPEM + leaf.certificatePEM
                + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", mode: 0o600)

        expectProblem(path, "certificate 2", "half-written")
    }

    @Test("No key, no certificate, no name, an encrypted key: each is named")
    func missingParts() throws {
        let path = try folder.write("a.pem", leaf.certificatePEM, mode: 0o600)
        expectProblem(path, "no usable private key")

        try folder.write("a.pem", leaf.keyPEM, mode: 0o600)
        expectProblem(path, "no certificate in this file")

        let nameless = try Shared.mint.get().leaf(names: [])
        try folder.write("a.pem", nameless.bundlePEM, mode: 0o600)
        expectProblem(path, "no DNS name")

        try folder.write("a.pem", leaf.certificatePEM + encrypted(leaf.keyPEM), mode: 0o600)
        expectProblem(path, "no usable private key")
    }

    /// The same key under a password.
    private func encrypted(_ pem: String) throws -> String {
        let source = Array(pem.utf8)
        let input = BIO_new_mem_buf(source, Int32(source.count))
        let output = BIO_new(BIO_s_mem())
        defer {
            BIO_free(input)
            BIO_free(output)
        }
        let key = PEM_read_bio_PrivateKey(input, nil, nil, nil)
        defer { EVP_PKEY_free(key) }
        let password = Array("secret".utf8)
        let status = PEM_write_bio_PKCS8PrivateKey(
            output, key, EVP_aes_128_cbc(), password.map { CChar($0) }, 6, nil, nil)
        try #require(status == 1)
        var block = [UInt8](repeating: 0, count: 8_192)
        let count = BIO_read(output, &block, 8_192)
        return String(decoding: block.prefix(Int(count)), as: UTF8.self)
    }

    @Test("A huge file, or a directory with a certificate's name, is not read")
    func odd() throws {
        let huge = try folder.write(
            "a.pem", String(repeating: "a", count: 1 << 20) + "b", mode: 0o600)
        expectProblem(huge, "at most 1 MiB")

        unlink(huge)
        let directory = try folder.makeDirectory("b.pem")
        expectProblem(directory, "not a regular file")
    }

    @Test("A key file that is missing is named")
    func noKey() throws {
        let paths = try leaf.writePair("a", in: folder.path)
        unlink(paths.key)

        expectProblem(paths.key, "cannot be read")
    }

    @Test("All problems are told, in the order of the files, and nothing is used")
    func all() throws {
        try leaf.writeBundle("a", in: folder.path)
        try folder.write("b.pem", "rubbish", mode: 0o600)
        try folder.write("c.pem", leaf.certificatePEM, mode: 0o600)

        #expect(problems().map(\.file) == [folder.file("b.pem"), folder.file("c.pem")])
    }
}
