internal import EdgeHTTP

/// What the fields of one message say about framing and the connection, gathered field by field.
/// One per head, on the stack.
struct MessageControls {
    /// Connection options that neither of us knows, bounded, because each is searched for in all
    /// fields.
    private static let namedFieldsMax = 32

    private(set) var contentLength: UInt64?
    private(set) var isChunked = false
    private(set) var saysClose = false
    private(set) var saysKeepAlive = false
    private(set) var saysUpgrade = false
    private(set) var offersWebSocket = false
    /// The value of the last Upgrade field.
    private(set) var upgrade = ByteRange.none
    /// Connection names a field that is no trailer of ours to forward.
    private(set) var namesTrailers = false
    private var namedFields = 0

    /// Takes note of one field. Host, TE and Expect are the request parser's own business.
    mutating func note(
        _ field: Field, _ bytes: Span<UInt8>, versionMinor: UInt8
    ) throws(HTTP1Violation) {
        switch field.name {
        case .contentLength:
            // Rule: one field, even if a second one were equal.
            guard contentLength == nil else { throw .conflictingContentLength }
            contentLength = try Self.length(bytes, field.value.indices)
        case .transferEncoding:
            guard versionMinor >= 1 else { throw .transferCodingIn10 }
            guard !isChunked else { throw .badTransferCoding }
            try Self.checkCoding(bytes, field.value)
            isChunked = true
        case .connection:
            try noteConnection(field.value, bytes)
        case .upgrade:
            // An offer may be ignored, so one that is not a list of tokens (`h2c/1`) is no error.
            if ByteScan.list(bytes, field.value, contains: "websocket") { offersWebSocket = true }
            upgrade = field.value
        default: break
        }
    }

    /// Checks what only all fields together show, and marks the fields that Connection names.
    mutating func finish(
        _ fields: inout FieldList, _ bytes: Span<UInt8>
    ) throws(HTTP1Violation) {
        // RFC 9112 §6.3: "ought to be handled as an error".
        if isChunked, contentLength != nil { throw .lengthAndChunked }
        guard namedFields > 0 else { return }
        for index in 0..<fields.count where fields[index].name == .connection {
            var options = TokenList(fields[index].value)
            while let option = try options.next(bytes, orThrow: .badConnectionOption) {
                Self.mark(option, in: &fields, bytes)
            }
        }
    }

    private mutating func noteConnection(
        _ value: ByteRange, _ bytes: Span<UInt8>
    ) throws(HTTP1Violation) {
        var options = TokenList(value)
        while let option = try options.next(bytes, orThrow: .badConnectionOption) {
            if ByteScan.matches(bytes, option, "keep-alive") {
                saysKeepAlive = true
            } else if ByteScan.matches(bytes, option, "close") {
                saysClose = true
            } else if ByteScan.matches(bytes, option, "upgrade") {
                saysUpgrade = true
            } else {
                namedFields += 1
                guard namedFields <= Self.namedFieldsMax else { throw .badConnectionOption }
                let name = FieldName.identify(bytes, ByteRange(option))
                if name.isAllowedInTrailers { namesTrailers = true }
            }
        }
    }

    /// Marks every field of that name as ending here, but never Host and framing, which would turn
    /// the field against the next reader, nor CDN-Loop, which nobody may take away (RFC 8586 §2).
    private static func mark(
        _ option: Range<Int>, in fields: inout FieldList, _ bytes: Span<UInt8>
    ) {
        for index in 0..<fields.count {
            let field = fields[index]
            guard field.name != .host, field.name != .contentLength, field.name != .cdnLoop,
                ByteScan.matches(bytes, option, field.nameRange.indices)
            else { continue }
            fields.setFlag(.hopByHop, at: index)
        }
    }

    /// Digits only, at most 2^63 - 1 (RFC 9110 §8.6).
    private static func length(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(HTTP1Violation) -> UInt64 {
        guard !range.isEmpty, range.count <= 32 else { throw .badContentLength }
        var length: UInt64 = 0
        for position in range {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit < 10 else {
                throw bytes[position] == ByteScan.comma
                    ? .conflictingContentLength : .badContentLength
            }
            guard length <= (UInt64(Int64.max) - UInt64(digit)) / 10 else {
                throw .badContentLength
            }
            length = length * 10 + UInt64(digit)
        }
        return length
    }

    /// Exactly `chunked`. Another single token is a coding that we do not know (501).
    private static func checkCoding(
        _ bytes: Span<UInt8>, _ value: ByteRange
    ) throws(HTTP1Violation) {
        let range = value.indices
        if ByteScan.matches(bytes, range, "chunked") { return }
        guard !range.isEmpty else { throw .badTransferCoding }
        for position in range where !ByteScan.isToken(bytes[position]) {
            throw .badTransferCoding
        }
        throw .unknownTransferCoding
    }
}
