/// Reads one JSON document (RFC 8259), strictly: no comments, no trailing commas, no duplicate
/// member names, valid UTF-8, paired surrogates. Depth and size are bounded; whoever sends more
/// gets an error, never memory.
package struct JSONParser {
    package struct Limits: Sendable {
        package var byteCountMax = 4 << 20
        package var depthMax = 32

        package init() {}
        package init(byteCountMax: Int, depthMax: Int) {
            self.byteCountMax = byteCountMax
            self.depthMax = depthMax
        }
    }

    package struct Failure: Error, Equatable, CustomStringConvertible {
        package enum Kind: String, Sendable {
            case tooLarge, tooDeep, truncated, unexpectedByte, badNumber, badEscape
            case badUTF8, duplicateName, trailingBytes
        }

        package let kind: Kind
        /// Offset of the offending byte.
        package let offset: Int

        package var description: String { "JSON: \(kind.rawValue) at byte \(offset)" }
    }

    private let bytes: [UInt8]
    private let limits: Limits
    private var position = 0

    package init(_ bytes: [UInt8], limits: Limits = .init()) {
        self.bytes = bytes
        self.limits = limits
    }

    package mutating func document() throws(Failure) -> JSONValue {
        guard bytes.count <= limits.byteCountMax else { throw failure(.tooLarge) }
        let value = try self.value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw failure(.trailingBytes) }
        return value
    }

    private mutating func value(depth: Int) throws(Failure) -> JSONValue {
        guard depth <= limits.depthMax else { throw failure(.tooDeep) }
        skipSpace()
        switch try peek() {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw failure(.unexpectedByte)
        }
    }

    private mutating func object(depth: Int) throws(Failure) -> JSONValue {
        var members: [JSONValue.Member] = []
        var names: Set<String> = []
        position += 1
        if try skip(closing: UInt8(ascii: "}")) { return .object([]) }
        while true {
            skipSpace()
            let start = position
            guard try peek() == UInt8(ascii: "\"") else { throw failure(.unexpectedByte) }
            let name = try string()
            guard names.insert(name).inserted else {
                throw Failure(kind: .duplicateName, offset: start)
            }
            skipSpace()
            try take(UInt8(ascii: ":"))
            members.append(JSONValue.Member(name, try value(depth: depth + 1)))
            if try endOfList(UInt8(ascii: "}")) { return .object(members) }
        }
    }

    private mutating func array(depth: Int) throws(Failure) -> JSONValue {
        var elements: [JSONValue] = []
        position += 1
        if try skip(closing: UInt8(ascii: "]")) { return .array([]) }
        while true {
            elements.append(try value(depth: depth + 1))
            if try endOfList(UInt8(ascii: "]")) { return .array(elements) }
        }
    }

    // MARK: - Scalars

    private mutating func word(
        _ word: StaticString, _ value: JSONValue
    ) throws(Failure) -> JSONValue {
        for index in 0..<word.utf8CodeUnitCount { try take(word.utf8Start[index]) }
        return value
    }

    /// RFC 8259 §6: no leading zero, no bare point, no plus sign.
    private mutating func number() throws(Failure) -> JSONValue {
        let start = position
        var isInteger = true
        if try peek() == UInt8(ascii: "-") { position += 1 }
        if try peek() == UInt8(ascii: "0") {
            position += 1
        } else {
            try digits()
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try digits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            let sign = try peek()
            if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            throw Failure(kind: .badNumber, offset: start)
        }
        return .real(value)
    }

    private mutating func digits() throws(Failure) {
        let start = position
        while position < bytes.count,
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position])
        {
            position += 1
        }
        guard position > start else { throw failure(.badNumber) }
    }

    private mutating func string() throws(Failure) -> String {
        let start = position
        position += 1
        var content: [UInt8] = []
        while true {
            let byte = try peek()
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw Failure(kind: .badUTF8, offset: start)
                }
                return text
            case UInt8(ascii: "\\"): try escape(into: &content)
            case 0..<0x20: throw Failure(kind: .unexpectedByte, offset: position - 1)
            default: content.append(byte)
            }
        }
    }

    private mutating func escape(into content: inout [UInt8]) throws(Failure) {
        let byte = try peek()
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0C)
        case UInt8(ascii: "n"): content.append(0x0A)
        case UInt8(ascii: "r"): content.append(0x0D)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"): try unicodeEscape(into: &content)
        default: throw Failure(kind: .badEscape, offset: position - 1)
        }
    }

    private mutating func unicodeEscape(into content: inout [UInt8]) throws(Failure) {
        let start = position
        var code = try hexadecimal()
        if (0xD800...0xDBFF).contains(code) {
            try take(UInt8(ascii: "\\"))
            try take(UInt8(ascii: "u"))
            let low = try hexadecimal()
            guard (0xDC00...0xDFFF).contains(low) else {
                throw Failure(kind: .badEscape, offset: start)
            }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else {
            throw Failure(kind: .badEscape, offset: start)
        }
        content.append(contentsOf: Character(scalar).utf8)
    }

    private mutating func hexadecimal() throws(Failure) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = try peek()
            guard byte < 0x80, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure(.badEscape)
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    // MARK: - Bytes

    private func failure(_ kind: Failure.Kind) -> Failure { Failure(kind: kind, offset: position) }

    private func peek() throws(Failure) -> UInt8 {
        guard position < bytes.count else { throw failure(.truncated) }
        return bytes[position]
    }

    private mutating func take(_ byte: UInt8) throws(Failure) {
        guard try peek() == byte else { throw failure(.unexpectedByte) }
        position += 1
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    private mutating func skip(closing byte: UInt8) throws(Failure) -> Bool {
        skipSpace()
        guard try peek() == byte else { return false }
        position += 1
        return true
    }

    /// Takes a comma (false) or the closing byte (true).
    private mutating func endOfList(_ closing: UInt8) throws(Failure) -> Bool {
        if try skip(closing: closing) { return true }
        try take(UInt8(ascii: ","))
        return false
    }
}
