/// What kind of key a certificate certifies.
package enum KeyAlgorithm: UInt8, Sendable, CaseIterable {
    case ecdsa, rsa, ed25519, other
}

/// A digest that collisions are known of: whoever can have one certificate signed with it can forge
/// another (RFC 9155, RFC 6151).
package enum BrokenDigest: String, Sendable, CaseIterable {
    case md5 = "MD5"
    case sha1 = "SHA-1"

    // 1.2.840.113549.1.1, without the last number: 2 to 4 are MD2, MD4 and MD5, 5 is SHA-1.
    private static let rsa: InlineArray<8, UInt8> = [
        0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01,
    ]
    /// 1.2.840.10045.4.1, ECDSA with SHA-1.
    private static let ecdsa: InlineArray<7, UInt8> = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01]
    /// 1.2.840.10040.4.3, DSA with SHA-1.
    private static let dsa: InlineArray<7, UInt8> = [0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x03]
    /// 1.3.14.3.2.29, another name of RSA with SHA-1.
    private static let oiw: InlineArray<5, UInt8> = [0x2B, 0x0E, 0x03, 0x02, 0x1D]

    /// - Parameter identifier: contents of a signature's algorithm.
    init?(_ bytes: Span<UInt8>, _ identifier: Range<Int>) {
        func isIdentifier(_ known: Span<UInt8>) -> Bool {
            equalBytes(bytes, identifier, known, 0..<known.count)
        }
        if isIdentifier(Self.ecdsa.span) || isIdentifier(Self.dsa.span)
            || isIdentifier(Self.oiw.span)
        {
            self = .sha1
            return
        }
        guard identifier.count == Self.rsa.count + 1,
            equalBytes(
                bytes, identifier.lowerBound..<identifier.upperBound - 1, Self.rsa.span,
                0..<Self.rsa.count)
        else { return nil }
        switch bytes[identifier.upperBound - 1] {
        case 2...4: self = .md5
        case 5: self = .sha1
        default: return nil
        }
    }
}

/// An AlgorithmIdentifier (RFC 5280 §4.1.1.2): which, and where its parameters are.
struct AlgorithmOutline {
    let algorithm: KeyAlgorithm
    /// Contents of the object identifier.
    let identifier: Range<Int>
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
        self.identifier = identifier
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
