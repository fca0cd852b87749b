/// Why bytes are no certificate or key. Nothing of what offends is used.
package enum X509Violation: Error, Equatable, Sendable {
    // The text around the bytes (RFC 7468).
    /// A BEGIN line without its END line.
    case openBlock
    /// A line that is neither base64 nor a known header.
    case notBase64
    // The bytes (X.690 §10, RFC 5280 §4.1).
    /// An element reaches beyond the one around it.
    case truncated
    /// A length that is indefinite, not minimal or beyond 2³¹.
    case badLength
    /// Another element than this place asks for.
    case unexpectedElement
    /// Bytes after the last element of a structure.
    case surplusBytes
    case duplicateExtension
    /// A private key under a password.
    case encrypted

    /// For people.
    package var text: String {
        switch self {
        case .openBlock: "a block has no end line"
        case .notBase64: "a line is not base64"
        case .truncated: "it is cut off"
        case .badLength: "a length is not DER"
        case .unexpectedElement: "an element is not what it should be"
        case .surplusBytes: "there are bytes behind its end"
        case .duplicateExtension: "an extension appears twice"
        case .encrypted: "it is encrypted"
        }
    }
}

/// One element of DER: where it begins and where its contents are.
struct DERElement {
    let tag: UInt8
    let start: Int
    let content: Range<Int>

    var end: Int { content.upperBound }

    var isEmpty: Bool { content.isEmpty }
}

/// Walks the elements of one level. Holds positions only, never bytes: the bytes are handed in
/// with each call and every access to them is checked.
struct DERCursor {
    private(set) var position: Int
    let end: Int

    static let boolean: UInt8 = 0x01
    static let integer: UInt8 = 0x02
    static let bitString: UInt8 = 0x03
    static let octetString: UInt8 = 0x04
    static let objectIdentifier: UInt8 = 0x06
    static let utcTime: UInt8 = 0x17
    static let generalizedTime: UInt8 = 0x18
    static let sequence: UInt8 = 0x30
    static let set: UInt8 = 0x31

    init(_ range: Range<Int>) {
        position = range.lowerBound
        end = range.upperBound
    }

    init(_ element: DERElement) { self.init(element.content) }

    var isAtEnd: Bool { position == end }

    /// The next element, whatever it is (X.690 §8.1: identifier, length, contents).
    mutating func next(_ bytes: Span<UInt8>) throws(X509Violation) -> DERElement {
        let start = position
        // `end` is never beyond the bytes: it is checked here for the outermost level only.
        guard end <= bytes.count, end - start >= 2 else { throw .truncated }
        let tag = bytes[start]
        // Identifiers of several bytes occur in no certificate.
        guard tag & 0x1F != 0x1F else { throw .unexpectedElement }
        var count = Int(bytes[start + 1])
        var content = start + 2
        if count >= 0x80 {
            let lengthBytes = count & 0x7F
            guard (1...4).contains(lengthBytes) else { throw .badLength }
            guard lengthBytes <= end - content else { throw .truncated }
            count = 0
            for offset in 0..<lengthBytes { count = count << 8 | Int(bytes[content + offset]) }
            // X.690 §10.1: the shortest form only.
            guard count >= 0x80, count >> (8 * (lengthBytes - 1)) != 0, count <= Int(Int32.max)
            else { throw .badLength }
            content += lengthBytes
        }
        guard count <= end - content else { throw .truncated }
        position = content + count
        return DERElement(tag: tag, start: start, content: content..<content + count)
    }

    /// The next element, which must have this tag.
    mutating func next(
        _ bytes: Span<UInt8>, _ tag: UInt8
    ) throws(X509Violation) -> DERElement {
        let element = try next(bytes)
        guard element.tag == tag else { throw .unexpectedElement }
        return element
    }

    /// The next element if it has this tag; else nothing is taken.
    mutating func optional(
        _ bytes: Span<UInt8>, _ tag: UInt8
    ) throws(X509Violation) -> DERElement? {
        guard position < end, end <= bytes.count, bytes[position] == tag else { return nil }
        return try next(bytes)
    }

    /// - Throws: `surplusBytes` if anything follows.
    func finish() throws(X509Violation) {
        guard isAtEnd else { throw .surplusBytes }
    }
}

/// Whether two ranges of two spans hold the same bytes.
func equalBytes(
    _ a: Span<UInt8>, _ aRange: Range<Int>, _ b: Span<UInt8>, _ bRange: Range<Int>
) -> Bool {
    guard aRange.count == bRange.count else { return false }
    for offset in 0..<aRange.count
    where a[aRange.lowerBound + offset] != b[bRange.lowerBound + offset] {
        return false
    }
    return true
}
