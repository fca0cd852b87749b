internal import EdgeCore
package import EdgeHTTP

/// Heads that the rules of a view, a site or a path change. The same order as without them: fields
/// of the hop are left out first; what then stays is what rules see.
extension HTTP1Writer {
    /// Writes a request head as `writeRequest` does without rules, and changes what they say. With
    /// a map of names the upstream sees nothing but its own: without a `host` the client's is
    /// translated, and X-Forwarded-Host is what Host is.
    ///
    /// - Parameter adding: whole lines of ours; the rules leave out a client's of that name.
    // hot: once per request that rules apply to; no allocation.
    package static func writeRequest(
        _ head: borrowing RequestHead, from bytes: Span<UInt8>, context: ForwardingContext,
        host: Span<UInt8>, hiding cookie: Span<UInt8> = Span(), by rules: HeadRules,
        adding: Span<UInt8> = Span(),
        into output: inout ByteWriter
    ) -> Bool {
        output.append(bytes, head.methodRange)
        output.append(UInt8(ascii: " "))
        if head.isAsterisk {
            output.append(UInt8(ascii: "*"))
        } else {
            rules.writeTarget(head.target, from: bytes, into: &output)
        }
        output.append(" HTTP/1.1\r\nHost: ")
        let start = output.count
        writeHost(head, bytes, context, host, rules.map, &output)
        let sentHost = start..<output.count
        output.append("\r\n")

        var lines = LineCopier()
        var claims = ForwardingClaims()
        let (edits, map) = (rules.requestEdits, rules.map)
        let mapped = map == nil ? 0 : HostMap.names(.inward)
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard isForwarded(field, bytes, context) else { continue }
            if let edits, edits.drops(field, bytes, isRequest: true) {
                continue
            }
            if field.name.isForwardingClaim, claims.note(field) { continue }
            if !cookie.isEmpty, field.name == .cookie,
                writeCookies(field, bytes, without: cookie, &lines, &output)
            {
                continue
            }
            if mapped >> UInt64(field.name.rawValue) & 1 == 1, let map,
                writeLine(field, bytes, through: map, .inward, &lines, &output)
            {
                continue
            }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
        claims.write(
            head, bytes, context, host: map == nil ? nil : sentHost, by: edits, &output)
        if let edits {
            edits.write(values(edits.variables, head, bytes, context), bytes, into: &output)
        }
        if !adding.isEmpty { output.append(adding) }
        if context.loopID != 0 { LoopMark.writeLine(context.loopID, into: &output) }
        // Whoever edits the field by a rule has the last word.
        if case .begun = context.trace, edits?.drops(.traceparent) != true {
            TraceContext(requestID: context.requestID).writeLine(into: &output)
        }
        writeRequestConnection(head, bytes, context, &output)
        output.append("\r\n")
        return !output.hasOverflowed
    }

    /// Writes a final response head as `writeResponse` does without rules, and changes what they
    /// say.
    ///
    /// - Parameter kept: what the ranges of the rules' values lie in.
    // hot: once per response that rules apply to; no allocation.
    package static func writeResponse(
        _ head: borrowing ResponseHead, from bytes: Span<UInt8>, context: ResponseContext,
        setting cookie: Span<UInt8> = Span(), by rules: ResponseRules, kept: Span<UInt8>,
        into output: inout ByteWriter
    ) -> Bool {
        writeStatusLine(head, bytes, &output)
        writeResponseFields(
            head, from: bytes, announcesTrailers: context.framing.isChunked, by: rules,
            kept: kept, into: &output)
        return endResponse(head, bytes, context, cookie, &output)
    }

    /// The end-to-end fields of an answer as lines in normal form, for clients of whichever
    /// version; nothing about framing. Those of an interim answer go without rules.
    ///
    /// - Parameters:
    ///   - announcesTrailers: a Trailer field goes on.
    ///   - kept: what the ranges of the rules' values lie in.
    // hot: once per answer that rules apply to; no allocation.
    package static func writeResponseFields(
        _ head: borrowing ResponseHead, from bytes: Span<UInt8>, announcesTrailers: Bool,
        by rules: ResponseRules, kept: Span<UInt8>, into output: inout ByteWriter
    ) {
        var lines = LineCopier()
        let (edits, map) = (rules.edits, rules.map)
        let mapped = map == nil ? 0 : HostMap.names(.outward)
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard isForwarded(field, announcesTrailers: announcesTrailers) else { continue }
            if let edits, edits.drops(field, bytes, isRequest: false) { continue }
            if mapped >> UInt64(field.name.rawValue) & 1 == 1, let map,
                writeLine(field, bytes, through: map, .outward, &lines, &output)
            {
                continue
            }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
        if let edits { edits.write(rules.values, kept, into: &output) }
    }

    /// What templates that ask for `variables` get to know of a request: the ranges lie in `bytes`.
    package static func values(
        _ variables: TextTemplate.Variables, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ context: ForwardingContext
    ) -> TemplateValues {
        TemplateValues(
            variables, client: context.client, requestID: context.requestID, of: head, bytes,
            keepsID: context.isClientTrusted)
    }

    /// Bytes that `writeRequest` writes at most.
    package static func requestBytesMax(
        _ head: borrowing RequestHead, from bytes: Span<UInt8>, context: ForwardingContext,
        host: Span<UInt8>, rules: HeadRules?
    ) -> Int {
        // The authority is written three times, a normalised line is a byte longer, and our own
        // fields take at most some 600 bytes.
        let count =
            head.byteCount + 2 * Int(head.authority.count) + 3 * host.count + head.fields.count
            + 896
        guard let rules else { return count }
        return count
            + rules.requestGrowthMax(
                fieldCount: head.fields.count,
                values(rules.requestEdits?.variables ?? [], head, bytes, context))
    }

    /// What the upstream is told as its name.
    private static func writeHost(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext,
        _ host: Span<UInt8>, _ map: HostMap?, _ output: inout ByteWriter
    ) {
        guard host.isEmpty else {
            output.append(host)
            return
        }
        // A browser's Origin, which is translated as well, does not name that port either.
        let defaultPort: UInt16 =
            switch context.scheme {
            case .http: 80
            case .https: 443
            }
        if let map,
            map.writeAuthority(of: head, from: bytes, defaultPort: defaultPort, into: &output)
        {
            return
        }
        output.append(bytes, head.authority)
    }

    /// - Returns: false if the line stays as it is: nothing has been written.
    private static func writeLine(
        _ field: Field, _ bytes: Span<UInt8>, through map: HostMap,
        _ direction: HostMap.Direction, _ lines: inout LineCopier, _ output: inout ByteWriter
    ) -> Bool {
        guard let change = map.change(field.name, field.value, in: bytes, direction) else {
            return false
        }
        lines.flush(from: bytes, into: &output)
        output.append(bytes, field.nameRange)
        output.append(": ")
        map.write(field.value, from: bytes, change, into: &output)
        output.append("\r\n")
        return true
    }
}
