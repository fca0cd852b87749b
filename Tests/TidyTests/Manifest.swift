internal import Foundation

/// The dependency table in Package.swift, read as text: what is declared, not what resolves.
struct Manifest {
    struct Row {
        let name: String
        /// Where its files are, relative to the root.
        let path: String
        /// Names of targets and products.
        let dependencies: Set<String>
        /// Made by `unitTests`, which gives every suite the foundation and the kit.
        let isUniform: Bool
    }

    let rows: [Row]

    var targetNames: Set<String> { Set(rows.map(\.name)) }

    init(_ text: String) {
        rows = Self.declared(text) + Self.uniform(text)
    }

    private static func declared(_ text: String) -> [Row] {
        calls(text, #"\.(executableTarget|testTarget|target)\("#).compactMap { body, kind in
            guard let name = first(body, #"^\s*name:\s*"(\w+)""#) else { return nil }
            var listed = ""
            if let start = body.range(of: "dependencies:") {
                listed = balanced(String(body[start.upperBound...]), "[", "]")
            }
            listed = listed.replacingOccurrences(
                of: #"\.product\(\s*name:\s*("\w+")[^)]*\)"#, with: "$1",
                options: .regularExpression)
            let folder = kind.contains("testTarget") ? "Tests" : "Sources"
            return Row(
                name: name, path: first(body, #"path:\s*"([^"]+)""#) ?? "\(folder)/\(name)",
                dependencies: Set(all(listed, #""([\w-]+)""#)), isUniform: false)
        }
    }

    private static func uniform(_ text: String) -> [Row] {
        calls(text, #"(?<!func )unitTests\("#).compactMap { body, _ in
            let names = all(body, #""(\w+)""#)
            guard let target = names.first else { return nil }
            return Row(
                name: target + "Tests", path: "Tests/\(target)Tests",
                dependencies: Set(names + ["EdgeCore", "EdgeTesting"]), isUniform: true)
        }
    }

    /// The arguments of each call whose beginning matches, with that beginning.
    private static func calls(_ text: String, _ opening: String) -> [(String, String)] {
        var result: [(String, String)] = []
        var rest = text[...]
        while let range = rest.range(of: opening, options: .regularExpression) {
            let from = text.index(before: range.upperBound)
            result.append((balanced(String(text[from...]), "(", ")"), String(rest[range])))
            rest = text[range.upperBound...]
        }
        // A name computed in the manifest's own helper is no row.
        return result.filter { !$0.0.contains("target + \"Tests\"") }
    }

    /// What lies between the first `open` and the `close` that belongs to it.
    private static func balanced(_ text: String, _ open: Character, _ close: Character) -> String {
        guard let start = text.firstIndex(of: open) else { return "" }
        var depth = 0
        for index in text[start...].indices {
            if text[index] == open { depth += 1 }
            if text[index] == close { depth -= 1 }
            if depth == 0 { return String(text[text.index(after: start)..<index]) }
        }
        return ""
    }

    private static func first(_ text: String, _ pattern: String) -> String? {
        all(text, pattern).first
    }

    private static func all(_ text: String, _ pattern: String) -> [String] {
        guard let expression = try? NSRegularExpression(pattern: pattern) else { return [] }
        let whole = NSRange(text.startIndex..., in: text)
        return expression.matches(in: text, range: whole).compactMap {
            Range($0.range(at: 1), in: text).map { String(text[$0]) }
        }
    }
}

/// The modules a file imports.
func imports(of file: SourceTree.File) -> Set<String> {
    let pattern =
        #"^\s*(@\w+(\([^)]*\))?\s+)*((public|package|internal|fileprivate|private)\s+)?import\s+"#
        + #"((struct|class|enum|func|var|let|typealias|protocol)\s+)?"#
    let found = CodeLine.split(file).compactMap { line -> String? in
        guard let start = line.code.range(of: pattern, options: .regularExpression) else {
            return nil
        }
        return String(line.code[start.upperBound...].prefix { $0.isLetter || $0.isNumber })
    }
    return Set(found)
}
