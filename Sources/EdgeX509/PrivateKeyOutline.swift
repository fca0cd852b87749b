/// A private key's form and, where it says so, its public half: so that a pair can be told from a
/// mismatch without arithmetic. Secret bytes are passed over, never copied.
package struct PrivateKeyOutline: Sendable {
    /// How the key is written; the label of its PEM block says which.
    package enum Form: UInt8, Sendable {
        /// RFC 5958: `PRIVATE KEY`.
        case pkcs8
        /// RFC 5915: `EC PRIVATE KEY`.
        case sec1
        /// RFC 8017 §A.1.2: `RSA PRIVATE KEY`.
        case pkcs1
    }

    package let form: Form
    package let algorithm: KeyAlgorithm
    private let publicKey: PublicKeyOutline

    private static let parameters: UInt8 = 0xA0
    private static let publicPoint: UInt8 = 0xA1

    /// - Parameter bytes: DER that is a key of `form` and nothing else.
    package init(_ bytes: Span<UInt8>, form: Form) throws(X509Violation) {
        self.form = form
        var outer = DERCursor(0..<bytes.count)
        let key = try outer.next(bytes, DERCursor.sequence)
        try outer.finish()
        switch form {
        case .pkcs8: (algorithm, publicKey) = try Self.pkcs8(bytes, key)
        case .sec1:
            algorithm = .ecdsa
            publicKey = try Self.sec1(bytes, key, curve: 0..<0)
        case .pkcs1:
            algorithm = .rsa
            publicKey = try Self.pkcs1(bytes, key)
        }
    }

    /// Whether the public halves are the same bytes. False does not say that they are no pair: the
    /// key may not say its public half, or say it in another form.
    package func isPair(
        _ own: Span<UInt8>, with certificate: CertificateOutline, _ bytes: Span<UInt8>
    ) -> Bool {
        switch (publicKey, certificate.publicKey) {
        case (.point(let point, let curve), .point(let other, let otherCurve)):
            return equalBytes(own, point, bytes, other)
                && (curve.isEmpty || equalBytes(own, curve, bytes, otherCurve))
        case (.modulus(let modulus, let exponent), .modulus(let other, let otherExponent)):
            return equalBytes(own, modulus, bytes, other)
                && equalBytes(own, exponent, bytes, otherExponent)
        case (.point, _), (.modulus, _), (.unknown, _): return false
        }
    }

    // MARK: - Forms

    private static func pkcs8(
        _ bytes: Span<UInt8>, _ key: DERElement
    ) throws(X509Violation) -> (KeyAlgorithm, PublicKeyOutline) {
        var parts = DERCursor(key)
        _ = try parts.next(bytes, DERCursor.integer)
        let identifier = try AlgorithmOutline(bytes, try parts.next(bytes, DERCursor.sequence))
        let secret = try parts.next(bytes, DERCursor.octetString)
        while !parts.isAtEnd { _ = try parts.next(bytes) }
        switch identifier.algorithm {
        case .ecdsa:
            var inner = DERCursor(secret)
            let own = try inner.next(bytes, DERCursor.sequence)
            return (.ecdsa, try sec1(bytes, own, curve: identifier.parameters))
        case .rsa:
            var inner = DERCursor(secret)
            return (.rsa, try pkcs1(bytes, try inner.next(bytes, DERCursor.sequence)))
        case .ed25519, .other: return (identifier.algorithm, .unknown)
        }
    }

    private static func sec1(
        _ bytes: Span<UInt8>, _ key: DERElement, curve outer: Range<Int>
    ) throws(X509Violation) -> PublicKeyOutline {
        var parts = DERCursor(key)
        _ = try parts.next(bytes, DERCursor.integer)
        _ = try parts.next(bytes, DERCursor.octetString)
        let curve = try parts.optional(bytes, parameters)?.content ?? outer
        guard let wrapped = try parts.optional(bytes, publicPoint) else { return .unknown }
        try parts.finish()
        var inner = DERCursor(wrapped)
        let bits = try inner.next(bytes, DERCursor.bitString)
        guard bits.content.count > 1 else { return .unknown }
        return .point(bits.content.lowerBound + 1..<bits.end, curve: curve)
    }

    private static func pkcs1(
        _ bytes: Span<UInt8>, _ key: DERElement
    ) throws(X509Violation) -> PublicKeyOutline {
        var parts = DERCursor(key)
        _ = try parts.next(bytes, DERCursor.integer)
        let modulus = try parts.next(bytes, DERCursor.integer).content
        let exponent = try parts.next(bytes, DERCursor.integer).content
        // The private exponent, two primes, two exponents, the coefficient.
        for _ in 0..<6 { _ = try parts.next(bytes, DERCursor.integer) }
        return .modulus(modulus, exponent: exponent)
    }
}
