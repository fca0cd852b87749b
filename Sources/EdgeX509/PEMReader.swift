/// Takes the blocks out of PEM text (RFC 7468), one after the other, as places in the text. What
/// stands between blocks is passed over, as OpenSSL does.
package struct PEMReader: Sendable {
    package struct Block: Sendable {
        /// Between `-----BEGIN ` and `-----`.
        package let label: Range<Int>
        /// The lines between BEGIN and END.
        package let body: Range<Int>
    }

    private var position = 0
    /// Where the BEGIN line of the newest block is, whether it ended or not; 0: there was none.
    package private(set) var blockStart = 0

    private static let begin: InlineArray<11, UInt8> = [
        0x2D, 0x2D, 0x2D, 0x2D, 0x2D, 0x42, 0x45, 0x47, 0x49, 0x4E, 0x20,
    ]
    private static let end: InlineArray<9, UInt8> = [
        0x2D, 0x2D, 0x2D, 0x2D, 0x2D, 0x45, 0x4E, 0x44, 0x20,
    ]
    private static let dashCount = 5
    private static let dash = UInt8(ascii: "-")

    package init() {}

    /// - Returns: nil at the end of the text.
    /// - Throws: `openBlock` for one that does not end.
    package mutating func next(_ text: Span<UInt8>) throws(X509Violation) -> Block? {
        var label = 0..<0
        while label.isEmpty {
            guard let line = nextLine(text) else { return nil }
            label = Self.label(text, line, Self.begin.span)
            if !label.isEmpty { blockStart = line.lowerBound }
        }
        let start = position
        while true {
            let lineStart = position
            guard let line = nextLine(text) else { throw .openBlock }
            guard line.count > Self.dashCount, text[line.lowerBound] == Self.dash else { continue }
            let found = Self.label(text, line, Self.end.span)
            guard equalBytes(text, found, text, label) else { throw .openBlock }
            return Block(label: label, body: start..<lineStart)
        }
    }

    /// The number of the line that a place of the text is in, counted from 1.
    package static func line(of offset: Int, in text: Span<UInt8>) -> Int {
        var number = 1
        for index in 0..<min(offset, text.count) where text[index] == UInt8(ascii: "\n") {
            number += 1
        }
        return number
    }

    /// The next line without its end and without blanks there.
    private mutating func nextLine(_ text: Span<UInt8>) -> Range<Int>? {
        guard position < text.count else { return nil }
        let start = position
        var end = start
        while end < text.count, text[end] != UInt8(ascii: "\n") { end += 1 }
        position = min(end + 1, text.count)
        while end > start, text[end - 1] <= 0x20 { end -= 1 }
        return start..<end
    }

    /// What the line names if it begins with `mark` and ends with dashes; else empty.
    private static func label(
        _ text: Span<UInt8>, _ line: Range<Int>, _ mark: Span<UInt8>
    ) -> Range<Int> {
        guard line.count > mark.count + dashCount,
            equalBytes(
                text, line.lowerBound..<line.lowerBound + mark.count, mark, 0..<mark.count)
        else { return 0..<0 }
        let end = line.upperBound - dashCount
        for index in end..<line.upperBound where text[index] != dash { return 0..<0 }
        return line.lowerBound + mark.count..<end
    }
}

extension PEMReader.Block {
    /// What the block holds, by its label.
    package enum Kind: Sendable, Equatable {
        case certificate
        case privateKey(PrivateKeyOutline.Form)
        /// A key under a password, by its label.
        case encryptedKey
        /// A request, parameters, a list of revoked certificates: not for us.
        case other
    }

    package func kind(_ text: Span<UInt8>) -> Kind {
        func isLabel(_ word: StaticString) -> Bool {
            guard word.utf8CodeUnitCount == label.count else { return false }
            return unsafe equalBytes(
                text, label,
                Span(_unsafeStart: word.utf8Start, count: word.utf8CodeUnitCount),
                0..<label.count)
        }
        if isLabel("CERTIFICATE") || isLabel("X509 CERTIFICATE") || isLabel("TRUSTED CERTIFICATE") {
            return .certificate
        }
        if isLabel("PRIVATE KEY") { return .privateKey(.pkcs8) }
        if isLabel("EC PRIVATE KEY") { return .privateKey(.sec1) }
        if isLabel("RSA PRIVATE KEY") { return .privateKey(.pkcs1) }
        if isLabel("ENCRYPTED PRIVATE KEY") { return .encryptedKey }
        return .other
    }

    /// The block's bytes, appended to `output`.
    ///
    /// - Throws: `encrypted` for headers, which only keys under a password have (RFC 1421);
    ///   `notBase64`.
    package func decode(
        _ text: Span<UInt8>, into output: inout [UInt8]
    ) throws(X509Violation) {
        try Base64.decode(text, body, into: &output)
    }
}
