/// A request or reply part that has a JSON form. Readers ignore members they do not know, so that
/// an older `edgectl` understands a newer daemon; what they know must be there and of its type.
package protocol WireValue: Sendable, Equatable {
    var json: JSONValue { get }
    init(json: JSONValue) throws(WireFailure)
}

/// Why a JSON value is not the message it should be.
package enum WireFailure: Error, Equatable, CustomStringConvertible {
    case missing(String)
    case wrongType(String)
    case unknownWord(String, String)

    package var description: String {
        switch self {
        case .missing(let name): "member '\(name)' is missing"
        case .wrongType(let name): "member '\(name)' has the wrong type"
        case .unknownWord(let name, let word): "member '\(name)' has the unknown value '\(word)'"
        }
    }
}

/// Typed access to the members of an object.
package struct WireReader {
    private let members: [String: JSONValue]

    package init(_ json: JSONValue) throws(WireFailure) {
        guard case .object(let list) = json else { throw .wrongType("(object)") }
        members = Dictionary(list.map { ($0.name, $0.value) }) { first, _ in first }
    }

    private func member(_ name: String) throws(WireFailure) -> JSONValue {
        guard let value = members[name] else { throw .missing(name) }
        return value
    }

    package func string(_ name: String) throws(WireFailure) -> String {
        guard case .string(let value) = try member(name) else { throw .wrongType(name) }
        return value
    }

    package func integer(_ name: String) throws(WireFailure) -> Int64 {
        guard case .integer(let value) = try member(name) else { throw .wrongType(name) }
        return value
    }

    package func bool(_ name: String) throws(WireFailure) -> Bool {
        guard case .bool(let value) = try member(name) else { throw .wrongType(name) }
        return value
    }

    package func optionalString(_ name: String) throws(WireFailure) -> String? {
        guard let value = members[name], value != .null else { return nil }
        guard case .string(let text) = value else { throw .wrongType(name) }
        return text
    }

    package func optionalInteger(_ name: String) throws(WireFailure) -> Int64? {
        guard let value = members[name], value != .null else { return nil }
        guard case .integer(let number) = value else { throw .wrongType(name) }
        return number
    }

    package func optionalBool(_ name: String) throws(WireFailure) -> Bool? {
        guard let value = members[name], value != .null else { return nil }
        guard case .bool(let flag) = value else { throw .wrongType(name) }
        return flag
    }

    package func word<Word: RawRepresentable<String>>(_ name: String) throws(WireFailure) -> Word {
        let text = try string(name)
        guard let word = Word(rawValue: text) else { throw .unknownWord(name, text) }
        return word
    }

    package func strings(_ name: String) throws(WireFailure) -> [String] {
        guard case .array(let elements) = try member(name) else { throw .wrongType(name) }
        var result: [String] = []
        for element in elements {
            guard case .string(let text) = element else { throw .wrongType(name) }
            result.append(text)
        }
        return result
    }

    package func integers(_ name: String) throws(WireFailure) -> [Int64] {
        guard case .array(let elements) = try member(name) else { throw .wrongType(name) }
        var result: [Int64] = []
        for element in elements {
            guard case .integer(let value) = element else { throw .wrongType(name) }
            result.append(value)
        }
        return result
    }

    package func list<Element: WireValue>(_ name: String) throws(WireFailure) -> [Element] {
        guard case .array(let elements) = try member(name) else { throw .wrongType(name) }
        var result: [Element] = []
        for element in elements { result.append(try Element(json: element)) }
        return result
    }

    /// Nil if it is null, or if an older daemon does not say it.
    package func optional<Value: WireValue>(_ name: String) throws(WireFailure) -> Value? {
        guard let value = members[name], value != .null else { return nil }
        return try Value(json: value)
    }

    /// Empty if an older daemon does not say it.
    package func listIfAny<Element: WireValue>(
        _ name: String
    ) throws(WireFailure) -> [Element] {
        members[name] == nil ? [] : try list(name)
    }

    /// As `listIfAny`.
    package func stringsIfAny(_ name: String) throws(WireFailure) -> [String] {
        members[name] == nil ? [] : try strings(name)
    }

    /// An object of numbers, in its order.
    package func counts(_ name: String) throws(WireFailure) -> [NamedCount] {
        guard case .object(let list) = try member(name) else { throw .wrongType(name) }
        var result: [NamedCount] = []
        for entry in list {
            guard case .integer(let value) = entry.value else { throw .wrongType(name) }
            result.append(NamedCount(entry.name, value))
        }
        return result
    }
}

extension JSONValue {
    package static func strings(_ list: [String]) -> JSONValue { .array(list.map { .string($0) }) }

    package static func integers(_ list: [Int64]) -> JSONValue {
        .array(list.map { .integer($0) })
    }

    package static func list(_ values: [some WireValue]) -> JSONValue {
        .array(values.map(\.json))
    }

    package static func counts(_ values: [NamedCount]) -> JSONValue {
        .object(values.map { Member($0.name, .integer($0.value)) })
    }

    package static func optional(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }
    package static func optional(_ value: Int64?) -> JSONValue {
        value.map { .integer($0) } ?? .null
    }
}

/// One number with its name.
package struct NamedCount: Sendable, Equatable {
    package let name: String
    package let value: Int64

    package init(_ name: String, _ value: Int64) {
        self.name = name
        self.value = value
    }
}
