import EdgeRouting

/// The strings that rules are described with.
extension TextValue {
    private static let valueBytesMax = 4096
    private static let methodBytesMax = 32
    private static let prefixBytesMax = 1024

    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
    ]

    /// RFC 9110 §9.1: methods are case-sensitive.
    static func method(_ text: String) throws(ValueProblem) -> String {
        guard isToken(text), text.utf8.count <= methodBytesMax else {
            throw ValueProblem("\(quoted(text)) is not a method", hint: "such as GET")
        }
        let upper = text.uppercased()
        guard text == upper || !methods.contains(upper) else {
            throw ValueProblem(
                "the method \(quoted(text)) is unknown",
                hint: "methods are case-sensitive: \(upper)")
        }
        return text
    }

    // MARK: - Templates

    private static let variables: [(name: String, part: Template.Part)] = [
        ("client", .client), ("view", .view), ("host", .host), ("id", .id), ("path", .path),
        ("query", .query),
    ]

    /// The value of a field.
    static func template(_ text: String) throws(ValueProblem) -> Template {
        guard text.utf8.count <= valueBytesMax, text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw ValueProblem("\(quoted(text)) is not at most \(valueBytesMax) bytes of ASCII")
        }
        guard text.first != " ", text.last != " " else {
            throw ValueProblem(
                "\(quoted(text)) begins or ends with a space", hint: "no value of a field does")
        }
        var parts: [Template.Part] = []
        var literal = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            literal += rest[..<dollar]
            rest = rest[dollar...].dropFirst()
            if rest.first == "$" {
                literal += "$"
                rest = rest.dropFirst()
                continue
            }
            if !literal.isEmpty { parts.append(.text(literal)) }
            literal = ""
            parts.append(try variable(&rest, of: text))
        }
        literal += rest
        if !literal.isEmpty { parts.append(.text(literal)) }
        return Template(parts)
    }

    /// - Parameter rest: what follows the dollar; then what follows the variable.
    private static func variable(
        _ rest: inout Substring, of text: String
    ) throws(ValueProblem) -> Template.Part {
        guard rest.first == "{", let end = rest.firstIndex(of: "}") else {
            throw ValueProblem(
                "a dollar in \(quoted(text)) begins no variable", hint: "'$$' is a dollar")
        }
        let name = String(rest[..<end].dropFirst())
        rest = rest[end...].dropFirst()
        guard let known = variables.first(where: { $0.name == name }) else {
            throw ValueProblem(
                "unknown variable \(quoted("${\(name)}"))",
                hint: Suggestion.text(for: name, among: variables.map(\.name)))
        }
        return known.part
    }

    /// Where a redirect leads: an absolute URL or a path, so that it never depends on what a client
    /// sends which host it is.
    static func location(_ text: String) throws(ValueProblem) -> Template {
        let isValid = text.utf8.allSatisfy {
            (0x21...0x7E).contains($0) && !"\"<>\\^`|".utf8.contains($0)
        }
        guard isValid else {
            throw ValueProblem(
                "\(quoted(text)) is not a location",
                hint: "what is not allowed in a URL is written %XX")
        }
        let template = try template(text)
        guard let target = RedirectTarget(template) else {
            throw ValueProblem(
                "\(quoted(text)) is not a location",
                hint: "such as \"https://${host}${path}${query}\", or a path: /login")
        }
        if case .literal(let name) = target.host { _ = try authority(name) }
        return template
    }

    // MARK: - Paths

    /// What paths are compared with: itself in the form that they are brought into.
    static func prefix(_ text: String) throws(ValueProblem) -> String {
        func problem(_ reason: String, _ hint: String? = nil) -> ValueProblem {
            ValueProblem("\(quoted(text)) \(reason)", hint: hint)
        }
        guard text.hasPrefix("/") else {
            throw problem("is not a path", "it begins with '/'")
        }
        guard text.utf8.count <= prefixBytesMax else {
            throw problem("is longer than \(prefixBytesMax) bytes")
        }
        guard !text.utf8.contains(where: "%?#*;".utf8.contains) else {
            throw problem(
                "has a character that no prefix has", "without query, wildcards, ';' and %XX")
        }
        guard
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !"\"<>\\^`{|}".utf8.contains($0) })
        else { throw problem("has a character that no path has") }
        if text == "/" { return text }
        guard !text.hasSuffix("/") else {
            throw problem("ends with a slash", "'\(text.dropLast())' is that path and all below it")
        }
        for segment in text.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            if segment.isEmpty { throw problem("has an empty segment", "one '/' is enough") }
            if segment == "." || segment == ".." {
                throw problem("has the segment '\(segment)'", "write the path that is meant")
            }
        }
        // What the matcher finds ambiguous, if it is none of the above.
        guard Router.isPlainPrefix(text) else { throw problem("is not a plain path") }
        return text
    }

    // MARK: - Strict-Transport-Security

    private static let transportWords = ["max-age", "includeSubDomains", "preload"]

    /// The field's value (RFC 6797 §6.1), of which a duration is the short form.
    static func transport(_ text: String) throws(ValueProblem) -> String {
        if let first = text.utf8.first, HostName.isDigit(first) {
            let duration = try Quantity.duration(text)
            guard duration.components.attoseconds == 0 else {
                throw ValueProblem("\(quoted(text)) is not a whole number of seconds")
            }
            return "max-age=\(duration.components.seconds)"
        }
        var written: [String] = []
        var values: [String] = []
        for directive in text.split(separator: ";", omittingEmptySubsequences: false) {
            let directive = directive.drop { $0 == " " }
            let words = directive.split(separator: "=", maxSplits: 1)
            let name = words.first.map { String($0.reversed().drop { $0 == " " }.reversed()) } ?? ""
            guard let word = transportWords.first(where: { $0.lowercased() == name.lowercased() })
            else {
                throw ValueProblem(
                    "unknown directive \(quoted(name)) in \(quoted(text))",
                    hint: "such as \"max-age=31536000; includeSubDomains\", or a duration")
            }
            guard !written.contains(word) else {
                throw ValueProblem("\(quoted(text)) has '\(word)' twice")
            }
            written.append(word)
            guard word == "max-age" else {
                guard words.count == 1 else { throw ValueProblem("'\(word)' has no value") }
                values.append(word)
                continue
            }
            guard words.count == 2, (1...10).contains(words[1].utf8.count),
                words[1].utf8.allSatisfy(HostName.isDigit)
            else {
                throw ValueProblem(
                    "'max-age' is a number of seconds", hint: "such as max-age=31536000")
            }
            values.append("max-age=\(words[1])")
        }
        guard written.contains("max-age") else {
            throw ValueProblem("\(quoted(text)) has no 'max-age'", hint: "such as max-age=31536000")
        }
        return values.joined(separator: "; ")
    }
}
