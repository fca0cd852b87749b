import CEdge
import EdgeTesting
import Testing

@testable import EdgePreface

@Suite("ClientHello: OpenSSL agrees", .serialized) struct OpenSSLTests {
    /// What a name is to us, if it is one.
    private func normal(_ name: [UInt8]) -> String {
        let text = String(decoding: name, as: UTF8.self).lowercased()
        return text.hasSuffix(".") ? String(text.dropLast()) : text
    }

    @Test(
        "Hellos of OpenSSL's client say what it was told",
        arguments: [nil, "www.home.example", "UPPER.example.", "10.0.0.1"],
        [nil, TLS1_2_VERSION])
    func clients(_ name: String?, _ version: Int32?) {
        for protocols in [[], ["h2"], ["acme-tls/1"], ["h2", "http/1.1"]] {
            let bytes = openSSLHello(name: name, protocols: protocols, version: version)
            let hello = HelloView.whole(bytes)

            #expect(hello.outcome == .complete)
            #expect(hello.name == name.map { normal(Array($0.utf8)) } ?? "")
            #expect(hello.protocols == protocols)
            #expect(hello.supportsTLS13 == (version == nil))
            #expect(hello.byteCount == bytes.count)
            #expect(OpenSSLView(bytes).name == name.map { Array($0.utf8) })
        }
    }

    @Test("OpenSSL's server takes the hellos of these tests, and sees the same name")
    func servers() {
        let hellos =
            RecordedHello.allCases.map(\.bytes) + [
                HelloBuilder().bytes, HelloBuilder.browser("shop.home.example").bytes,
                HelloBuilder.records(HelloBuilder().message, of: 7),
            ]
        for bytes in hellos {
            let theirs = OpenSSLView(bytes)

            #expect(theirs.isTaken)
            #expect(theirs.name.map(normal) == HelloView.whole(bytes).name)
        }
    }

    @Test("What is refused here and not by OpenSSL, no client sends")
    func stricter() {
        var builder = HelloBuilder()
        for _ in 0..<2 { builder.extensions?.append((0x3A3A, [])) }
        // With TLS 1.3, OpenSSL refuses it too.
        var old = HelloBuilder()
        old.extensions = [HelloBuilder.serverName("a.example")]
        let surplus = old.message + [20, 0, 0, 0]
        let cases: [([UInt8], ClientHelloViolation)] = [
            (builder.bytes, .duplicateExtension),
            (HelloBuilder.records(surplus, of: 1 << 14), .surplusBytes),
            ([22, 3, 1, 0, 0] + HelloBuilder().bytes, .emptyRecord),
        ]
        for (bytes, violation) in cases {
            #expect(HelloView.whole(bytes).outcome == .malformed(violation))
            #expect(OpenSSLView(bytes).isTaken, "\(violation)")
        }
    }

    /// Whether we are known to be stricter than OpenSSL 3.0 in this.
    private func isStricter(_ violation: ClientHelloViolation, _ theirs: OpenSSLView) -> Bool {
        switch violation {
        // Every session refuses it later, for the same reason as we.
        case .badServerName:
            guard let name = theirs.name else { return false }
            return name.isEmpty || name == [0x2E] || name.first == 0x2E
                || String(decoding: name, as: UTF8.self).contains("..")
                || name.contains { byte in
                    !(0x61...0x7A).contains(byte | 0x20) && !(0x30...0x39).contains(byte)
                        && ![0x2D, 0x2E, 0x5F].contains(byte)
                }
        // OpenSSL looks for duplicates among those that it knows.
        case .duplicateExtension: return true
        // OpenSSL takes empty records, and notices surplus bytes when it has answered.
        case .emptyRecord, .surplusBytes: return true
        case .notTLS, .interrupted, .recordTooLarge, .notClientHello, .tooLong, .truncated,
            .badLength, .unsupportedVersion, .badProtocols:
            return false
        }
    }

    @Test("Of damaged hellos, OpenSSL's server reads the same name and protocols as we")
    func damaged() {
        var random = SeededRandom(seed: 23)
        let seeds =
            RecordedHello.allCases.map(\.bytes) + [
                HelloBuilder().bytes, HelloBuilder.browser("shop.home.example").bytes,
                HelloBuilder.records(HelloBuilder().message, of: 16),
                openSSLHello(name: "a.example", protocols: ["h2"], version: TLS1_2_VERSION),
            ]
        var agreed = 0
        for _ in 0..<4_000 {
            let bytes = mutated(seeds.randomElement(using: &random) ?? [], &random)
            let theirs = OpenSSLView(bytes)
            guard theirs.isTaken else { continue }
            var hello = ClientHello()
            switch ClientHello.read(bytes.span, into: &hello) {
            case .incomplete: Issue.record("OpenSSL needs no more; \(random), \(bytes)")
            case .malformed(let violation):
                #expect(isStricter(violation, theirs), "\(violation), \(random), \(bytes)")
            case .complete:
                agreed += 1
                let ours = HelloView(.complete, hello)
                #expect(ours.name == theirs.name.map(normal) ?? "", "\(random)")
                for name in names(theirs.protocols) {
                    let isOffered = hello.offers(name.span)
                    #expect(isOffered, "\(random)")
                }
                #expect(theirs.protocols != nil || ours.protocols.isEmpty, "\(random)")
            }
        }
        #expect(agreed > 500, "\(agreed) agreed, \(random)")
    }

    /// The names in an ALPN extension that OpenSSL has found well-formed.
    private func names(_ contents: [UInt8]?) -> [[UInt8]] {
        var names: [[UInt8]] = []
        var rest = (contents ?? []).dropFirst(2)
        while let count = rest.popFirst() {
            names.append(Array(rest.prefix(Int(count))))
            rest = rest.dropFirst(Int(count))
        }
        return names
    }
}
