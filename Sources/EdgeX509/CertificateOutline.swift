/// What a certificate says of itself, as places in its DER bytes: enough to know when it is served
/// and which key it needs, read in about a microsecond. OpenSSL parses the whole on first use.
package struct CertificateOutline: Sendable {
    /// How long the certificate is; what follows does not belong to it.
    package let byteCount: Int
    /// The contents of the GeneralNames (RFC 5280 §4.2.1.6); empty: it has no alternative name.
    package let alternativeNames: Range<Int>
    /// Seconds since 1970; 0: in a form that RFC 5280 §4.1.2.5 does not allow.
    package let notBefore: Int64
    package let notAfter: Int64
    package let algorithm: KeyAlgorithm
    /// The distinguished names (RFC 5280 §4.1.2.4, .6), with tag and length.
    package let issuer: Range<Int>
    package let subject: Range<Int>
    /// Nil: the digest that the issuer has signed is not known to be broken.
    package let brokenDigest: BrokenDigest?
    let publicKey: PublicKeyOutline

    private static let version: UInt8 = 0xA0
    private static let issuerUniqueID: UInt8 = 0x81
    private static let subjectUniqueID: UInt8 = 0x82
    private static let extensionList: UInt8 = 0xA3
    private static let dnsName: UInt8 = 0x82

    /// - Parameter bytes: DER that begins with a certificate.
    /// - Throws: what is not as RFC 5280 §4.1 has it. Signatures are not looked at.
    package init(_ bytes: Span<UInt8>) throws(X509Violation) {
        var outer = DERCursor(0..<bytes.count)
        let certificate = try outer.next(bytes, DERCursor.sequence)
        byteCount = certificate.end
        var parts = DERCursor(certificate)
        let body = try parts.next(bytes, DERCursor.sequence)
        let signature = try AlgorithmOutline(bytes, try parts.next(bytes, DERCursor.sequence))
        brokenDigest = BrokenDigest(bytes, signature.identifier)
        try Self.requireBits(bytes, try parts.next(bytes, DERCursor.bitString))
        try parts.finish()

        var fields = DERCursor(body)
        if let version = try fields.optional(bytes, Self.version) {
            var inner = DERCursor(version)
            _ = try inner.next(bytes, DERCursor.integer)
            try inner.finish()
        }
        guard try !fields.next(bytes, DERCursor.integer).isEmpty else {
            throw .unexpectedElement
        }
        _ = try AlgorithmOutline(bytes, try fields.next(bytes, DERCursor.sequence))
        issuer = try Self.name(bytes, try fields.next(bytes, DERCursor.sequence))
        var validity = DERCursor(try fields.next(bytes, DERCursor.sequence))
        notBefore = try Self.time(bytes, try validity.next(bytes))
        notAfter = try Self.time(bytes, try validity.next(bytes))
        try validity.finish()
        subject = try Self.name(bytes, try fields.next(bytes, DERCursor.sequence))
        (algorithm, publicKey) = try Self.key(bytes, try fields.next(bytes, DERCursor.sequence))
        _ = try fields.optional(bytes, Self.issuerUniqueID)
        _ = try fields.optional(bytes, Self.subjectUniqueID)
        if let list = try fields.optional(bytes, Self.extensionList) {
            alternativeNames = try Self.extensions(bytes, list)
        } else {
            alternativeNames = 0..<0
        }
        try fields.finish()
    }

    /// How many bits an RSA key's modulus has; nil: of another kind.
    ///
    /// - Parameter bytes: what `init` has accepted.
    package func modulusBits(_ bytes: Span<UInt8>) -> Int? {
        guard case .modulus(let range, _) = publicKey else { return nil }
        var start = range.lowerBound
        while start < range.upperBound, bytes[start] == 0 { start += 1 }
        guard start < range.upperBound else { return 0 }
        return (range.upperBound - start) * 8 - bytes[start].leadingZeroBitCount
    }

    /// Calls `body` with the place of every DNS name that can be matched: visible ASCII, letter
    /// case as written. `names` and `bytes` are what `init` has accepted.
    package static func forEachName(
        _ bytes: Span<UInt8>, in names: Range<Int>, _ body: (Range<Int>) -> Void
    ) {
        var cursor = DERCursor(names)
        while !cursor.isAtEnd, let element = try? cursor.next(bytes) {
            guard element.tag == dnsName, isMatchable(bytes, element.content) else { continue }
            body(element.content)
        }
    }

    /// A name with control or space bytes could only ever match by mistake.
    private static func isMatchable(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard (1...255).contains(range.count) else { return false }
        for index in range where bytes[index] <= 0x20 || bytes[index] >= 0x7F { return false }
        return true
    }

    // MARK: - Parts

    private static func requireBits(
        _ bytes: Span<UInt8>, _ element: DERElement
    ) throws(X509Violation) {
        // The first byte says how many bits of the last one do not count.
        guard !element.isEmpty, bytes[element.content.lowerBound] < 8 else {
            throw .unexpectedElement
        }
    }

    /// RFC 5280 §4.1.2.4: a sequence of sets of pairs of a type and a value.
    private static func name(
        _ bytes: Span<UInt8>, _ element: DERElement
    ) throws(X509Violation) -> Range<Int> {
        var relatives = DERCursor(element)
        while !relatives.isAtEnd {
            var pairs = DERCursor(try relatives.next(bytes, DERCursor.set))
            guard !pairs.isAtEnd else { throw .unexpectedElement }
            while !pairs.isAtEnd {
                var pair = DERCursor(try pairs.next(bytes, DERCursor.sequence))
                _ = try pair.next(bytes, DERCursor.objectIdentifier)
                _ = try pair.next(bytes)
                try pair.finish()
            }
        }
        return element.start..<element.end
    }

    private static func key(
        _ bytes: Span<UInt8>, _ element: DERElement
    ) throws(X509Violation) -> (KeyAlgorithm, PublicKeyOutline) {
        var parts = DERCursor(element)
        let identifier = try AlgorithmOutline(bytes, try parts.next(bytes, DERCursor.sequence))
        let bits = try parts.next(bytes, DERCursor.bitString)
        try requireBits(bytes, bits)
        try parts.finish()
        let contents = bits.content.lowerBound + 1..<bits.end
        switch identifier.algorithm {
        case .ecdsa: return (.ecdsa, .point(contents, curve: identifier.parameters))
        case .rsa:
            var outer = DERCursor(contents)
            var numbers = DERCursor(try outer.next(bytes, DERCursor.sequence))
            let modulus = try numbers.next(bytes, DERCursor.integer).content
            let exponent = try numbers.next(bytes, DERCursor.integer).content
            try numbers.finish()
            return (.rsa, .modulus(modulus, exponent: exponent))
        case .ed25519, .other: return (identifier.algorithm, .unknown)
        }
    }

    /// RFC 5280 §4.2: each extension once.
    private static func extensions(
        _ bytes: Span<UInt8>, _ element: DERElement
    ) throws(X509Violation) -> Range<Int> {
        var outer = DERCursor(element)
        var list = DERCursor(try outer.next(bytes, DERCursor.sequence))
        try outer.finish()
        var names: Range<Int>?
        while !list.isAtEnd {
            var parts = DERCursor(try list.next(bytes, DERCursor.sequence))
            let identifier = try parts.next(bytes, DERCursor.objectIdentifier).content
            _ = try parts.optional(bytes, DERCursor.boolean)
            let value = try parts.next(bytes, DERCursor.octetString)
            try parts.finish()
            // 2.5.29.17
            guard identifier.count == 3, bytes[identifier.lowerBound] == 0x55,
                bytes[identifier.lowerBound + 1] == 0x1D, bytes[identifier.lowerBound + 2] == 17
            else { continue }
            guard names == nil else { throw .duplicateExtension }
            var inner = DERCursor(value)
            let found = try inner.next(bytes, DERCursor.sequence)
            try inner.finish()
            var general = DERCursor(found)
            while !general.isAtEnd { _ = try general.next(bytes) }
            names = found.content
        }
        return names ?? 0..<0
    }

    // MARK: - Time

    /// RFC 5280 §4.1.2.5: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after.
    private static func time(
        _ bytes: Span<UInt8>, _ element: DERElement
    ) throws(X509Violation) -> Int64 {
        let isShort = element.tag == DERCursor.utcTime
        guard isShort || element.tag == DERCursor.generalizedTime else {
            throw .unexpectedElement
        }
        let yearDigits = isShort ? 2 : 4
        let start = element.content.lowerBound
        guard element.content.count == yearDigits + 11, bytes[element.end - 1] == UInt8(ascii: "Z")
        else { return 0 }
        for index in start..<element.end - 1 where !(0x30...0x39).contains(bytes[index]) {
            return 0
        }
        func number(_ offset: Int, _ digits: Int) -> Int {
            var value = 0
            for index in 0..<digits { value = value * 10 + Int(bytes[start + offset + index]) - 48 }
            return value
        }
        var year = number(0, yearDigits)
        if isShort { year += year < 50 ? 2000 : 1900 }
        let month = number(yearDigits, 2)
        let day = number(yearDigits + 2, 2)
        let hour = number(yearDigits + 4, 2)
        let minute = number(yearDigits + 6, 2)
        let second = number(yearDigits + 8, 2)
        guard (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 60
        else { return 0 }
        return Int64(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
    }

    /// Days from 1970-01-01 in the Gregorian calendar; the year is counted from March, so that the
    /// day that leap years add is its last.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        // Years 0…9999 as four digits say them; before March of year 0 nothing is certified.
        let era = max(shifted, 0) / 400
        let yearOfEra = max(shifted, 0) - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
