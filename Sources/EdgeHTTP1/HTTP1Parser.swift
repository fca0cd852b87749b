package import EdgeHTTP

/// Parses complete heads in one pass, strictly: a message that two readers could understand
/// differently is refused, not repaired.
package enum HTTP1Parser {
    /// Parses one complete request head, as found by `HeadScanner`, leading empty lines skipped.
    /// After a throw `head` holds nothing useful.
    ///
    /// - Throws: the offence; the client gets its `status` and the connection is closed.
    // hot: once per request; no allocation, no copy.
    package static func parseRequest(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: HeadLimits
    ) throws(HTTP1Violation) {
        guard bytes.count <= limits.headBytesMax else { throw .headTooLarge }
        head.reset()
        let line = try RequestLine(bytes, limits: limits)
        head.method = line.method
        head.methodRange = line.methodRange
        head.versionMinor = line.versionMinor
        head.byteCount = try FieldParser.section(
            bytes, from: line.byteCount, into: &head.fields, max: limits.fieldsMax)
        try readRequestFields(bytes, into: &head)
        try setTarget(line, bytes, into: &head)
    }

    /// Parses one complete response head. `requestMethod` and `upgrade` are those of the request as
    /// it was forwarded: the answer cannot be framed without them (RFC 9112 §6.3).
    ///
    /// - Throws: the offence; the client gets a 502 and the upstream's connection is closed.
    // hot: once per response; no allocation, no copy.
    package static func parseResponse(
        _ bytes: Span<UInt8>, requestMethod: Method, upgrade: UpgradeProtocol,
        into head: inout ResponseHead, limits: HeadLimits
    ) throws(HTTP1Violation) {
        guard bytes.count <= limits.headBytesMax else { throw .headTooLarge }
        head.reset()
        let fieldsStart = try parseStatusLine(bytes, into: &head)
        head.byteCount = try FieldParser.section(
            bytes, from: fieldsStart, into: &head.fields, max: limits.fieldsMax)
        var controls = MessageControls()
        for index in 0..<head.fields.count {
            try controls.note(head.fields[index], bytes, versionMinor: head.versionMinor)
        }
        try controls.finish(&head.fields, bytes)
        try frameResponse(controls, bytes, requestMethod, upgrade, &head)
    }

    /// Parses a trailer section (field lines and the final empty line) into `fields`. What may not
    /// be forwarded, or only to other versions, is told by `TrailerRules`.
    ///
    /// - Throws: `.badTrailer` whatever is wrong with a line; `.tooManyFields`.
    package static func parseTrailers(
        _ bytes: Span<UInt8>, into fields: inout FieldList, limits: HeadLimits
    ) throws(HTTP1Violation) {
        fields.removeAll()
        let end: Int
        do {
            end = try FieldParser.section(bytes, from: 0, into: &fields, max: limits.fieldsMax)
        } catch {
            throw error == .tooManyFields ? .tooManyFields : .badTrailer
        }
        guard end == bytes.count else { throw .badTrailer }
    }
}

// MARK: - Requests

extension HTTP1Parser {
    private static func readRequestFields(
        _ bytes: Span<UInt8>, into head: inout RequestHead
    ) throws(HTTP1Violation) {
        var controls = MessageControls()
        var hasHost = false
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            switch field.name {
            case .other: continue
            case .host:
                guard !hasHost else { throw .duplicateHost }
                hasHost = true
                guard let host = Authority(bytes, field.value) else { throw .badHost }
                head.authority = host.whole
                head.host = host.host
                head.port = host.port
            case .expect:
                // RFC 9110 §10.1.1: the only expectation; a 1.0 client's is ignored.
                guard head.versionMinor >= 1 else { continue }
                guard ByteScan.matches(bytes, field.value.indices, "100-continue") else {
                    throw .unknownExpectation
                }
                head.expectContinue = true
            case .te:
                if ByteScan.list(bytes, field.value, contains: "trailers") {
                    head.hasTETrailers = true
                }
            case .cdnLoop: head.hasCDNLoop = true
            case .traceparent, .tracestate: head.hasTrace = true
            default: try controls.note(field, bytes, versionMinor: head.versionMinor)
            }
        }
        // RFC 9112 §3.2; for HTTP/1.0 too, as no site can be chosen without it.
        guard hasHost || head.versionMinor == 0 else { throw .missingHost }
        try controls.finish(&head.fields, bytes)
        if controls.isChunked {
            head.framing = .chunked
        } else if let length = controls.contentLength {
            head.framing = .length(length)
        }
        head.dropsTrailers = controls.namesTrailers
        head.keepAlive =
            !controls.saysClose && (head.versionMinor >= 1 || controls.saysKeepAlive)
        // Without content there is nothing to wait for (RFC 9110 §10.1.1), nothing to upgrade from.
        let hasContent = head.framing != .none && head.framing != .length(0)
        head.expectContinue = head.expectContinue && hasContent
        guard controls.saysUpgrade, head.versionMinor >= 1, !hasContent else { return }
        head.upgradeWebSocket = controls.offersWebSocket && head.method == .get
        if !head.upgradeWebSocket { head.upgradeOffer = controls.upgrade }
    }

    private static func setTarget(
        _ line: RequestLine, _ bytes: Span<UInt8>, into head: inout RequestHead
    ) throws(HTTP1Violation) {
        head.target = line.target
        head.isAsterisk = line.isAsterisk
        head.lacksPath = line.lacksPath
        if let range = line.authority {
            // RFC 9112 §3.2.2: the authority of an absolute-form target replaces Host.
            guard let authority = Authority(bytes, range) else { throw .badTarget }
            head.authority = authority.whole
            head.host = authority.host
            head.port = authority.port
        }
        guard !head.authority.isEmpty else { throw .missingHost }
    }
}

// MARK: - Responses

extension HTTP1Parser {
    /// RFC 9112 §4. The space behind a status without reason may be missing. Returns the index
    /// behind the line.
    private static func parseStatusLine(
        _ bytes: Span<UInt8>, into head: inout ResponseHead
    ) throws(HTTP1Violation) -> Int {
        guard bytes.count >= 14, ByteScan.isPrefix(bytes, 0..<7, of: "HTTP/1."),
            bytes[8] == ByteScan.space
        else { throw .badStatusLine }
        switch bytes[7] {
        case UInt8(ascii: "0"): head.versionMinor = 0
        case UInt8(ascii: "1"): head.versionMinor = 1
        default: throw .badStatusLine
        }
        var status: UInt16 = 0
        for position in 9..<12 {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit < 10 else { throw .badStatusCode }
            status = status * 10 + UInt16(digit)
        }
        guard status >= 100, status <= 599 else { throw .badStatusCode }
        head.status = status
        let reasonStart = bytes[12] == ByteScan.space ? 13 : 12
        guard reasonStart == 13 || bytes[12] == ByteScan.cr else { throw .badStatusCode }
        let end = ByteScan.endOfValue(bytes, from: reasonStart)
        guard end + 1 < bytes.count, bytes[end] == ByteScan.cr, bytes[end + 1] == ByteScan.lf
        else { throw .badStatusLine }
        head.reason = ByteRange(reasonStart..<end)
        return end + 2
    }

    /// RFC 9112 §6.3, in its order.
    private static func frameResponse(
        _ controls: MessageControls, _ bytes: Span<UInt8>, _ requestMethod: Method,
        _ upgrade: UpgradeProtocol, _ head: inout ResponseHead
    ) throws(HTTP1Violation) {
        head.keepAlive =
            !controls.saysClose && (head.versionMinor >= 1 || controls.saysKeepAlive)
        if head.status < 200 {
            guard head.versionMinor >= 1 else { throw .badStatusCode }
            guard head.status == 101 else {
                head.isInterim = true
                return
            }
            // Exactly what was asked for, and that alone.
            guard upgrade != .none, controls.saysUpgrade,
                UpgradeProtocol(bytes, controls.upgrade.indices) == upgrade
            else { throw .unexpectedSwitch }
            head.isUpgradeAccepted = true
            head.upgrade = controls.upgrade
            head.keepAlive = false
            return
        }
        let hasNoContent = head.status == 204 || head.status == 304
        if hasNoContent || requestMethod == .head {
            // A 204 that announces content may well send it: what follows is not trusted.
            if head.status == 204 {
                if controls.isChunked || (controls.contentLength ?? 0) > 0 {
                    head.keepAlive = false
                }
            } else {
                head.declaredLength = controls.contentLength
            }
            return
        }
        head.dropsTrailers = controls.namesTrailers
        if controls.isChunked {
            head.framing = .chunked
        } else if let length = controls.contentLength {
            head.framing = .length(length)
        } else {
            head.framing = .untilClose
            head.keepAlive = false
        }
    }
}
