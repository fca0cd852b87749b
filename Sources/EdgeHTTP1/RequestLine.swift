internal import EdgeHTTP

/// The first line of a request, taken apart (RFC 9112 §3).
struct RequestLine {
    let method: Method
    let methodRange: ByteRange
    /// Origin-form, or `*`.
    let target: ByteRange
    let isAsterisk: Bool
    /// The target is a query that `/` goes in front of.
    let lacksPath: Bool
    /// Of an absolute-form target.
    let authority: ByteRange?
    let versionMinor: UInt8
    /// With its CRLF.
    let byteCount: Int

    /// - Throws: what is wrong with the line, first offence first.
    init(_ bytes: Span<UInt8>, limits: HeadLimits) throws(HTTP1Violation) {
        var position = 0
        while position < bytes.count, ByteScan.isToken(bytes[position]) { position += 1 }
        guard position > 0, position < bytes.count else { throw .badMethod }
        guard bytes[position] == ByteScan.space else {
            throw bytes[position] == ByteScan.cr ? .badRequestLine : .badMethod
        }
        methodRange = ByteRange(0..<position)
        method = Self.method(bytes, position)

        let targetStart = position + 1
        let targetEnd = ByteScan.endOfTarget(bytes, from: targetStart)
        guard targetEnd > targetStart, targetEnd < bytes.count else { throw .badTarget }
        guard bytes[targetEnd] == ByteScan.space else {
            guard bytes[targetEnd] == ByteScan.cr else { throw .badTarget }
            let isLineEnd = targetEnd + 1 < bytes.count && bytes[targetEnd + 1] == ByteScan.lf
            throw isLineEnd ? .http09 : .bareCR
        }
        guard targetEnd + 11 <= limits.requestLineBytesMax + 2 else { throw .targetTooLong }
        versionMinor = try Self.version(bytes, at: targetEnd + 1)
        byteCount = targetEnd + 11
        if method == .connect { throw .connectRefused }

        let first = bytes[targetStart]
        if first == UInt8(ascii: "/") {
            target = ByteRange(targetStart..<targetEnd)
            isAsterisk = false
            lacksPath = false
            authority = nil
        } else if first == UInt8(ascii: "*") {
            guard targetEnd == targetStart + 1, method == .options else { throw .badTarget }
            target = ByteRange(targetStart..<targetEnd)
            isAsterisk = true
            lacksPath = false
            authority = nil
        } else {
            let parts = try Self.absoluteForm(bytes, targetStart..<targetEnd)
            authority = parts.authority
            target = parts.target
            isAsterisk = parts.form == .empty && method == .options
            lacksPath = parts.form == .queryOnly
        }
    }

    /// What stands behind the authority of an absolute-form target.
    private enum AbsoluteForm { case path, queryOnly, empty }

    /// RFC 9112 §3.2.2. The path of a target without one is `/`, and there is one in `://` to
    /// point to; in front of a query right behind the authority there is none.
    private static func absoluteForm(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(HTTP1Violation) -> (authority: ByteRange, target: ByteRange, form: AbsoluteForm) {
        var start = range.lowerBound
        if hasPrefix(bytes, range, "http://") {
            start += 7
        } else if hasPrefix(bytes, range, "https://") {
            start += 8
        } else {
            throw .badTarget
        }
        var position = start
        while position < range.upperBound, bytes[position] != UInt8(ascii: "/"),
            bytes[position] != UInt8(ascii: "?")
        {
            position += 1
        }
        let authority = ByteRange(start..<position)
        guard position < range.upperBound else {
            return (authority, ByteRange(start - 1..<start), .empty)
        }
        let rest = ByteRange(position..<range.upperBound)
        return (authority, rest, bytes[position] == UInt8(ascii: "/") ? .path : .queryOnly)
    }

    private static func hasPrefix(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ text: StaticString
    ) -> Bool {
        let count = text.utf8CodeUnitCount
        guard range.count >= count else { return false }
        let start = range.lowerBound
        return ByteScan.matches(bytes, start..<start + count, text)
    }

    /// True if the line, its CRLF left out, ends with a version that we speak.
    static func hasVersion(_ bytes: Span<UInt8>, _ line: Range<Int>) -> Bool {
        guard line.count >= 9 else { return false }
        let start = line.upperBound - 9
        return ByteScan.isPrefix(bytes, start..<start + 8, of: " HTTP/1.")
            && bytes[start + 8] & 0xFE == UInt8(ascii: "0")
    }

    /// `HTTP/1.0` or `HTTP/1.1`, then CRLF.
    private static func version(
        _ bytes: Span<UInt8>, at start: Int
    ) throws(HTTP1Violation) -> UInt8 {
        guard start + 10 <= bytes.count, ByteScan.isPrefix(bytes, start..<start + 5, of: "HTTP/"),
            bytes[start + 6] == UInt8(ascii: "."), bytes[start + 8] == ByteScan.cr,
            bytes[start + 9] == ByteScan.lf
        else { throw .badVersion }
        let major = bytes[start + 5] &- UInt8(ascii: "0")
        let minor = bytes[start + 7] &- UInt8(ascii: "0")
        guard major < 10, minor < 10 else { throw .badVersion }
        guard major == 1, minor <= 1 else {
            let isPreface = ByteScan.isPrefix(bytes, 0..<start, of: "PRI * ")
            throw isPreface ? .http2Preface : .unsupportedVersion
        }
        return minor
    }

    /// Methods are case-sensitive (RFC 9110 §9.1).
    private static func method(_ bytes: Span<UInt8>, _ count: Int) -> Method {
        let range = 0..<count
        switch count {
        case 3:
            if ByteScan.isPrefix(bytes, range, of: "GET") { return .get }
            if ByteScan.isPrefix(bytes, range, of: "PUT") { return .put }
        case 4:
            if ByteScan.isPrefix(bytes, range, of: "POST") { return .post }
            if ByteScan.isPrefix(bytes, range, of: "HEAD") { return .head }
        case 5:
            if ByteScan.isPrefix(bytes, range, of: "PATCH") { return .patch }
            if ByteScan.isPrefix(bytes, range, of: "TRACE") { return .trace }
        case 6:
            if ByteScan.isPrefix(bytes, range, of: "DELETE") { return .delete }
        case 7:
            if ByteScan.isPrefix(bytes, range, of: "OPTIONS") { return .options }
            if ByteScan.isPrefix(bytes, range, of: "CONNECT") { return .connect }
        default: break
        }
        return .other
    }
}
