import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("Certificates that OpenSSL cannot use") struct UnusableCertificateTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func write(_ name: String, _ text: String) throws {
        try folder.write(name, text, mode: 0o600)
    }

    @Test("A few new files are parsed before they are used")
    func few() throws {
        try write("a.pem", Shared.leaves.get()[0].offCurve())

        #expect { try CertificateFolder.load(folder.path) } throws: { error in
            let problems = (error as? CertificateFolderError)?.problems
            return problems?.count == 1 && problems?[0].reason.contains("OpenSSL cannot") == true
        }
    }

    @Test("Of many new files a bad one is found in the background, with its file and why")
    func many() throws {
        try write("a.pem", Shared.leaves.get()[0].offCurve())
        try write("b.pem", Shared.leaves.get()[1].bundlePEM)
        let store = try CertificateFolder.load(folder.path, checking: .upTo(1))
        #expect(store.entries.map(\.verdict) == [.unchecked, .unchecked])

        for depth in [CertificateChecker.Depth.key, .whole] {
            let checker = CertificateChecker()
            let problems = store.entries.map { checker.problem(of: $0, depth: depth) }

            #expect(problems[0]?.file == folder.file("a.pem"))
            #expect(problems[1] == nil)
            #expect(store.entries.map(\.verdict) == [.unusable, .sound])
        }
        #expect(throws: CertificateFolderError.self) {
            try CertificateFolder.load(folder.path, checking: .all)
        }
    }

    @Test("First used by a handshake, it is an alert and a reason; others go on")
    func firstUse() throws {
        try write("a.pem", Shared.leaves.get()[0].offCurve())
        try write("b.pem", Shared.leaves.get()[3].bundlePEM)
        let store = try CertificateFolder.load(folder.path, checking: .upTo(0))
        let engine = try Shared.server(store)

        for round in 0..<2 {
            let client = try PlainClient("www.home.example")
            let server = OurEnd(engine, try #require(engine.makeServerSession()))
            connect(client, server)
            #expect(server.step == .failed)
            #expect(client.failure?.contains("internal error") == true)
            let failure = try #require(engine.takeCertificateFailure())
            #expect(failure.problem.file == folder.file("a.pem"))
            #expect(failure.isNews == (round == 0))
            #expect(engine.takeCertificateFailure() == nil)
        }
        #expect(store.entries[0].verdict == .unusable)

        let client = try PlainClient("fallback.example")
        let server = OurEnd(engine, try #require(engine.makeServerSession()))
        connect(client, server)
        #expect(client.isOpen && server.isOpen)
        #expect(engine.takeCertificateFailure() == nil)
    }

    @Test("Another certificate for the name is served in its place")
    func another() throws {
        try write("a.pem", Shared.leaves.get()[0].offCurve())
        try write("b.pem", Shared.leaves.get()[1].bundlePEM)
        let store = try CertificateFolder.load(folder.path, checking: .upTo(0))
        _ = CertificateChecker().problem(of: store.entries[0], depth: .key)
        let engine = try Shared.server(store)

        let client = try PlainClient("www.home.example")
        let server = OurEnd(engine, try #require(engine.makeServerSession()))
        connect(client, server)

        #expect(client.certificate?.name == "*.home.example")
    }
}
