internal import EdgeHTTP

/// Parses field lines, of heads and of trailer sections alike (RFC 9112 §5).
enum FieldParser {
    /// Parses the line at `position` and moves behind its CRLF. The line must not be the empty one.
    @inline(__always)
    static func line(
        _ bytes: Span<UInt8>, at position: inout Int
    ) throws(HTTP1Violation) -> Field {
        let start = position
        let (colon, hasUnderscore) = ByteScan.endOfToken(bytes, from: start)
        guard colon > start, colon < bytes.count, bytes[colon] == ByteScan.colon else {
            throw nameViolation(bytes, start: start, at: colon)
        }
        var valueStart = colon + 1
        while valueStart < bytes.count, ByteScan.isBlank(bytes[valueStart]) { valueStart += 1 }
        let lineEnd = ByteScan.endOfValue(bytes, from: valueStart)
        guard lineEnd + 1 < bytes.count, bytes[lineEnd] == ByteScan.cr,
            bytes[lineEnd + 1] == ByteScan.lf
        else {
            throw valueViolation(bytes, at: lineEnd)
        }
        position = lineEnd + 2
        var valueEnd = lineEnd
        while valueEnd > valueStart, ByteScan.isBlank(bytes[valueEnd - 1]) { valueEnd -= 1 }
        let nameRange = ByteRange(start..<colon)
        var flags: Field.Flags = []
        if hasUnderscore { flags.insert(.underscore) }
        if valueEnd == lineEnd, valueStart == colon + 2, bytes[colon + 1] == ByteScan.space {
            flags.insert(.canonical)
        }
        let name = FieldName.identify(bytes, nameRange)
        if name.isHopByHop { flags.insert(.hopByHop) }
        return Field(
            name: name, nameRange: nameRange, value: ByteRange(valueStart..<valueEnd), flags: flags)
    }

    /// Parses lines up to and including the empty one; returns the index behind it.
    ///
    /// - Throws: `.tooManyFields` beyond `max` lines, or what is wrong with a line.
    static func section(
        _ bytes: Span<UInt8>, from start: Int, into fields: inout FieldList, max: Int
    ) throws(HTTP1Violation) -> Int {
        var position = start
        while position < bytes.count, bytes[position] != ByteScan.cr {
            let field: Field
            do {
                field = try line(bytes, at: &position)
            } catch {
                // A fold continues a line; before the first line it continues nothing.
                throw error == .obsFold && fields.count == 0 ? .leadingWhitespace : error
            }
            guard fields.count < max, fields.append(field) else { throw .tooManyFields }
        }
        guard position + 1 < bytes.count, bytes[position + 1] == ByteScan.lf else { throw .bareCR }
        return position + 2
    }

    @inline(never)
    private static func nameViolation(
        _ bytes: Span<UInt8>, start: Int, at position: Int
    ) -> HTTP1Violation {
        guard position < bytes.count else { return .missingColon }
        let byte = bytes[position]
        if byte == ByteScan.lf { return .bareLF }
        if position == start {
            if byte == ByteScan.colon { return .emptyFieldName }
            return ByteScan.isBlank(byte) ? .obsFold : .badFieldName
        }
        if byte == ByteScan.cr {
            let isLineEnd = position + 1 < bytes.count && bytes[position + 1] == ByteScan.lf
            return isLineEnd ? .missingColon : .bareCR
        }
        return ByteScan.isBlank(byte) ? .whitespaceBeforeColon : .badFieldName
    }

    @inline(never)
    private static func valueViolation(_ bytes: Span<UInt8>, at position: Int) -> HTTP1Violation {
        guard position < bytes.count else { return .bareCR }
        return switch bytes[position] {
        case 0: .nulInValue
        case ByteScan.lf: .bareLF
        case ByteScan.cr: .bareCR
        default: .controlInValue
        }
    }
}
