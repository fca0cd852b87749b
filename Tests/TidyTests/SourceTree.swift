internal import Foundation

/// The files of the repository, tracked or about to be, with their text. Read once.
struct SourceTree: Sendable {
    struct File: Sendable {
        /// Relative to the root, such as `Sources/EdgeCore/Instant.swift`.
        let path: String
        let lines: [String]

        var isSwift: Bool { path.hasSuffix(".swift") }
        var isSource: Bool { path.hasPrefix("Sources/") }
        /// `EdgeCore` for `Sources/EdgeCore/Instant.swift`, `EdgeCoreTests` under Tests.
        var directory: String {
            path.split(separator: "/").dropFirst().first.map { String($0) } ?? ""
        }
    }

    let root: String
    let files: [File]

    var swift: [File] { files.filter(\.isSwift) }
    var sources: [File] { files.filter { $0.isSource && $0.isSwift } }

    /// The tree these tests were compiled from.
    static func load() throws -> SourceTree { try loaded.get() }

    /// Every test asks for it.
    private static let loaded = Result { try read() }

    private static func read(filePath: String = #filePath) throws -> SourceTree {
        let root = URL(fileURLWithPath: filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .path
        let names = try list(root, ["--cached", "--others", "--exclude-standard"])
        let files = names.compactMap { name -> File? in
            // Neither binary files nor those deleted but not yet committed have lines.
            guard let data = FileManager.default.contents(atPath: root + "/" + name),
                let text = String(data: data, encoding: .utf8)
            else { return nil }
            return File(path: name, lines: text.components(separatedBy: "\n"))
        }
        return SourceTree(root: root, files: files)
    }

    /// Paths that git tracks, whether they exist or not.
    func tracked() throws -> [String] { try Self.list(root, ["--cached"]) }

    private static func list(_ root: String, _ arguments: [String]) throws -> [String] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // Root may test a tree of another user's.
        process.arguments =
            ["git", "-c", "safe.directory=\(root)", "-C", root, "ls-files", "-z"] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw CocoaError(.executableNotLoadable)
        }
        return String(decoding: data, as: UTF8.self).split(separator: "\0").map { String($0) }
    }
}

/// A line of Swift without what its rules do not look at.
struct CodeLine {
    let number: Int
    let text: String
    /// String literals emptied, comments removed.
    let code: String
    /// Part of a literal that spans lines.
    let isInsideLiteral: Bool

    /// Cuts a file's comments and literals out. Good enough for house rules: nested comments and
    /// interpolations with quotes inside are not followed.
    static func split(_ file: SourceTree.File) -> [CodeLine] {
        var isInLiteral = false
        var isInComment = false
        return file.lines.enumerated().map { index, line in
            let wasInLiteral = isInLiteral
            let marks = line.components(separatedBy: "\"\"\"").count - 1
            if marks % 2 == 1, !isInComment { isInLiteral.toggle() }
            var code = wasInLiteral || isInLiteral ? "" : withoutLiterals(line)
            if isInComment {
                guard let end = code.range(of: "*/") else {
                    return CodeLine(
                        number: index + 1, text: line, code: "", isInsideLiteral: wasInLiteral)
                }
                code = String(code[end.upperBound...])
                isInComment = false
            }
            if let start = code.range(of: "//") { code = String(code[..<start.lowerBound]) }
            if let start = code.range(of: "/*") {
                isInComment = code.range(of: "*/") == nil
                code = String(code[..<start.lowerBound])
            }
            return CodeLine(
                number: index + 1, text: line, code: code,
                isInsideLiteral: wasInLiteral || isInLiteral)
        }
    }

    private static func withoutLiterals(_ line: String) -> String {
        guard line.contains("\"") else { return line }
        return line.replacingOccurrences(
            of: #""(\\.|[^"\\])*""#, with: "\"\"", options: .regularExpression)
    }
}
