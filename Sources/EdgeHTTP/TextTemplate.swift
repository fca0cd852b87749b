package import EdgeCore

/// A text with places for what is known per request only: values of fields that rules set, targets
/// of redirects. Flat, so that writing it allocates nothing; what is constant is one copy.
package struct TextTemplate: Sendable {
    package enum Part: Sendable, Equatable {
        /// Without control characters.
        case text([UInt8])
        /// The true client's address.
        case client
        /// The view's name, which is known when the template is made.
        case view
        /// As the client asked for it, without port.
        case host
        /// As the upstream gets it in X-Request-ID.
        case id
        /// Of the request's target, as the client wrote it.
        case path
        /// With its `?`.
        case query
    }

    /// What a template asks for. All but `client` is in the request's head.
    package struct Variables: OptionSet, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let client = Variables(rawValue: 1)
        package static let host = Variables(rawValue: 2)
        package static let id = Variables(rawValue: 4)
        package static let path = Variables(rawValue: 8)
        package static let query = Variables(rawValue: 16)
    }

    /// A control character in a text: it could end a line.
    package struct ControlCharacter: Error, Equatable {}

    private enum Step: Sendable {
        case text(Range<Int32>)
        case client, host, id, path, query
    }

    private var steps: [Step] = []
    private var bytes: [UInt8] = []
    package private(set) var variables: Variables = []

    package init(_ parts: [Part], view: [UInt8]) throws(ControlCharacter) {
        for part in parts { try append(part, view: view) }
    }

    /// Nothing yet.
    init() {}

    package var isEmpty: Bool { steps.isEmpty }

    // MARK: - Writing

    /// - Parameter source: what the ranges of `values` lie in.
    // hot: once per head that rules add fields to; no allocation.
    package func write(
        _ values: TemplateValues, _ source: Span<UInt8>, into output: inout ByteWriter
    ) {
        for step in steps {
            switch step {
            case .text(let range):
                output.append(bytes.span, Int(range.lowerBound)..<Int(range.upperBound))
            case .client: output.append(address: values.client)
            case .host: Self.appendClean(source, values.host, &output)
            case .id: values.writeID(source, into: &output)
            case .path:
                if values.path.isEmpty {
                    output.append(UInt8(ascii: "/"))
                } else {
                    Self.appendClean(source, values.path, &output)
                }
            case .query: Self.appendClean(source, values.query, &output)
            }
        }
    }

    /// Its text with these values, whose ranges lie in `source`.
    package func bytes(_ values: TemplateValues, _ source: Span<UInt8>) -> [UInt8] {
        guard !isEmpty else { return [] }
        return unsafe [UInt8](unsafeUninitializedCapacity: byteCountMax(values)) { buffer, used in
            var writer = unsafe ByteWriter(UnsafeMutableRawBufferPointer(buffer))
            write(values, source, into: &writer)
            used = writer.count
        }
    }

    /// Bytes that `write` writes at most.
    package func byteCountMax(_ values: TemplateValues) -> Int {
        var count = bytes.count
        for step in steps {
            switch step {
            case .text: break
            case .client: count += TemplateValues.addressBytesMax
            case .host: count += Int(values.host.count)
            case .id: count += max(32, Int(values.id.count))
            case .path: count += max(1, Int(values.path.count))
            case .query: count += Int(values.query.count)
            }
        }
        return count
    }

    /// What a client wrote, whatever its parser let pass: control characters are left out.
    private static func appendClean(
        _ source: Span<UInt8>, _ range: ByteRange, _ output: inout ByteWriter
    ) {
        var start = Int(range.start)
        var index = start
        while index < range.end {
            if index + 8 <= range.end, !ByteWords.hasControl(ByteWords.load(source, index)) {
                index += 8
                continue
            }
            if isControl(source[index]) {
                output.append(source, start..<index)
                start = index + 1
            }
            index += 1
        }
        output.append(source, start..<range.end)
    }

    fileprivate static func isControl(_ byte: UInt8) -> Bool { byte < 0x20 || byte == 0x7F }

    // MARK: - Making

    mutating func append(_ part: Part, view: [UInt8]) throws(ControlCharacter) {
        switch part {
        case .text(let text): try append(text: text)
        case .view: try append(text: view)
        case .client: append(.client, .client)
        case .host: append(.host, .host)
        case .id: append(.id, .id)
        case .path: append(.path, .path)
        case .query: append(.query, .query)
        }
    }

    /// Text in which tabs are fine and no other control character is.
    private mutating func append(text: [UInt8]) throws(ControlCharacter) {
        for byte in text where Self.isControl(byte) && byte != UInt8(ascii: "\t") {
            throw ControlCharacter()
        }
        append(unchecked: text)
    }

    /// Text of ours, line ends included. Neighbours become one.
    mutating func append(unchecked text: [UInt8]) {
        guard !text.isEmpty else { return }
        let start = Int32(bytes.count)
        bytes += text
        let end = Int32(bytes.count)
        if case .text(let last) = steps.last {
            steps[steps.count - 1] = .text(last.lowerBound..<end)
        } else {
            steps.append(.text(start..<end))
        }
    }

    private mutating func append(_ step: Step, _ variable: Variables) {
        steps.append(step)
        variables.insert(variable)
    }
}

/// What templates are filled with. Ranges lie in a buffer that is handed over with it: the
/// request's head, or what `keeping` made of it.
package struct TemplateValues: BitwiseCopyable, Sendable {
    package var client: SocketAddress
    package var requestID: (high: UInt64, low: UInt64)
    /// The text of another's ID, which goes on instead of ours; empty: `requestID` does.
    package var id = ByteRange.none
    package var host = ByteRange.none
    /// Empty: `/`.
    package var path = ByteRange.none
    /// Empty, or from `?` on.
    package var query = ByteRange.none

    /// IPv6 in full.
    static let addressBytesMax = 45

    package init(client: SocketAddress, requestID: (high: UInt64, low: UInt64)) {
        self.client = client
        self.requestID = requestID
    }

    /// What `variables` ask for of a request whose head `bytes` is.
    ///
    /// - Parameter keepsID: an ID that the request came with goes on: its client is trusted.
    package init(
        _ variables: TextTemplate.Variables, client: SocketAddress,
        requestID: (high: UInt64, low: UInt64), of head: borrowing RequestHead,
        _ bytes: Span<UInt8>, keepsID: Bool
    ) {
        self.client = client
        self.requestID = requestID
        host = head.host
        if keepsID, variables.contains(.id), let field = head.fields.first(.xRequestID),
            !field.flags.contains(.hopByHop)
        {
            id = field.value
        }
        guard !head.isAsterisk, !variables.isDisjoint(with: [.path, .query]) else { return }
        let target = head.target.indices
        var end = target.lowerBound
        while end < target.upperBound, bytes[end] != UInt8(ascii: "?") { end += 1 }
        path = ByteRange(target.lowerBound..<end)
        query = ByteRange(end..<target.upperBound)
    }

    /// Copies what `variables` will ask for, to be kept when the head is gone.
    ///
    /// - Returns: values whose ranges lie in what has been written to `output` from its beginning
    ///   on. At most `source.count` bytes are.
    package func keeping(
        _ variables: TextTemplate.Variables, from source: Span<UInt8>,
        into output: inout ByteWriter
    ) -> TemplateValues {
        var kept = TemplateValues(client: client, requestID: requestID)
        kept.id = Self.copy(variables.contains(.id) ? id : .none, source, &output)
        kept.host = Self.copy(variables.contains(.host) ? host : .none, source, &output)
        kept.path = Self.copy(variables.contains(.path) ? path : .none, source, &output)
        kept.query = Self.copy(variables.contains(.query) ? query : .none, source, &output)
        return kept
    }

    private static func copy(
        _ range: ByteRange, _ source: Span<UInt8>, _ output: inout ByteWriter
    ) -> ByteRange {
        let start = output.count
        output.append(source, range)
        return ByteRange(start..<output.count)
    }

    func writeID(_ source: Span<UInt8>, into output: inout ByteWriter) {
        guard id.isEmpty else {
            output.append(source, id)
            return
        }
        output.append(hexWord: requestID.high)
        output.append(hexWord: requestID.low)
    }
}
