import CEdge
import EdgeTesting
import Testing

@testable import EdgeX509

@Suite("Certificates in outline") struct CertificateOutlineTests {
    static let nameLists: [[String]] = [
        ["www.home.example"],
        ["a.example", "*.a.example", "B.Example", "192.0.2.1", "2001:db8::1"],
        [], (0..<300).map { "host-\($0).with.a.rather.long.name.example" },
    ]

    @Test("Names and dates are what OpenSSL finds", arguments: nameLists)
    func agreement(names: [String]) throws {
        for validity in [CertificateMint.Validity.current, .expired, .notYet] {
            let bytes = try Sample.leaf(names, validity: validity).certificate

            let outline = try CertificateOutline(bytes.span)

            #expect(Judgement(outline, bytes) == Judgement(openSSL: bytes))
            #expect(outline.byteCount == bytes.count)
            #expect(outline.algorithm == .ecdsa)
        }
    }

    @Test(
        "Dates around leap days, years 1950 and 2050 and the end of time agree with OpenSSL",
        arguments: [
            -630_720_000, 951_782_399, 951_868_800, 1_709_164_800, 1_709_251_199, 2_524_607_999,
            2_524_608_000, 4_107_542_400, 253_402_300_799,
        ] as [Int64])
    func dates(seconds: Int64) throws {
        let from = Int(seconds - Int64(time(nil)))
        let bytes = try Sample.leaf(
            ["a.example"], validity: .init(from: from, until: from)
        ).certificate

        let outline = try CertificateOutline(bytes.span)

        let found = try #require(Judgement(openSSL: bytes))
        #expect(outline.notBefore == found.notBefore)
        #expect(abs(outline.notAfter - seconds) <= 60)
    }

    @Test("Key types are told apart, and pairs from strangers")
    func pairs() throws {
        for (kind, algorithm) in [
            (CertificateMint.KeyKind.ecdsaP256, KeyAlgorithm.ecdsa), (.rsa2048, .rsa),
        ] {
            let own = try Sample.leaf(["a.example"], key: kind)
            let other = try Sample.leaf(["a.example"], key: kind)
            let outline = try CertificateOutline(own.certificate.span)
            let key = try PrivateKeyOutline(own.key.span, form: .pkcs8)
            let stranger = try PrivateKeyOutline(other.key.span, form: .pkcs8)

            #expect(outline.algorithm == algorithm && key.algorithm == algorithm)
            let isOwn = key.isPair(own.key.span, with: outline, own.certificate.span)
            let isOther = stranger.isPair(other.key.span, with: outline, own.certificate.span)
            #expect(isOwn && !isOther)
        }
        let ecdsa = try Sample.leaf(["a.example"])
        let rsa = try Sample.leaf(["a.example"], key: .rsa2048)
        let key = try PrivateKeyOutline(rsa.key.span, form: .pkcs8)
        let outline = try CertificateOutline(ecdsa.certificate.span)
        let isPair = key.isPair(rsa.key.span, with: outline, ecdsa.certificate.span)
        #expect(!isPair)
    }

    @Test("Keys in their algorithm's own form say the same")
    func ownForms() throws {
        for (kind, form) in [
            (CertificateMint.KeyKind.ecdsaP256, PrivateKeyOutline.Form.sec1), (.rsa2048, .pkcs1),
        ] {
            let pair = try Sample.leaf(["a.example"], key: kind)
            var start: UnsafePointer<UInt8>?
            let parsed = pair.key.withUnsafeBufferPointer {
                start = $0.baseAddress
                return d2i_AutoPrivateKey(nil, &start, $0.count)
            }
            defer { EVP_PKEY_free(parsed) }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = bytes.withUnsafeMutableBufferPointer {
                var output = $0.baseAddress
                return i2d_PrivateKey(parsed, &output)
            }
            bytes = Array(bytes.prefix(Int(count)))
            let outline = try CertificateOutline(pair.certificate.span)

            let key = try PrivateKeyOutline(bytes.span, form: form)

            let isPair = key.isPair(bytes.span, with: outline, pair.certificate.span)
            #expect(isPair)
        }
    }

    @Test("Cut anywhere, or with a byte behind it, neither certificate nor key is one")
    func truncated() throws {
        let pair = try Sample.leaf(["a.example", "*.b.example"])
        for count in 0..<pair.certificate.count {
            let part = Array(pair.certificate.prefix(count))
            #expect(throws: X509Violation.self) { try CertificateOutline(part.span) }
        }
        for count in 0..<pair.key.count {
            let part = Array(pair.key.prefix(count))
            #expect(throws: X509Violation.self) { try PrivateKeyOutline(part.span, form: .pkcs8) }
        }
        let longer = pair.key + [0]
        #expect(throws: X509Violation.surplusBytes) {
            try PrivateKeyOutline(longer.span, form: .pkcs8)
        }
        // What follows a certificate is not part of it: trust settings are written so.
        let trusted = pair.certificate + [0x30, 0]
        let outline = try CertificateOutline(trusted.span)
        #expect(outline.byteCount == pair.certificate.count)
    }

    @Test("Damaged anywhere, it is refused or read as OpenSSL reads it")
    func mutated() throws {
        let bytes = try Sample.leaf(["a.example", "*.b.example", "192.0.2.1"]).certificate
        var accepted = 0
        var refusedByBoth = 0
        for seed in 0..<12_000 {
            var random = SeededRandom(seed: UInt64(seed))
            var damaged = bytes
            for _ in 0...Int(random.next() % 3) {
                damaged[Int(random.next() % UInt64(bytes.count))] =
                    UInt8(truncatingIfNeeded: random.next())
            }
            guard let outline = try? CertificateOutline(damaged.span) else {
                refusedByBoth += Judgement(openSSL: damaged) == nil ? 1 : 0
                continue
            }
            accepted += 1
            let ours = Judgement(outline, damaged)
            // OpenSSL refuses more: it looks into keys and names.
            guard var theirs = Judgement(openSSL: damaged) else { continue }
            // Dates in other forms than RFC 5280's count as none here.
            if ours.notBefore == 0 { theirs.notBefore = 0 }
            if ours.notAfter == 0 { theirs.notAfter = 0 }
            if theirs.names.isEmpty { continue }
            #expect(ours == theirs, "seed \(seed)")
        }
        #expect(accepted > 500 && refusedByBoth > 500, "\(accepted), \(refusedByBoth)")
    }

    @Test("Damaged keys are refused or read, never a trap")
    func mutatedKeys() throws {
        let pair = try Sample.leaf(["a.example"], key: .rsa2048)
        let outline = try CertificateOutline(pair.certificate.span)
        var read = 0
        for seed in 0..<20_000 {
            var random = SeededRandom(seed: UInt64(seed))
            var damaged = pair.key
            damaged[Int(random.next() % UInt64(damaged.count))] =
                UInt8(truncatingIfNeeded: random.next())
            for form in [PrivateKeyOutline.Form.pkcs8, .sec1, .pkcs1] {
                guard let key = try? PrivateKeyOutline(damaged.span, form: form) else { continue }
                read += 1
                _ = key.isPair(damaged.span, with: outline, pair.certificate.span)
            }
        }
        #expect(read > 1_000)
    }

    @Test(
        "Lengths that are indefinite, not minimal or too long are refused",
        arguments: [
            [0x30, 0x80, 0, 0], [0x30, 0x81, 0x05, 2, 1, 0, 5, 0], [0x30, 0x85, 1, 1, 1, 1, 1],
            [0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], [0x30, 0x82, 0, 0x81],
        ] as [[UInt8]])
    func lengths(bytes: [UInt8]) {
        var cursor = DERCursor(0..<bytes.count)
        #expect(throws: X509Violation.badLength) { try cursor.next(bytes.span) }
    }

    @Test("An element never reaches beyond the one around it")
    func nesting() throws {
        let bytes: [UInt8] = [0x30, 3, 2, 5, 1, 9, 9, 9]
        var outer = DERCursor(0..<bytes.count)
        var inner = DERCursor(try outer.next(bytes.span))

        #expect(throws: X509Violation.truncated) { try inner.next(bytes.span) }
        #expect(!outer.isAtEnd)
    }
}
