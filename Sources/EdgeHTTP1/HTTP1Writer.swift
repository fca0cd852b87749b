internal import EdgeCore
package import EdgeHTTP

/// What a forwarded response looks like on the client's side.
package struct ResponseContext: Sendable {
    /// The body as it will be sent; `ResponseHead.framing(clientMinor:)` is the usual choice.
    package var framing: BodyFraming
    /// 0 or 1: the client's HTTP/1 version.
    package var clientMinor: UInt8
    /// Another request may follow. Ignored for `.untilClose`, which always closes.
    package var keepAlive: Bool

    package init(framing: BodyFraming, clientMinor: UInt8, keepAlive: Bool) {
        self.framing = framing
        self.clientMinor = clientMinor
        self.keepAlive = keepAlive
    }
}

/// Writes heads anew from parsed ones: our own framing, one Host, CRLF only, fields of this hop
/// left out. Every verb returns false if the output did not fit; what was written by then is
/// useless. Lines that are in normal form already are copied in runs.
package enum HTTP1Writer {
    /// Writes a request head towards an HTTP/1.1 upstream.
    ///
    /// - Parameters:
    ///   - host: the upstream's name for the site, if it has one of its own; else empty, and the
    ///     client's authority is sent. X-Forwarded-Host is the client's.
    ///   - cookie: the name of a cookie of ours, which is not sent on; empty: there is none.
    // hot: once per request; no allocation, one copy of the forwarded lines.
    package static func writeRequest(
        _ head: borrowing RequestHead, from bytes: Span<UInt8>, context: ForwardingContext,
        host: Span<UInt8>, hiding cookie: Span<UInt8> = Span(), into output: inout ByteWriter
    ) -> Bool {
        output.append(bytes, head.methodRange)
        if head.isAsterisk {
            output.append(" * HTTP/1.1\r\nHost: ")
        } else {
            output.append(head.lacksPath ? " /" : " ")
            output.append(bytes, head.target)
            output.append(" HTTP/1.1\r\nHost: ")
        }
        if host.isEmpty { output.append(bytes, head.authority) } else { output.append(host) }
        output.append("\r\n")

        var lines = LineCopier()
        var claims = ForwardingClaims()
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard isForwarded(field, bytes, context) else { continue }
            // Those of a trusted client; one list is sent of what may be several.
            if field.name.isForwardingClaim, claims.note(field) { continue }
            if !cookie.isEmpty, field.name == .cookie,
                writeCookies(field, bytes, without: cookie, &lines, &output)
            {
                continue
            }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
        claims.write(head, bytes, context, &output)
        if context.loopID != 0 { LoopMark.writeLine(context.loopID, into: &output) }
        if case .begun = context.trace {
            TraceContext(requestID: context.requestID).writeLine(into: &output)
        }
        writeRequestConnection(head, bytes, context, &output)
        output.append("\r\n")
        return !output.hasOverflowed
    }

    /// Writes a final response head, or the 101 that accepted an upgrade.
    ///
    /// - Parameter cookie: the value of a Set-Cookie field of ours; empty: there is none.
    // hot: once per response; no allocation, one copy of the forwarded lines.
    package static func writeResponse(
        _ head: borrowing ResponseHead, from bytes: Span<UInt8>, context: ResponseContext,
        setting cookie: Span<UInt8> = Span(), into output: inout ByteWriter
    ) -> Bool {
        writeStatusLine(head, bytes, &output)
        writeResponseFields(
            head, bytes, announcesTrailers: context.framing.isChunked, &output)
        return endResponse(head, bytes, context, cookie, &output)
    }

    /// Our own fields of a final response head, and its end.
    @inline(__always)
    static func endResponse(
        _ head: borrowing ResponseHead, _ bytes: Span<UInt8>, _ context: ResponseContext,
        _ cookie: Span<UInt8>, _ output: inout ByteWriter
    ) -> Bool {
        if !cookie.isEmpty {
            output.append("Set-Cookie: ")
            output.append(cookie)
            output.append("\r\n")
        }
        if head.isUpgradeAccepted {
            output.append("Upgrade: ")
            output.append(bytes, head.upgrade)
            output.append("\r\nConnection: Upgrade\r\n\r\n")
            return !output.hasOverflowed
        }
        writeFraming(context.framing, declared: head.declaredLength, &output)
        if context.framing == .untilClose || !context.keepAlive {
            output.append("Connection: close\r\n\r\n")
        } else if context.clientMinor == 0 {
            output.append("Connection: keep-alive\r\n\r\n")
        } else {
            output.append("\r\n")
        }
        return !output.hasOverflowed
    }

    /// Writes an upstream's interim response (`isInterim`). Never to a client of HTTP/1.0.
    package static func writeInterim(
        _ head: borrowing ResponseHead, from bytes: Span<UInt8>, into output: inout ByteWriter
    ) -> Bool {
        writeStatusLine(head, bytes, &output)
        writeResponseFields(head, bytes, announcesTrailers: false, &output)
        output.append("\r\n")
        return !output.hasOverflowed
    }

    /// Writes a 100 of our own.
    package static func writeContinue(into output: inout ByteWriter) -> Bool {
        output.append("HTTP/1.1 100 Continue\r\n\r\n")
        return !output.hasOverflowed
    }
}

// MARK: - Chunks

extension HTTP1Writer {
    /// Bytes of the longest chunk header (16 digits and CRLF).
    package static let chunkHeaderBytesMax = 18

    /// Writes what stands before `size` content bytes (not 0, which would end the body).
    package static func writeChunkHeader(_ size: Int, into output: inout ByteWriter) -> Bool {
        invariant(size > 0, "a chunk that is not the last has content")
        output.append(hex: UInt64(size))
        output.append("\r\n")
        return !output.hasOverflowed
    }

    /// Writes what stands behind a chunk's content.
    package static func writeChunkEnd(into output: inout ByteWriter) -> Bool {
        output.append("\r\n")
        return !output.hasOverflowed
    }

    /// Ends a body that has no trailers.
    package static func writeLastChunk(into output: inout ByteWriter) -> Bool {
        output.append("0\r\n\r\n")
        return !output.hasOverflowed
    }

    /// Ends a body that has trailers, which `HTTP1Parser.parseTrailers` parsed from `bytes`. Names
    /// that may not stand there are left out; of a client's, those with an underscore too.
    ///
    /// - Parameter edits: what they leave out of heads is left out here, too.
    package static func writeLastChunk(
        trailers: borrowing FieldList, from bytes: Span<UInt8>, isRequest: Bool,
        edits: FieldEdits? = nil, into output: inout ByteWriter
    ) -> Bool {
        output.append("0\r\n")
        var lines = LineCopier()
        for index in 0..<trailers.count {
            let field = trailers[index]
            guard TrailerRules.allow(field, bytes),
                !(isRequest && field.flags.contains(.underscore))
            else { continue }
            if let edits, edits.drops(field, bytes, isRequest: isRequest) { continue }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
        output.append("\r\n")
        return !output.hasOverflowed
    }
}

// MARK: - Parts

extension HTTP1Writer {
    @inline(__always)
    static func isForwarded(
        _ field: Field, _ bytes: Span<UInt8>, _ context: ForwardingContext
    ) -> Bool {
        if !field.flags.isDisjoint(with: [.hopByHop, .underscore]) {
            guard context.passesUnderscores, !field.flags.contains(.hopByHop),
                !ForwardingClaims.isAlias(field, bytes)
            else { return false }
        }
        switch field.name {
        case .other: return true
        case .host, .contentLength, .expect: return false
        case .trailer: return context.framing.isChunked
        case .traceparent, .tracestate:
            if case .asTheyAre = context.trace { return true }
            return false
        default: return context.isClientTrusted || !field.name.isForwardingClaim
        }
    }

    /// Writes a Cookie field without the cookies of a name, whose other bytes stay as they are; no
    /// line if it has no others. Never longer than the line was.
    ///
    /// - Returns: false if there is none of that name: nothing has been written.
    static func writeCookies(
        _ field: Field, _ bytes: Span<UInt8>, without name: Span<UInt8>,
        _ lines: inout LineCopier, _ output: inout ByteWriter
    ) -> Bool {
        var pairs = CookiePairs(field.value)
        var isThere = false
        while !isThere, let pair = pairs.next(in: bytes) {
            isThere = pair.isNamed(name, in: bytes)
        }
        guard isThere else { return false }
        lines.flush(from: bytes, into: &output)
        pairs = CookiePairs(field.value)
        var isBegun = false
        // Neighbours are copied at once.
        var run: Range<Int>?
        while true {
            let pair = pairs.next(in: bytes)
            if let pair, !pair.isNamed(name, in: bytes) {
                run = (run?.lowerBound ?? Int(pair.whole.start))..<pair.whole.end
                continue
            }
            if let whole = run {
                if isBegun { output.append("; ") } else { output.append(bytes, field.nameRange) }
                if !isBegun { output.append(": ") }
                output.append(bytes, whole)
                isBegun = true
                run = nil
            }
            guard pair != nil else { break }
        }
        if isBegun { output.append("\r\n") }
        return true
    }

    static func writeRequestConnection(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext,
        _ output: inout ByteWriter
    ) {
        writeFraming(context.framing, declared: nil, &output)
        if context.forwardsExpect, head.expectContinue { output.append("Expect: 100-continue\r\n") }
        if head.upgradeWebSocket {
            output.append("Upgrade: websocket\r\nConnection: Upgrade\r\n")
            return
        }
        if !context.upgrade.isEmpty {
            output.append("Upgrade: ")
            output.append(bytes, context.upgrade)
            output.append("\r\nConnection: Upgrade\r\n")
            return
        }
        let wantsTrailers = context.acceptsTrailers && head.hasTETrailers
        if wantsTrailers { output.append("TE: trailers\r\n") }
        switch (wantsTrailers, context.closesConnection) {
        case (true, true): output.append("Connection: TE, close\r\n")
        case (true, false): output.append("Connection: TE\r\n")
        case (false, true): output.append("Connection: close\r\n")
        case (false, false): break
        }
    }

    static func writeStatusLine(
        _ head: borrowing ResponseHead, _ bytes: Span<UInt8>, _ output: inout ByteWriter
    ) {
        // Ours is the version that we speak (RFC 9110 §2.5), whatever the upstream's is.
        output.append("HTTP/1.1 ")
        output.append(decimal: UInt64(head.status))
        output.append(UInt8(ascii: " "))
        output.append(bytes, head.reason)
        output.append("\r\n")
    }

    private static func writeResponseFields(
        _ head: borrowing ResponseHead, _ bytes: Span<UInt8>, announcesTrailers: Bool,
        _ output: inout ByteWriter
    ) {
        var lines = LineCopier()
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard isForwarded(field, announcesTrailers: announcesTrailers) else { continue }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
    }

    /// Of an answer.
    @inline(__always)
    static func isForwarded(_ field: Field, announcesTrailers: Bool) -> Bool {
        !field.flags.contains(.hopByHop) && field.name != .contentLength
            && (field.name != .trailer || announcesTrailers)
    }

    private static func writeFraming(
        _ framing: BodyFraming, declared: UInt64?, _ output: inout ByteWriter
    ) {
        switch framing {
        case .chunked: output.append("Transfer-Encoding: chunked\r\n")
        case .length(let length): writeContentLength(length, &output)
        case .none: if let declared { writeContentLength(declared, &output) }
        case .untilClose: break
        }
    }

    private static func writeContentLength(_ length: UInt64, _ output: inout ByteWriter) {
        output.append("Content-Length: ")
        output.append(decimal: length)
        output.append("\r\n")
    }
}

/// Copies field lines in normal form, runs of lines that already are in it at once.
struct LineCopier {
    private var start = 0
    private var end = 0

    @inline(__always)
    mutating func copy(_ field: Field, from bytes: Span<UInt8>, into output: inout ByteWriter) {
        let lineStart = Int(field.nameRange.start)
        guard field.flags.contains(.canonical) else {
            flush(from: bytes, into: &output)
            output.append(bytes, field.nameRange)
            output.append(": ")
            output.append(bytes, field.value)
            output.append("\r\n")
            return
        }
        if lineStart != end {
            flush(from: bytes, into: &output)
            start = lineStart
        }
        // The line's CRLF is in the buffer too.
        end = field.value.end + 2
    }

    @inline(__always)
    mutating func flush(from bytes: Span<UInt8>, into output: inout ByteWriter) {
        if start < end { output.append(bytes, start..<end) }
        start = end
    }
}
