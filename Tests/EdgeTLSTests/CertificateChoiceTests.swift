import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("Choice of a certificate") struct CertificateChoiceTests {
    private static let now = Int64(time(nil))

    private static func store(_ leaves: MintedCertificate...) throws -> CertificateStore {
        try Shared.store(leaves)
    }

    private static func mint() throws -> CertificateMint { try Shared.mint.get() }

    private static func chosen(
        _ store: CertificateStore, _ name: String, at seconds: Int64 = now
    ) -> [Int] {
        var result: [Int] = []
        CertificateStore.withName(name) { name in
            store.choose(name, at: seconds).forEach { result.append($0) }
        }
        return result
    }

    @Test("A valid certificate comes before an expired one and one of the future")
    func validity() throws {
        let store = try Self.store(
            try Self.mint().leaf("a.example", validity: .expired),
            try Self.mint().leaf("a.example"),
            try Self.mint().leaf("a.example", validity: .notYet))

        #expect(Self.chosen(store, "a.example") == [1])
        #expect(Self.chosen(store, "A.example", at: Self.now - 3 * 86_400) == [0])
        #expect(Self.chosen(store, "a.example", at: Self.now + 40 * 86_400) == [1])
    }

    @Test("Of valid ones the one that ends last is served")
    func renewed() throws {
        let longer = CertificateMint.Validity(from: -60, until: 90 * 86_400)
        let store = try Self.store(
            try Self.mint().leaf("a.example"),
            try Self.mint().leaf("a.example", validity: longer),
            try Self.mint().leaf("a.example"))

        #expect(Self.chosen(store, "a.example") == [1])
    }

    @Test("An expired one is served if there is no other")
    func expiredOnly() throws {
        let store = try Self.store(try Self.mint().leaf("a.example", validity: .expired))

        #expect(Self.chosen(store, "a.example") == [0])
    }

    @Test("Exact names come before wildcards, but a valid wildcard before an expired name")
    func wildcards() throws {
        let store = try Self.store(
            try Self.mint().leaf("*.a.example"), try Self.mint().leaf("x.a.example"),
            try Self.mint().leaf("y.a.example", validity: .expired))

        #expect(Self.chosen(store, "x.a.example") == [1])
        #expect(Self.chosen(store, "y.a.example") == [0])
        #expect(Self.chosen(store, "z.a.example") == [0])
        #expect(Self.chosen(store, "a.example") == [])
        #expect(Self.chosen(store, "z.z.a.example") == [])
        #expect(Self.chosen(store, ".a.example") == [] && Self.chosen(store, "") == [])
    }

    @Test("Each key type is chosen by itself; an RSA wildcard stands beside an ECDSA name")
    func keyTypes() throws {
        let store = try Self.store(
            try Self.mint().leaf("*.a.example", key: .rsa2048),
            try Self.mint().leaf("x.a.example"),
            try Self.mint().leaf("x.a.example", validity: .expired))

        #expect(Self.chosen(store, "x.a.example") == [1, 0])
        #expect(Self.chosen(store, "y.a.example") == [0])
    }

    @Test("Hundreds of certificates for one name do not make looking it up longer")
    func crowd() throws {
        let folder = try TemporaryDirectory()
        for index in 0..<200 {
            let validity = CertificateMint.Validity(from: -60, until: 86_400 + index * 60)
            try Self.mint().leaf("a.example", validity: validity)
                .writeBundle("c\(index + 100)", in: folder.path)
        }

        let store = try CertificateFolder.load(folder.path)

        #expect(store.matches(for: "a.example").count == 4)
        #expect(Self.chosen(store, "a.example") == [199])
    }

    @Test("Ten thousand names are found, and no others")
    func many() throws {
        let folder = try TemporaryDirectory()
        for index in 0..<100 {
            let names = (0..<100).map { "h\($0).n\(index).example" }
            try Self.mint().leaf(names: names + ["*.w\(index).example"])
                .writeBundle("c\(index + 100)", in: folder.path)
        }

        let store = try CertificateFolder.load(folder.path)

        for index in 0..<100 {
            for host in 0..<100 {
                #expect(store.matches(for: "H\(host).n\(index).example") == [index])
            }
            #expect(store.matches(for: "any.w\(index).example") == [index])
            #expect(store.matches(for: "h100.n\(index).example").isEmpty)
        }
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let algorithms: String
        let isRSA: Bool?
        let versions: ClosedRange<Int32>
        let isNamed: Bool
        var testDescription: String {
            "\(algorithms), \(versions == TLS1_2_VERSION...TLS1_2_VERSION ? "1.2" : "1.3"), "
                + (isNamed ? "with SNI" : "without SNI")
        }
    }

    static let cases: [Case] = [
        ("ECDSA+SHA256", false), ("RSA-PSS+SHA256:RSA+SHA256", true),
        ("RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA256", false), ("ECDSA+SHA256:RSA-PSS+SHA256", false),
        ("ed25519", nil),
    ].flatMap { algorithms, isRSA in
        [TLS1_2_VERSION, TLS1_3_VERSION].flatMap { version in
            [true, false].map {
                Case(
                    algorithms: algorithms, isRSA: isRSA, versions: version...version, isNamed: $0)
            }
        }
    }

    @Test("The client's signature algorithms choose, ECDSA before RSA", arguments: cases)
    func algorithms(item: Case) throws {
        let engine = try Shared.server(fallback: "www.home.example")
        let client = try PlainClient(
            item.isNamed ? "www.home.example" : nil, algorithms: item.algorithms,
            versions: item.versions)
        let server = OurEnd(engine, try #require(engine.makeServerSession()))

        connect(client, server)

        #expect(client.isOpen == (item.isRSA != nil))
        #expect(client.certificate?.isRSA == item.isRSA)
    }
}
