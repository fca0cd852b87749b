import CEdge
import EdgeTesting
import Glibc
import Testing

@testable import EdgeTLS

@Suite("Certificates over reloads") struct CertificateReloadTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        for name in ["a", "b", "c"] {
            try Self.mint().leaf("\(name).example").writeBundle(name, in: folder.path)
        }
    }

    private static func mint() throws -> CertificateMint { try Shared.mint.get() }

    /// As if long ago: nothing has changed just before.
    private func load(_ previous: CertificateStore? = nil) throws -> CertificateStore {
        try CertificateFolder.load(
            folder.path, previous: previous, now: FileStamp.now() + 60_000_000_000)
    }

    @Test("A folder in which nothing has changed is the same store")
    func unchanged() throws {
        let store = try load()

        #expect(try load(store) === store)
    }

    @Test("One changed file is one new entry; the others are the same objects")
    func oneChanged() throws {
        let old = try load()
        try Self.mint().leaf("b.example", "new.example").writeBundle("b", in: folder.path)

        let new = try load(old)

        #expect(new !== old)
        #expect(new.entries.map(\.name) == ["a.pem", "b.pem", "c.pem"])
        #expect(new.entries[0] === old.entries[0] && new.entries[2] === old.entries[2])
        #expect(new.entries[1] !== old.entries[1])
        #expect(new.matches(for: "new.example") == [1] && old.matches(for: "new.example") == [])
        #expect(new.contains(new.entries[1]) && !new.contains(old.entries[1]))
    }

    @Test("Files that come and go change nothing for those that stay")
    func comingAndGoing() throws {
        let old = try load()
        unlink(folder.file("a.pem"))
        try Self.mint().leaf("bb.example").writePair("bb", in: folder.path)

        let new = try load(old)

        #expect(new.entries.map(\.name) == ["b.pem", "bb.crt", "c.pem"])
        #expect(new.entries[0] === old.entries[1] && new.entries[2] === old.entries[2])
    }

    @Test("A file that is written again with the same contents keeps its entry")
    func rewritten() throws {
        let old = try load()
        let text = try folder.read("b.pem")
        unlink(folder.file("b.pem"))
        try folder.write("b.pem", text, mode: 0o600)

        let new = try load(old)

        #expect(new.entries[1] === old.entries[1])
        #expect(try load(new) === new)
    }

    @Test("Only a file whose stamp is old enough is passed over")
    func settling() throws {
        let fresh = try CertificateFolder.load(folder.path)
        let settled = try load()
        let handle = try #require(opendir(folder.path))
        defer { closedir(handle) }
        let reader = CertificateReader(
            folder: folder.path, descriptor: dirfd(handle), chains: ChainTable([]), now: 0)

        #expect(!reader.isUnchanged(fresh.entries[0], fresh.files[0]))
        #expect(reader.isUnchanged(settled.entries[0], settled.files[0]))
        chmod(folder.file("a.pem"), 0o600)
        #expect(!reader.isUnchanged(settled.entries[0], settled.files[0]))
        utimes(folder.file("b.pem"), nil)
        #expect(!reader.isUnchanged(settled.entries[1], settled.files[1]))
        unlink(folder.file("c.pem"))
        #expect(!reader.isUnchanged(settled.entries[2], settled.files[2]))
    }

    @Test("Of a pair, the key's file counts too")
    func pair() throws {
        let leaf = try Self.mint().leaf("p.example")
        let paths = try leaf.writePair("p", in: folder.path)
        let old = try load()
        #expect(try load(old) === old)

        try folder.write("p.key", Self.mint().leaf("p.example").keyPEM, mode: 0o600)

        #expect { try load(old) } throws: { error in
            (error as? CertificateFolderError)?.problems.map(\.file) == [paths.key]
        }
    }

    @Test("A mode that opens a key to everybody is refused by the next reload")
    func opened() throws {
        let old = try load()
        chmod(folder.file("b.pem"), 0o644)

        #expect(throws: CertificateFolderError.self) { try load(old) }
    }

    @Test("The same issuers are kept once")
    func chains() throws {
        let below = try Self.mint().intermediate()
        for name in ["x", "y"] {
            try below.leaf("\(name).example").writeBundle(name, in: folder.path)
        }
        let old = try load()
        try below.leaf("z.example").writeBundle("z", in: folder.path)
        let new = try load(old)

        let chains = new.entries.suffix(3).map(\.chain)
        #expect(chains.map(\.count) == [1, 1, 1])
        #expect(chains.allSatisfy { $0 === chains[0] })
        #expect(new.entries[0].chain === new.entries[1].chain)
    }

    @Test("A worker keeps what it has parsed of the entries that stay")
    func shelf() throws {
        let old = try load()
        let shelf = CertificateShelf(parser: CertificateParser(library: nil))
        let parsed = try old.entries.map { try #require(shelf.certificate($0)) }
        try Self.mint().leaf("b.example").writeBundle("b", in: folder.path)
        let new = try load(old)

        shelf.keep([new])

        #expect(shelf.count == 2)
        #expect(shelf.certificate(new.entries[0]) === parsed[0])
        #expect(shelf.certificate(new.entries[2]) === parsed[2])
        #expect(shelf.certificate(new.entries[1]) !== parsed[1])
        #expect(shelf.count == 3)
    }

    @Test("A worker parses a bounded number and forgets the one unused for longest")
    func bound() throws {
        for index in 0..<20 {
            try Self.mint().leaf("n\(index).example").writeBundle("n\(index)", in: folder.path)
        }
        let entries = try load().entries
        let shelf = CertificateShelf(parser: CertificateParser(library: nil), countMax: 3)
        let first = try #require(shelf.certificate(entries[0]))
        let second = try #require(shelf.certificate(entries[1]))
        _ = shelf.certificate(entries[2])

        #expect(shelf.certificate(entries[0]) === first)
        _ = shelf.certificate(entries[3])

        #expect(shelf.count == 3)
        #expect(shelf.certificate(entries[0]) === first)
        #expect(shelf.certificate(entries[1]) !== second)
        for _ in 0..<5 {
            for entry in entries { #expect(shelf.certificate(entry) != nil) }
            #expect(shelf.count == 3)
        }
    }
}
