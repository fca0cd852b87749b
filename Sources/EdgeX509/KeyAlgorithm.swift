/// What kind of key a certificate certifies.
package enum KeyAlgorithm: UInt8, Sendable, CaseIterable {
    case ecdsa, rsa, ed25519, other
}

/// An AlgorithmIdentifier (RFC 5280 §4.1.1.2): which, and where its parameters are.
struct AlgorithmOutline {
    let algorithm: KeyAlgorithm
    /// With tag and length; empty: there are none. Of an EC key: the curve.
    let parameters: Range<Int>

    private static let rsa: InlineArray<9, UInt8> = [
        0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01,
    ]
    private static let ec: InlineArray<7, UInt8> = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]
    private static let ed25519: InlineArray<3, UInt8> = [0x2B, 0x65, 0x70]

    init(_ bytes: Span<UInt8>, _ element: DERElement) throws(X509Violation) {
        var cursor = DERCursor(element)
        let identifier = try cursor.next(bytes, DERCursor.objectIdentifier).content
        if cursor.isAtEnd {
            parameters = cursor.end..<cursor.end
        } else {
            let found = try cursor.next(bytes)
            parameters = found.start..<found.end
        }
        try cursor.finish()
        if Self.isEqual(bytes, identifier, Self.ec.span) {
            algorithm = .ecdsa
        } else if Self.isEqual(bytes, identifier, Self.rsa.span) {
            algorithm = .rsa
        } else if Self.isEqual(bytes, identifier, Self.ed25519.span) {
            algorithm = .ed25519
        } else {
            algorithm = .other
        }
    }

    private static func isEqual(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ known: Span<UInt8>
    ) -> Bool {
        equalBytes(bytes, range, known, 0..<known.count)
    }
}

/// The public half of a key as far as it can be compared byte for byte.
enum PublicKeyOutline {
    /// Contents of the point; the curve with tag and length, empty if it is not said.
    case point(Range<Int>, curve: Range<Int>)
    /// Contents of both integers.
    case modulus(Range<Int>, exponent: Range<Int>)
    /// Only OpenSSL can tell.
    case unknown
}
