import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("Certificates in quarantine") struct CertificateScanTests {
    private let folder: TemporaryDirectory
    private let mint: CertificateMint

    init() throws {
        folder = try TemporaryDirectory()
        mint = try Shared.mint.get()
        for name in ["a", "b"] {
            try mint.leaf("\(name).example").writeBundle(name, in: folder.path)
        }
    }

    /// As if long ago: nothing has changed just before.
    private func scan(
        _ previous: CertificateStore? = nil,
        keeps: (@Sendable (CertificateStore, CertificateStore) -> Set<String>)? = nil
    ) -> CertificateFolder.Scan {
        var request = CertificateFolder.Request(folder.path)
        request.previous = previous
        request.now = FileStamp.now() + 60_000_000_000
        request.keeps = keeps
        return CertificateFolder.scan(request)
    }

    @Test("A bad file keeps its old certificate; the others are renewed")
    func keeps() throws {
        let old = scan().store
        try folder.write("a.pem", "rubbish", mode: 0o640)
        try mint.leaf("b.example", "new.example").writeBundle("b", in: folder.path)

        let new = scan(old).store

        #expect(new.entries[0] === old.entries[0] && new.entries[1] !== old.entries[1])
        #expect(new.quarantine.map(\.name) == ["a.pem"])
        #expect(new.quarantine.map(\.isKept) == [true])
        #expect(new.quarantine[0].problem.cause == .noCertificate)
        #expect(scan(new).store === new, "nothing has changed since")
    }

    @Test("A new bad file is not served, and is no reason to refuse the rest")
    func freshBad() throws {
        let old = scan().store
        try folder.write("c.pem", "rubbish", mode: 0o640)

        let new = scan(old).store

        #expect(new.servesSame(as: old))
        #expect(new.quarantine.map(\.isKept) == [false])
    }

    @Test("A file that is good again leaves quarantine, with the old contents too")
    func recovers() throws {
        let old = scan().store
        let text = try folder.read("a.pem")
        try folder.write("a.pem", "rubbish", mode: 0o640)
        let bad = scan(old).store
        try folder.write("a.pem", text, mode: 0o640)

        let again = scan(bad).store

        #expect(again.quarantine.isEmpty && again.entries[0] === old.entries[0])
    }

    @Test("Since when a file is bad does not begin anew with every other problem")
    func since() throws {
        let old = scan().store
        try folder.write("a.pem", "rubbish", mode: 0o640)
        let first = scan(old).store
        try folder.write("a.pem", "other rubbish", mode: 0o640)

        #expect(scan(first).store.quarantine[0].since == first.quarantine[0].since)
    }

    @Test("Who has expired, or is not valid yet, takes no place of one that is")
    func dates() throws {
        let old = scan().store
        try mint.leaf("a.example", validity: .expired).writeBundle("a", in: folder.path)
        try mint.leaf("b.example", validity: .notYet).writeBundle("b", in: folder.path)

        let new = scan(old).store

        #expect(new.servesSame(as: old))
        #expect(new.quarantine.map(\.problem.cause) == [.expired, .notYetValid])
    }

    @Test("An expired one is used where there was nothing, and replaces an expired one")
    func nothingBetter() throws {
        try mint.leaf("c.example", validity: .expired).writeBundle("c", in: folder.path)
        let old = scan().store
        try mint.leaf("c.example", validity: .expired).writeBundle("c", in: folder.path)
        let new = scan(old).store

        #expect(old.entries.count == 3 && new.quarantine.isEmpty)
        #expect(new.entries[2] !== old.entries[2])
    }

    @Test("What must not go stays, removed or replaced, until it may")
    func mustStay() throws {
        let old = scan().store
        let first = folder.file("a.pem")
        unlink(first)
        try mint.leaf("other.example").writeBundle("b", in: folder.path)

        let kept = scan(old, keeps: { _, _ in ["a.pem", "b.pem"] }).store
        #expect(kept.servesSame(as: old))
        #expect(kept.quarantine.map(\.problem.cause) == [.uncovered, .uncovered])
        let again = scan(kept, keeps: { _, _ in ["a.pem", "b.pem"] }).store
        #expect(again === kept)

        let gone = scan(again).store
        #expect(gone.entries.map(\.names) == [["other.example"]] && gone.quarantine.isEmpty)
    }

    @Test("A removed file is let go of if nobody needs it")
    func removed() throws {
        let old = scan().store
        unlink(folder.file("a.pem"))

        let new = scan(old, keeps: { _, _ in [] }).store

        #expect(new.entries.map(\.name) == ["b.pem"] && new.quarantine.isEmpty)
    }

    @Test("A file that could not be read for a moment is read again, though it is the same")
    func unreadable() throws {
        let old = scan().store
        let problem = CertificateProblem(
            .unreadable, file: folder.file("a.pem"), reason: "too many open files", hint: "")
        let jailed = CertificateStore(
            old, files: old.files,
            quarantine: [
                QuarantinedDrop(
                    name: "a.pem", problem: problem, since: 0, isKept: true, file: old.files[0])
            ])

        let new = scan(jailed).store

        #expect(new.quarantine.isEmpty && new.servesSame(as: old))
    }

    @Test("A file cut behind its certificate keeps the one with its issuers, until a reload")
    func cutChain() throws {
        let middle = try mint.intermediate()
        let first = try middle.leaf("a.example")
        try first.writeBundle("a", in: folder.path)
        let old = scan().store
        let leaf = try middle.leaf("a.example")
        try folder.write("a.pem", leaf.keyPEM + leaf.certificatePEM, mode: 0o640)

        let kept = scan(old, keeps: { _, _ in [] }).store
        #expect(kept.servesSame(as: old))
        #expect(kept.quarantine.map(\.problem.cause) == [.uncovered])
        #expect(kept.quarantine.allSatisfy { $0.problem.reason.contains("issuers") })
        #expect(scan(kept, keeps: { _, _ in [] }).store === kept)

        let reloaded = scan(kept).store
        #expect(reloaded.quarantine.isEmpty && reloaded.entries[0] !== old.entries[0])

        try folder.write("a.pem", leaf.bundlePEM, mode: 0o640)
        let whole = scan(kept, keeps: { _, _ in [] }).store
        #expect(whole.quarantine.isEmpty && whole.entries[0] !== old.entries[0])
    }

    @Test("A folder that cannot be read changes nothing")
    func folderGone() throws {
        let old = scan().store
        rename(folder.path, folder.path + ".away")
        defer { rename(folder.path + ".away", folder.path) }

        let scan = scan(old)

        #expect(scan.store === old && scan.problem?.cause == .folder)
    }

    @Test("What OpenSSL cannot use keeps the old one")
    func unusable() throws {
        let old = scan().store
        try folder.write("a.pem", mint.leaf("a.example").offCurve(), mode: 0o640)

        let new = scan(old).store

        #expect(new.servesSame(as: old))
        #expect(new.quarantine.map(\.problem.cause) == [.unusable])
        #expect(scan(new).store.servesSame(as: old))
    }

    @Test("Kubernetes' ..data swap is one new certificate")
    func dataSwap() throws {
        func version(_ number: Int) throws {
            let leaf = try mint.leaf("secret.example")
            try folder.write("tls/..v\(number)/tls.crt", leaf.certificatePEM)
            try folder.write("tls/..v\(number)/tls.key", leaf.keyPEM, mode: 0o640)
            symlink("..v\(number)", folder.file("tls/..tmp"))
            rename(folder.file("tls/..tmp"), folder.file("tls/..data"))
        }
        try version(1)
        symlink("..data/tls.crt", folder.file("tls/tls.crt"))
        symlink("..data/tls.key", folder.file("tls/tls.key"))
        let old = scan().store
        #expect(old.entries.map(\.name) == ["a.pem", "b.pem", "tls/tls.crt"])
        try version(2)

        let new = scan(old).store

        #expect(new.entries[2] !== old.entries[2] && new.quarantine.isEmpty)
        #expect(new.entries[0] === old.entries[0])
    }
}
