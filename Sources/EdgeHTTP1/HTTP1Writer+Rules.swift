internal import EdgeCore
package import EdgeHTTP

/// Heads that the rules of a view, a site or a path change. The same order as without them: fields
/// of the hop are left out first; what then stays is what rules see.
extension HTTP1Writer {
    /// As `writeRequest` without rules.
    // hot: once per request that rules apply to; no allocation.
    @inline(never)
    static func writeRequest(
        _ head: borrowing RequestHead, from bytes: Span<UInt8>, context: ForwardingContext,
        host: Span<UInt8>, hiding cookie: Span<UInt8>, by rules: HeadRules, adding: Span<UInt8>,
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
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard isForwarded(field, bytes, context) else { continue }
            if let edits = rules.requestEdits, edits.drops(field, bytes) { continue }
            if field.name.isForwardingClaim, claims.note(field) { continue }
            if !cookie.isEmpty, field.name == .cookie,
                writeCookies(field, bytes, without: cookie, &lines, &output)
            {
                continue
            }
            if let map = rules.map, HostMap.isNamedBy(field.name, .inward),
                writeLine(field, bytes, through: map, .inward, &lines, &output)
            {
                continue
            }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
        claims.write(
            head, bytes, context, host: rules.map == nil ? nil : sentHost,
            edits: rules.requestEdits, &output)
        if let edits = rules.requestEdits {
            edits.write(values(head, bytes, context), bytes, into: &output)
        }
        if !adding.isEmpty { output.append(adding) }
        if context.loopID != 0 { LoopMark.writeLine(context.loopID, into: &output) }
        writeRequestConnection(head, bytes, context, &output)
        output.append("\r\n")
        return !output.hasOverflowed
    }

    /// The end-to-end fields of an answer as lines in normal form, for clients of whichever
    /// version; nothing about framing. Those of an interim answer go without rules.
    ///
    /// - Parameters:
    ///   - announcesTrailers: a Trailer field goes on.
    ///   - kept: what the ranges of the rules' values lie in.
    // hot: once per answer that rules apply to; no allocation.
    @inline(never)
    package static func writeResponseFields(
        _ head: borrowing ResponseHead, from bytes: Span<UInt8>, announcesTrailers: Bool,
        by rules: ResponseRules, kept: Span<UInt8>, into output: inout ByteWriter
    ) {
        var lines = LineCopier()
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard isForwarded(field, announcesTrailers: announcesTrailers) else { continue }
            if let edits = rules.edits, edits.drops(field, bytes) { continue }
            if let map = rules.map, HostMap.isNamedBy(field.name, .outward),
                writeLine(field, bytes, through: map, .outward, &lines, &output)
            {
                continue
            }
            lines.copy(field, from: bytes, into: &output)
        }
        lines.flush(from: bytes, into: &output)
        if let edits = rules.edits { edits.write(rules.values, kept, into: &output) }
    }

    /// What templates get to know of a request: the ranges lie in `bytes`.
    package static func values(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext
    ) -> TemplateValues {
        TemplateValues(
            client: context.client, requestID: context.requestID, head, bytes,
            keepsID: context.isClientTrusted)
    }

    /// Bytes that `writeRequest` writes at most.
    package static func requestBytesMax(
        _ head: borrowing RequestHead, from bytes: Span<UInt8>, context: ForwardingContext,
        host: Span<UInt8>, rules: HeadRules?
    ) -> Int {
        // The authority is written three times, a normalised line is a byte longer, and our own
        // fields take at most some 500 bytes.
        let count =
            head.byteCount + 2 * Int(head.authority.count) + 3 * host.count + head.fields.count
            + 768
        guard let rules else { return count }
        return count
            + rules.requestGrowthMax(
                fieldCount: head.fields.count, values(head, bytes, context))
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
            map.write(
                authority: head.authority, from: bytes, .inward, defaultPort: defaultPort,
                into: &output)
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
