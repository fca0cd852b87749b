import CEdge
import EdgeTesting
import Testing

@testable import EdgeX509

/// DER of minted things.
enum Sample {
    static let mint = Result { try CertificateMint() }

    /// The bytes of the first block of a text.
    static func der(_ pem: String) throws -> [UInt8] {
        let text = Array(pem.utf8)
        var reader = PEMReader()
        let block = try #require(try reader.next(text.span))
        var bytes: [UInt8] = []
        try block.decode(text.span, into: &bytes)
        return bytes
    }

    static func leaf(
        _ names: [String], key: CertificateMint.KeyKind = .ecdsaP256,
        validity: CertificateMint.Validity = .current
    ) throws -> (certificate: [UInt8], key: [UInt8]) {
        let made = try mint.get().leaf(names: names, key: key, validity: validity)
        return (try der(made.certificatePEM), try der(made.keyPEM))
    }

    static func names(_ bytes: [UInt8], _ outline: CertificateOutline) -> [String] {
        var result: [String] = []
        CertificateOutline.forEachName(bytes.span, in: outline.alternativeNames) {
            result.append(String(decoding: bytes[$0], as: UTF8.self))
        }
        return result
    }
}

/// What OpenSSL makes of a certificate; nil if it refuses it.
struct Judgement: Equatable {
    var names: [String] = []
    var notBefore: Int64 = 0
    var notAfter: Int64 = 0

    init(_ outline: CertificateOutline, _ bytes: [UInt8]) {
        names = Sample.names(bytes, outline)
        notBefore = outline.notBefore
        notAfter = outline.notAfter
    }

    init?(openSSL bytes: [UInt8]) {
        let parsed = bytes.withUnsafeBufferPointer {
            var start = $0.baseAddress
            return d2i_X509(nil, &start, $0.count)
        }
        defer {
            X509_free(parsed)
            ERR_clear_error()
        }
        guard let parsed else { return nil }
        notBefore = Self.seconds(X509_get0_notBefore(parsed))
        notAfter = Self.seconds(X509_get0_notAfter(parsed))
        guard let list = X509_get_ext_d2i(parsed, NID_subject_alt_name, nil, nil) else { return }
        let general = OpaquePointer(list)
        defer { GENERAL_NAMES_free(general) }
        for index in 0..<ce_sk_name_num(general) {
            guard let name = ce_sk_name_value(general, index), ce_name_is_dns(name) == 1 else {
                continue
            }
            var count: Int32 = 0
            let start = ce_name_bytes(name, &count)
            let text = UnsafeBufferPointer(start: start, count: Int(count))
            guard (1...255).contains(count), text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                continue
            }
            names.append(String(decoding: text, as: UTF8.self))
        }
    }

    private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = tm()
        guard let time, ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return Int64(timegm(&parts))
    }
}
