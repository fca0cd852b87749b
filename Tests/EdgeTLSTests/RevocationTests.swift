import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: revoked certificates") struct RevocationTests {
    private let folder: TemporaryDirectory
    private let mint: CertificateMint
    private let leaf: MintedCertificate

    init() throws {
        folder = try TemporaryDirectory()
        mint = try Shared.mint.get()
        leaf = try mint.leaf("www.home.example")
    }

    private func trust(_ list: String) throws -> ClientTrust {
        try ClientTrust.load(
            .init(
                authorities: folder.write("ca.pem", mint.rootPEM),
                revocations: folder.write("crl.pem", list)))
    }

    /// Whether our client believes a server with the leaf.
    private func isBelieved(
        _ trust: ClientTrust, _ leaf: MintedCertificate? = nil
    ) throws -> Bool {
        let server = try Shared.server(
            try Shared.store([leaf ?? self.leaf]), fallback: "www.home.example")
        let engine = try TLSEngine()
        let session = try "www.home.example".withCString {
            try engine.makeClientSession(trust, name: $0)
        }
        let client = OurEnd(engine, try #require(session))
        let other = OurEnd(server, try #require(server.makeServerSession()))
        connect(client, other)
        return client.isOpen
    }

    @Test("Who is on the list is not believed, others are")
    func revoked() throws {
        let stranger = try mint.leaf("other.example")

        #expect(try !isBelieved(trust(mint.revocations(of: [stranger, leaf]))))
        #expect(try isBelieved(trust(mint.revocations(of: [stranger]))))
        #expect(try isBelieved(trust(mint.revocations(of: []))))
    }

    @Test("A list that should have been replaced is still believed, for good and for bad")
    func late() throws {
        let empty = try trust(mint.revocations(of: [], validity: .expired))
        let full = try trust(mint.revocations(of: [leaf], validity: .expired))

        #expect(try isBelieved(empty))
        #expect(try !isBelieved(full))
        let end = try #require(empty.revocationsEnd)
        #expect(abs(end - (Int64(time(nil)) - 3_600)) < 60)
    }

    @Test("A list of a clock that is ahead of ours is believed, for good and for bad")
    func early() throws {
        let ahead = CertificateMint.Validity(from: 5, until: 86_400)

        #expect(try isBelieved(trust(mint.revocations(of: [], validity: ahead))))
        #expect(try !isBelieved(trust(mint.revocations(of: [leaf], validity: ahead))))
    }

    @Test("Who is below a revoked authority is not believed; only the leaf's issuer needs a list")
    func intermediates() throws {
        let middle = try mint.intermediate()
        let leaf = try middle.leaf("www.home.example")
        let own = try middle.revocations(of: [])
        let clean = try mint.revocations(of: [])
        let revoked = try mint.revocations(of: [], authorities: [middle])

        #expect(try isBelieved(trust(own), leaf))
        #expect(try isBelieved(trust(own + clean), leaf))
        #expect(try !isBelieved(trust(own + revoked), leaf))
        #expect(try !isBelieved(trust(clean), leaf), "no list of its issuer")
    }

    /// The last block's contents are no longer what they say they are.
    private static func damaged(_ pem: String) -> String {
        var lines = pem.split(separator: "\n", omittingEmptySubsequences: false)
        let begin = lines.lastIndex { $0.hasPrefix("-----BEGIN") } ?? 0
        lines[begin + 1] = "AAAA" + lines[begin + 1].dropFirst(4)
        return lines.joined(separator: "\n")
    }

    @Test("A damaged list behind good ones is refused with its number")
    func damagedList() throws {
        let lists = try mint.revocations(of: []) + Self.damaged(mint.revocations(of: [leaf]))

        #expect {
            _ = try trust(lists)
        } throws: { error in
            "\(error)".contains("crl.pem") && "\(error)".contains("list 2")
        }
    }

    @Test("A damaged authority behind good ones is refused, however many there are")
    func damagedAuthority() throws {
        for count in [1, 20] {
            let good = String(repeating: mint.rootPEM, count: count)
            let path = try folder.write("many.pem", good + Self.damaged(mint.rootPEM))
            #expect {
                _ = try ClientTrust.load(path)
            } throws: { error in
                "\(error)".contains("certificate \(count + 1)")
            }
            #expect(throws: Never.self) {
                _ = try ClientTrust.load(folder.write("many.pem", good))
            }
        }
    }

    @Test("More than can be looked at is refused, not cut")
    func tooMany() throws {
        let list = try mint.revocations(of: [])

        #expect(throws: Never.self) { _ = try trust(String(repeating: list, count: 256)) }
        #expect {
            _ = try trust(String(repeating: list, count: 257))
        } throws: { error in
            "\(error)".contains("more than 256")
        }
    }

    @Test("Without a list of the issuer nobody is believed")
    func noList() throws {
        let other = try CertificateMint(name: "Another")

        #expect(try !isBelieved(trust(other.revocations(of: []))))
    }

    @Test("Another list is another trust, and what changes the digest of sessions")
    func identity() throws {
        let first = try trust(mint.revocations(of: []))
        let second = try trust(mint.revocations(of: [leaf]))

        #expect(!first.isEquivalent(to: second) && first.digest != second.digest)
        #expect(first.number != second.number)
    }

    @Test("A list that is missing, cut off or something else is refused by name")
    func refused() throws {
        let list = try mint.revocations(of: [leaf])
        for text in ["", "rubbish", String(list.dropLast(40)), mint.rootPEM] {
            #expect {
                _ = try trust(text)
            } throws: { error in
                "\(error)".contains("crl.pem")
            }
        }
    }

    @Test("Half a file of authorities is not used as if it were the whole")
    func halfAuthorities() throws {
        let second = try CertificateMint(name: "Second").rootPEM
        let path = try folder.write("two.pem", mint.rootPEM + String(second.prefix(200)))

        #expect {
            _ = try ClientTrust.load(path)
        } throws: { error in
            "\(error)".contains("the last block")
        }
    }

    @Test("Who stands in for authorities that cannot be read believes nobody")
    func nobody() throws { #expect(try !isBelieved(.nobody)) }
}
