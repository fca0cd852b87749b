internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1

extension FuzzInput {
    /// The usual limits, or some that short inputs reach.
    var limits: HeadLimits {
        var limits = HeadLimits()
        if has(0) {
            limits.headBytesMax = 256
            limits.requestLineBytesMax = 64
            limits.trailersBytesMax = 32
            limits.chunkExtensionBytesMax = 8
        }
        if has(1) { limits.fieldsMax = 4 }
        return limits
    }

    /// Where a head was found, read whole or in pieces.
    func scan(_ kind: HeadScanner.Kind, inPieces: Bool) throws(Finding) -> Scanned {
        var scanner = HeadScanner(kind)
        for end in inPieces ? pieceEnds : [bytes.count] {
            let found: Int?
            do throws(HTTP1Violation) {
                found = try scanner.scan(bytes.span.extracting(first: end), limits: limits)
            } catch {
                return .refused
            }
            guard let found else { continue }
            let skipped = scanner.skippedByteCount
            try hold(skipped + found <= end, "a head ends within what was received")
            return .head(skipped..<skipped + found)
        }
        return .incomplete
    }
}

enum Scanned: Equatable {
    case head(Range<Int>)
    case incomplete, refused
}

/// Whole or in pieces, a message means the same. A refusal may come earlier in pieces, where the
/// bytes cannot become a message any more; it never replaces an acceptance.
func compare<Message: Equatable>(
    whole: Outcome<Message>, pieces: Outcome<Message>
) throws(Finding) {
    switch (whole, pieces) {
    case (.accepted(let first), .accepted(let second)):
        try hold(first == second, "in pieces it reads \(second), whole \(first)")
    case (.refused, .refused), (.incomplete, .incomplete), (.incomplete, .refused): break
    case (.accepted, _), (.refused, _), (.incomplete, _):
        throw Finding("whole: \(whole), in pieces: \(pieces)")
    }
}

enum Outcome<Message: Equatable> {
    case accepted(Message)
    case incomplete, refused
}

/// The result of what must not throw.
func accepted<Result>(
    _ rule: String, _ body: () throws(HTTP1Violation) -> Result
) throws(Finding) -> Result {
    do throws(HTTP1Violation) {
        return try body()
    } catch {
        throw Finding("\(rule): \(error)")
    }
}

/// The end-to-end fields of a message, as lines.
func lines(
    _ fields: borrowing FieldList, _ bytes: [UInt8], where isKept: (Field) -> Bool
) -> [[UInt8]] {
    var result: [[UInt8]] = []
    for index in 0..<fields.count where isKept(fields[index]) {
        let field = fields[index]
        result.append(
            Array(bytes[field.nameRange.indices]) + Array(": ".utf8)
                + Array(bytes[field.value.indices]))
    }
    return result
}

extension HeadLimits {
    /// For reading back: what we add to a head is ours to bound, not its sender's offence.
    static var wide: HeadLimits {
        var limits = HeadLimits()
        limits.headBytesMax = 1 << 20
        limits.requestLineBytesMax = 1 << 20
        limits.fieldsMax = FieldList.capacity
        return limits
    }
}

/// What the most lenient reader could see in a head of ours: no line end that is not CRLF, no fold,
/// at most one framing, `hosts` Host fields.
func checkLines(_ output: [UInt8], hosts: Int) throws(Finding) {
    try hold(output.suffix(4).elementsEqual("\r\n\r\n".utf8), "a head ends with an empty line")
    var seenHosts = 0
    var framings = 0
    var line: [UInt8] = []
    for (index, byte) in output.dropLast(2).enumerated() {
        if byte == 13 {
            try hold(output[index + 1] == 10, "a CR stands before an LF")
        } else if byte == 10 {
            try hold(index > 0 && output[index - 1] == 13, "an LF stands behind a CR")
            try hold(!line.isEmpty, "the only empty line is the last")
            try hold(line[0] != 32 && line[0] != 9, "no line is folded")
            let name = String(decoding: line.prefix { $0 != 58 }, as: UTF8.self).lowercased()
            if name == "host" { seenHosts += 1 }
            if name == "content-length" || name == "transfer-encoding" { framings += 1 }
            line = []
        } else {
            try hold(byte != 0, "no line contains a NUL")
            line.append(byte)
        }
    }
    try hold(seenHosts == hosts, "\(seenHosts) Host fields")
    try hold(framings <= 1, "\(framings) framings")
}
