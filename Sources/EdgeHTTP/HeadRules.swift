/// What is changed of the heads of one view's site and path beside what always is. Immutable; where
/// there is none nothing is changed, and nothing is paid.
package final class HeadRules: Sendable {
    package let requestEdits: FieldEdits?
    package let responseEdits: FieldEdits?
    /// Of answers over TLS.
    package let secureResponseEdits: FieldEdits?
    package let map: HostMap?
    /// The path's prefix that something stands for; empty: it stays.
    package let replacement: [UInt8]
    /// Bytes of the path that it stands for, without a final `/`.
    package let prefixByteCount: Int

    /// - Parameters:
    ///   - secureResponseEdits: nil: as other answers.
    ///   - prefix: of paths, in whole segments, beginning with `/`.
    ///   - replacement: for it, `/` or `/…`; nil: it stays.
    package init(
        requestEdits: FieldEdits? = nil, responseEdits: FieldEdits? = nil,
        secureResponseEdits: FieldEdits? = nil, map: HostMap? = nil, prefix: [UInt8] = [],
        replacement: [UInt8]? = nil
    ) {
        self.requestEdits = requestEdits
        self.responseEdits = responseEdits
        self.secureResponseEdits = secureResponseEdits ?? responseEdits
        self.map = map
        guard let replacement else {
            self.replacement = []
            prefixByteCount = 0
            return
        }
        let slash = UInt8(ascii: "/")
        var rest = replacement[...]
        while rest.last == slash { rest = rest.dropLast() }
        while rest.first == slash { rest = rest.dropFirst() }
        self.replacement = [slash] + rest
        prefixByteCount = prefix.last == slash ? prefix.count - 1 : prefix.count
    }

    /// What answers need to know of their request.
    package var responseVariables: TextTemplate.Variables {
        (responseEdits?.variables ?? []).union(secureResponseEdits?.variables ?? [])
    }

    /// Bytes by which a request's head can become longer.
    package func requestGrowthMax(fieldCount: Int, _ values: TemplateValues) -> Int {
        // The host is named three times beside the client's own fields.
        let names = map.map { $0.growthMax * (fieldCount + 3) } ?? 0
        return names + (requestEdits?.byteCountMax(values) ?? 0) + replacement.count + 1
    }

    /// Bytes by which an answer's head can become longer.
    package func responseGrowthMax(fieldCount: Int, _ values: TemplateValues) -> Int {
        let names = map.map { $0.growthMax * fieldCount } ?? 0
        return names
            + max(
                responseEdits?.byteCountMax(values) ?? 0,
                secureResponseEdits?.byteCountMax(values) ?? 0)
    }

    /// What is changed of an answer.
    ///
    /// - Parameters:
    ///   - isSecure: it goes to its client over TLS.
    ///   - values: of the request, with what `responseVariables` ask for.
    /// - Returns: nil if nothing is.
    package func response(isSecure: Bool, _ values: TemplateValues) -> ResponseRules? {
        let edits = isSecure ? secureResponseEdits : responseEdits
        guard edits != nil || map != nil else { return nil }
        return ResponseRules(edits: edits, map: map, values: values)
    }

    /// Lines that an answer of our own gets: those that upstreams' answers do, but for what would
    /// describe their content.
    ///
    /// - Parameters:
    ///   - isSecure: it goes to its client over TLS.
    ///   - source: what the ranges of `values` lie in.
    package func ownAnswerLines(
        isSecure: Bool, _ values: TemplateValues, _ source: Span<UInt8>
    ) -> [UInt8] {
        (isSecure ? secureResponseEdits : responseEdits)?.ownLines(values, source) ?? []
    }

    /// Writes a request's target with its prefix replaced: one `/` in front, whatever is left.
    ///
    /// - Parameter target: begins with `/`, or with `?` where the path is empty.
    package func writeTarget(
        _ target: ByteRange, from bytes: Span<UInt8>, into output: inout ByteWriter
    ) {
        let slash = UInt8(ascii: "/")
        let replacement = replacement
        guard !replacement.isEmpty else {
            if !target.isEmpty, bytes[Int(target.start)] != slash { output.append(slash) }
            output.append(bytes, target)
            return
        }
        var start = Int(target.start)
        // An empty path is `/`, of which no more than that is a prefix.
        let isEmpty = start < target.end && bytes[start] != slash
        if !isEmpty { start = min(start + prefixByteCount, target.end) }
        if replacement.count > 1 {
            output.append(replacement.span)
            let isSegment =
                start < target.end && bytes[start] != slash && bytes[start] != UInt8(ascii: "?")
            if isEmpty || isSegment { output.append(slash) }
        } else {
            // What is left begins the path: of several `/` one, or it would name a host.
            while start < target.end, bytes[start] == slash { start += 1 }
            output.append(slash)
        }
        output.append(bytes, start..<target.end)
    }
}

/// What is changed of one answer's head.
package struct ResponseRules: Sendable {
    package let edits: FieldEdits?
    package let map: HostMap?
    package let values: TemplateValues
}
