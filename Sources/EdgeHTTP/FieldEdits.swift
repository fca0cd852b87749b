/// What rules change of a head's fields, compiled: names that are left out, and lines that are put
/// behind those that stay. The list that it is made of is followed in its order: of several edits
/// of one name, only what the last `set` or `remove` and all behind it say is left.
///
/// Concerns end-to-end fields only, X-Forwarded-* and the like among them: what frames messages or
/// ends at this hop is ours.
package final class FieldEdits: Sendable {
    package enum Verb: Sendable {
        /// Instead of all fields of that name.
        case set
        /// Beside them.
        case add
        case remove
    }

    package struct Edit: Sendable {
        package var verb: Verb
        package var name: [UInt8]
        /// Empty with `remove`.
        package var value: [TextTemplate.Part]

        package init(_ verb: Verb, _ name: [UInt8], _ value: [TextTemplate.Part] = []) {
            self.verb = verb
            self.name = name
            self.value = value
        }
    }

    /// Why a list is refused.
    package enum Fault: Error, Equatable {
        /// No token.
        case badName
        /// Frames messages, or ends at this hop.
        case forbiddenName
        /// Control characters.
        case badValue
    }

    private struct Dropped: Sendable {
        var start: Int32
        var count: Int32
    }

    private let lines: TextTemplate
    /// Those of `lines` that answers of our own get as well.
    private let ownLines: TextTemplate
    /// In lower case.
    private let names: [UInt8]
    private let dropped: [Dropped]
    /// A bit for each of them (`bit`): most fields are none of them, and seen to be by this alone.
    private let signatures: UInt64
    /// Bits by `FieldName`, of those left out and of those put in.
    private let droppedKnown: UInt64
    private let addedKnown: UInt64

    /// - Parameter view: whose name `.view` is.
    package init(_ edits: [Edit], view: [UInt8]) throws(Fault) {
        var added: [(name: [UInt8], edit: Edit)] = []
        var dropped: [[UInt8]] = []
        for edit in edits {
            let name = try Self.checked(edit.name)
            if edit.verb != .add {
                added.removeAll { $0.name == name }
                if !dropped.contains(name) { dropped.append(name) }
            }
            if edit.verb != .remove { added.append((name, edit)) }
        }
        do {
            lines = try Self.lines(of: added.map(\.edit), view: view)
            ownLines = try Self.lines(
                of: added.filter { !Self.describesContent($0.name) }.map(\.edit), view: view)
        } catch {
            throw .badValue
        }
        names = dropped.flatMap { $0 }
        var start: Int32 = 0
        self.dropped = dropped.map { name in
            defer { start += Int32(name.count) }
            return Dropped(start: start, count: Int32(name.count))
        }
        signatures = dropped.reduce(0) { $0 | Self.bit($1.span, 0..<$1.count) }
        droppedKnown = dropped.reduce(0) { $0 | Self.knownBit($1) }
        addedKnown = added.reduce(0) { $0 | Self.knownBit($1.name) }
    }

    package var isEmpty: Bool { dropped.isEmpty && lines.isEmpty }

    /// What its values ask for.
    package var variables: TextTemplate.Variables { lines.variables }

    // MARK: - Use

    /// Whether a field is left out, be it set anew or not.
    ///
    /// - Parameter isRequest: a name with `_` is as one with `-`: some applications, as CGI does,
    ///   cannot tell them apart, and would take a client's for the one that a rule has set.
    // hot: once per field of heads that rules change.
    package func drops(_ field: Field, _ bytes: Span<UInt8>, isRequest: Bool) -> Bool {
        // Most names are in no list.
        guard !field.nameRange.isEmpty,
            signatures & Self.bit(bytes, field.nameRange.indices) != 0
        else { return false }
        let folds = isRequest && field.flags.contains(.underscore)
        return isListed(bytes, field.nameRange, foldsUnderscores: folds)
    }

    /// Whether fields of that name, which is not `.other` or another group's, are left out.
    package func drops(_ name: FieldName) -> Bool { droppedKnown >> UInt64(name.rawValue) & 1 == 1 }

    /// Whether fields of that name are put in.
    package func adds(_ name: FieldName) -> Bool { addedKnown >> UInt64(name.rawValue) & 1 == 1 }

    /// Writes the lines that are put in.
    ///
    /// - Parameter source: what the ranges of `values` lie in.
    package func write(
        _ values: TemplateValues, _ source: Span<UInt8>, into output: inout ByteWriter
    ) {
        lines.write(values, source, into: &output)
    }

    /// The lines that are put into an answer of our own: all but those that say what an answer
    /// contains, how long it may be kept or where it leads. Those of an upstream's answer would be
    /// wrong for ours.
    ///
    /// - Parameter source: what the ranges of `values` lie in.
    package func ownLines(_ values: TemplateValues, _ source: Span<UInt8>) -> [UInt8] {
        ownLines.bytes(values, source)
    }

    /// Bytes that `write` writes at most.
    package func byteCountMax(_ values: TemplateValues) -> Int { lines.byteCountMax(values) }

    private func isListed(
        _ bytes: Span<UInt8>, _ range: ByteRange, foldsUnderscores: Bool
    ) -> Bool {
        search: for entry in dropped where entry.count == range.count {
            for offset in 0..<Int(entry.count) {
                var own = names[Int(entry.start) + offset]
                var other = Self.lower(bytes[Int(range.start) + offset])
                if foldsUnderscores {
                    own = Self.hyphen(own)
                    other = Self.hyphen(other)
                }
                if own != other { continue search }
            }
            return true
        }
        return false
    }

    /// By count, first and last letter.
    @inline(__always)
    private static func bit(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        let first = UInt64(hyphen(lower(bytes[range.lowerBound])))
        let last = UInt64(hyphen(lower(bytes[range.upperBound - 1])))
        return 1 << ((UInt64(range.count) &* 7 &+ first &* 3 &+ last) & 63)
    }

    @inline(__always)
    private static func lower(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    @inline(__always)
    private static func hyphen(_ byte: UInt8) -> UInt8 {
        byte == UInt8(ascii: "_") ? UInt8(ascii: "-") : byte
    }

    // MARK: - Making

    /// Fields of one answer that mean nothing beside another content (RFC 9110 §8, §10.2).
    private static func describesContent(_ name: [UInt8]) -> Bool {
        switch String(decoding: name, as: UTF8.self) {
        case "content-type", "content-encoding", "content-language", "content-location",
            "content-range", "content-disposition", "content-md5", "content-digest",
            "repr-digest", "digest", "accept-ranges", "age", "allow", "cache-control", "etag",
            "expires", "last-modified", "location", "pragma", "refresh", "retry-after":
            true
        default: false
        }
    }

    private static func lines(
        of edits: [Edit], view: [UInt8]
    ) throws(TextTemplate.ControlCharacter) -> TextTemplate {
        var lines = TextTemplate()
        for edit in edits {
            lines.append(unchecked: edit.name + Array(": ".utf8))
            for part in edit.value { try lines.append(part, view: view) }
            lines.append(unchecked: Array("\r\n".utf8))
        }
        return lines
    }

    /// A name in lower case.
    private static func checked(_ name: [UInt8]) throws(Fault) -> [UInt8] {
        guard !name.isEmpty, name.allSatisfy(isToken) else { throw .badName }
        let known = FieldName.identify(name.span, ByteRange(0..<name.count))
        switch known {
        case .host, .contentLength, .expect, .trailer: throw .forbiddenName
        default: if known.isHopByHop { throw .forbiddenName }
        }
        return name.map(lower)
    }

    /// RFC 9110 §5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    /// 0 for names that share their case with others.
    private static func knownBit(_ name: [UInt8]) -> UInt64 {
        let known = FieldName.identify(name.span, ByteRange(0..<name.count))
        switch known {
        case .other, .xForwardedOther: return 0
        default: return 1 << UInt64(known.rawValue)
        }
    }
}
