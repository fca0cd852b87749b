import CEdge

/// Turns libyaml's events into nodes. Owns the C parser for the time of one `parse()`; the bytes
/// must outlive it. Depth and number of nodes are bounded by `Document`'s limits.
final class DocumentParser {
    private let path: String
    private let file: FileNumber
    private let bytes: UnsafeBufferPointer<UInt8>
    private let collector: DiagnosticCollector
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private var nodes = 0

    private static let comparedMax = 16

    /// Thrown to unwind after an error that ends the file; the collector has the reason.
    private struct Stop: Error {}

    init(path: String, bytes: UnsafeBufferPointer<UInt8>, collector: DiagnosticCollector) {
        self.path = path
        file = FileNumber(path)
        self.bytes = bytes
        self.collector = collector
        parser = .allocate(capacity: 1)
        parser.initialize(to: yaml_parser_t())
    }

    deinit {
        parser.deallocate()
    }

    /// The file's document; nil if it has none or if errors were collected.
    func parse() -> Node? {
        guard yaml_parser_initialize(parser) == 1 else {
            collector.error(.start(of: path), "not enough memory to read the file")
            return nil
        }
        defer { yaml_parser_delete(parser) }
        // An empty buffer has no base address, and libyaml insists on one.
        var nothing: UInt8 = 0
        return withUnsafePointer(to: &nothing) { empty in
            yaml_parser_set_input_string(parser, bytes.baseAddress ?? empty, bytes.count)
            yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
            // `Stop` carries nothing: the collector has the reason.
            return try? document()
        }
    }

    // MARK: - Events

    private func document() throws(Stop) -> Node? {
        var root: Node?
        while true {
            let event = try next()
            switch event.kind {
            case .documentStart:
                guard root == nil else {
                    throw stop(event.location, "a second document in one file", "use 'include:'")
                }
                root = try node(from: try next(), depth: 1)
            case .streamEnd:
                return root
            case .streamStart, .documentEnd, .scalar, .alias, .sequenceStart, .mappingStart, .end:
                continue
            }
        }
    }

    private func node(from event: Event, depth: Int) throws(Stop) -> Node {
        nodes += 1
        guard nodes <= Document.nodesMax else {
            throw stop(event.location, "more than \(Document.nodesMax) values in one file", nil)
        }
        guard depth <= Document.depthMax else {
            throw stop(event.location, "nested deeper than \(Document.depthMax) levels", nil)
        }
        switch event.kind {
        case .scalar(let text, let isPlain):
            return Node(content: .scalar(text, isPlain: isPlain), location: event.location)
        case .sequenceStart:
            return try sequence(at: event.location, depth: depth)
        case .mappingStart:
            return try mapping(at: event.location, depth: depth)
        case .alias:
            collector.error(
                event.location, "YAML aliases are not supported",
                hint: "quote a value that starts with '*', or write it out")
            return Node(content: .scalar("", isPlain: false), location: event.location)
        case .streamStart, .streamEnd, .documentStart, .documentEnd, .end:
            throw stop(event.location, "a value is missing", nil)
        }
    }

    private func sequence(at location: Location, depth: Int) throws(Stop) -> Node {
        var items: [Node] = []
        while true {
            let event = try next()
            if case .end = event.kind { break }
            items.append(try node(from: event, depth: depth + 1))
        }
        return Node(content: .sequence(items), location: location)
    }

    private func mapping(at location: Location, depth: Int) throws(Stop) -> Node {
        var entries: [Node.Entry] = []
        // Of mappings with many keys; for a few, comparing is quicker than hashing.
        var places: [String: Location] = [:]
        while true {
            let event = try next()
            if case .end = event.kind { break }
            let keyNode = try node(from: event, depth: depth + 1)
            let value = try node(from: try next(), depth: depth + 1)
            guard let key = key(of: keyNode) else { continue }
            let first =
                entries.count <= Self.comparedMax
                ? entries.first { $0.key == key }?.location : places[key]
            if let first {
                collector.error(
                    keyNode.location, "duplicate key \(quoted(key))", hint: "first at \(first)")
                continue
            }
            entries.append(Node.Entry(key: key, location: keyNode.location, value: value))
            if entries.count == Self.comparedMax {
                for entry in entries { places[entry.key] = entry.location }
            } else if entries.count > Self.comparedMax {
                places[key] = keyNode.location
            }
        }
        return Node(content: .mapping(entries), location: location)
    }

    private func key(of node: Node) -> String? {
        guard case .scalar(let text, let isPlain) = node.content else {
            collector.error(node.location, "a key must be a string, not \(node.kindText)")
            return nil
        }
        if isPlain, text == "<<" {
            collector.error(
                node.location, "YAML merge keys are not supported", hint: "write the keys out")
            return nil
        }
        return text
    }

    // MARK: - libyaml

    private enum EventKind {
        case streamStart, streamEnd, documentStart, documentEnd
        case scalar(String, isPlain: Bool)
        case sequenceStart, mappingStart, alias
        /// Of a sequence or a mapping.
        case end
    }

    private struct Event {
        let kind: EventKind
        let location: Location
    }

    private func next() throws(Stop) -> Event {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxError() }
        defer { yaml_event_delete(&event) }
        let location = location(of: event.start_mark)
        let kind: EventKind
        switch event.type {
        case YAML_STREAM_START_EVENT: kind = .streamStart
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_DOCUMENT_END_EVENT: kind = .documentEnd
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: kind = .end
        case YAML_ALIAS_EVENT: kind = .alias
        case YAML_SEQUENCE_START_EVENT:
            refuse(event.data.sequence_start.anchor, event.data.sequence_start.tag, location)
            kind = .sequenceStart
        case YAML_MAPPING_START_EVENT:
            refuse(event.data.mapping_start.anchor, event.data.mapping_start.tag, location)
            kind = .mappingStart
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            refuse(scalar.anchor, scalar.tag, location)
            let text = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            kind = .scalar(
                String(decoding: text, as: UTF8.self),
                isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
        default:
            // The end of the stream; after it libyaml gives empty events.
            kind = .streamEnd
        }
        return Event(kind: kind, location: location)
    }

    private func refuse(
        _ anchor: UnsafeMutablePointer<UInt8>?, _ tag: UnsafeMutablePointer<UInt8>?,
        _ location: Location
    ) {
        if anchor != nil {
            collector.error(
                location, "YAML anchors are not supported",
                hint: "quote a value that starts with '&', or write it out where it is used")
        }
        if tag != nil {
            collector.error(
                location, "YAML tags are not supported", hint: "quote a value that starts with '!'")
        }
    }

    private func stop(_ location: Location, _ reason: String, _ hint: String?) -> Stop {
        collector.error(location, reason, hint: hint)
        return Stop()
    }

    private func syntaxError() -> Stop {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "not readable as YAML"
        let context = state.context.map { String(cString: $0) }
        switch state.error {
        case YAML_MEMORY_ERROR:
            return stop(.start(of: path), "not enough memory to read the file", nil)
        case YAML_READER_ERROR:
            return stop(location(ofOffset: state.problem_offset), problem, readerHint(problem))
        default:
            let reason = context.map { "\(problem) \($0)" } ?? problem
            let begin = location(of: state.context_mark)
            // libyaml sees the missing colon only where the next key begins.
            if context == "while scanning a simple key" {
                return stop(begin, reason, "a blank belongs behind the colon: 'key: value'")
            }
            // It looks for the other quote up to the end of the file.
            if context == "while scanning a quoted scalar", problem.contains("end of stream") {
                return stop(begin, "a quote is not closed", "it begins here")
            }
            let location = endIfBeyond(state.problem_mark) ?? location(of: state.problem_mark)
            let hint =
                scannerHint(context: context, mark: state.problem_mark)
                ?? SyntaxHint.text(
                    problem: problem, context: context, begin: begin == location ? nil : begin)
            return stop(location, reason, hint)
        }
    }

    private func readerHint(_ problem: String) -> String? {
        problem.contains("UTF-8") ? "the file must be UTF-8" : "remove it, or escape it in quotes"
    }

    private func scannerHint(context: String?, mark: yaml_mark_t) -> String? {
        if context == "while scanning an alias" { return "quote a value that starts with '*'" }
        let offset = byteOffset(line: mark.line, column: mark.column)
        guard offset < bytes.count else { return nil }
        switch bytes[offset] {
        case UInt8(ascii: "\t"): return "indent with spaces, not with tabs"
        case UInt8(ascii: "@"), UInt8(ascii: "`"), UInt8(ascii: "%"):
            return "quote a value that starts with this character"
        default: return nil
        }
    }

    // MARK: - Positions

    private func location(of mark: yaml_mark_t) -> Location {
        Location(file, line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }

    /// libyaml ends the last line itself, so that what is missing there is missing on the next.
    private func endIfBeyond(_ mark: yaml_mark_t) -> Location? {
        let characters = bytes.count { $0 & 0xC0 != 0x80 }
        return mark.index < characters ? nil : location(ofOffset: bytes.count)
    }

    /// Counts characters as libyaml does, for the errors of its reader, which have no mark.
    private func location(ofOffset offset: Int) -> Location {
        var line = 1
        var column = 1
        for byte in bytes[..<min(max(offset, 0), bytes.count)] {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return Location(file, line: line, column: column)
    }

    /// Of a mark; the end of the file if it lies beyond. Lines are taken to end with a line feed.
    private func byteOffset(line: Int, column: Int) -> Int {
        var offset = 0
        var lines = 0
        while lines < line, offset < bytes.count {
            if bytes[offset] == UInt8(ascii: "\n") { lines += 1 }
            offset += 1
        }
        var columns = 0
        while offset < bytes.count, columns < column {
            offset += 1
            while offset < bytes.count, bytes[offset] & 0xC0 == 0x80 { offset += 1 }
            columns += 1
        }
        return offset
    }
}

/// A value in a message: quoted, on one line, of bounded length.
func quoted(_ text: String) -> String {
    let shownMax = 60
    var shown = ""
    for (count, scalar) in text.unicodeScalars.enumerated() {
        if count == shownMax {
            shown += "…"
            break
        }
        let isControl = scalar.properties.generalCategory == .control
        shown += isControl ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }
    return "'\(shown)'"
}
