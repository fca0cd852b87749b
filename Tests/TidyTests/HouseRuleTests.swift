internal import Foundation
internal import Testing

@Suite("House rules")
struct HouseRuleTests {
    private let tree: SourceTree

    init() throws { tree = try SourceTree.load() }

    static let columnsMax = 100
    static let linesMax = 800

    /// Files a reader or a tool looks for. Add to it what must not get lost again.
    static let required = [
        "Package.swift", ".swift-format", ".gitignore", "certs-example/README.md",
        "certs-example/mint.sh", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile",
        ".ci/run", "conf/edged.yaml", "deploy/edged.service", "docs/configuration.md",
    ]

    /// Targets whose files may import Foundation: not part of the daemon.
    static let foundationUsers: Set<String> = ["edgectl"]

    /// Reports every line of `files` for which `isBad` holds.
    private func check(
        _ files: [SourceTree.File], _ rule: String, _ isBad: (CodeLine) -> Bool
    ) {
        for file in files {
            for line in CodeLine.split(file) where isBad(line) {
                Issue.record("\(file.path):\(line.number): \(rule)")
            }
        }
    }

    private func matches(_ text: String, _ pattern: String) -> Bool {
        text.range(of: pattern, options: .regularExpression) != nil
    }

    @Test("the tree is the whole repository")
    func wholeTree() {
        let paths = Set(tree.files.map(\.path))

        #expect(paths.contains("Package.swift"))
        #expect(paths.contains("Tests/TidyTests/HouseRuleTests.swift"))
        #expect(tree.sources.count > 5)
    }

    @Test("no Swift line is over 100 columns, unless a string literal makes it so")
    func columns() {
        check(tree.swift, "over \(Self.columnsMax) columns") { line in
            guard line.text.count > Self.columnsMax, !line.isInsideLiteral else { return false }
            // Emptied literals: what is left must fit.
            return line.code.count > Self.columnsMax || !line.text.contains("\"")
        }
    }

    @Test("no Swift file is over 800 lines")
    func length() {
        for file in tree.swift where file.lines.count > Self.linesMax + 1 {
            Issue.record("\(file.path): \(file.lines.count) lines")
        }
    }

    @Test(
        "constructs that end the process in silence are not used",
        arguments: [#"\btry!"#, #"\bas!"#])
    func banned(pattern: String) {
        check(tree.swift, "“\(pattern.dropFirst(2))”") { matches($0.code, pattern) }
    }

    @Test("only Invariant.swift ends the process on purpose")
    func fatalErrors() {
        let files = tree.swift.filter { !$0.path.hasSuffix("/Invariant.swift") }

        check(files, "fatalError outside Invariant.swift") {
            matches($0.code, #"\bfatalError\("#)
        }
    }

    @Test("sources carry no notes to self")
    func notes() {
        let sources = tree.files.filter(\.isSource)

        check(sources, "note to self") { matches($0.text, #"\b(TODO|FIXME|XXX|HACK)\b"#) }
    }

    @Test("what the daemon links does not import Foundation")
    func foundation() {
        for file in tree.sources where !Self.foundationUsers.contains(file.directory) {
            let found = imports(of: file).filter { $0.hasPrefix("Foundation") }
            #expect(found.isEmpty, "\(file.path) imports \(found)")
        }
    }

    @Test("no path of one developer's machine is written down")
    func paths() {
        let pattern = "(?<![\\w.)}/-])/" + "(work|home/\\w+)/"
        for file in tree.files {
            for (index, line) in file.lines.enumerated() where matches(line, pattern) {
                Issue.record("\(file.path):\(index + 1): absolute path")
            }
        }
    }

    @Test("nothing that a build makes is tracked")
    func products() throws {
        let made = try tree.tracked().filter {
            $0.hasPrefix(".build") || $0.contains("/.build") || $0.hasSuffix("Package.resolved")
                || $0.hasSuffix(".profraw") || $0.hasSuffix(".key")
        }

        #expect(made.isEmpty)
    }

    @Test("files that readers look for are there", arguments: required)
    func present(path: String) { #expect(tree.files.contains { $0.path == path }) }

    @Test("Swift files end with exactly one line end and hold no tabs or trailing blanks")
    func whitespace() {
        for file in tree.swift {
            #expect(file.lines.last == "" && file.lines.dropLast().last != "", "\(file.path)")
        }
        check(tree.swift, "tab or trailing blank") {
            !$0.isInsideLiteral && matches($0.text, "\\t|[ ]$")
        }
    }

    @Test("no two members of an option set have the same bit")
    func bits() {
        var count = 0
        // On the wire two flags may be one, as they are of different frames.
        for file in tree.sources {
            var set = ""
            var names: [String: String] = [:]
            // Regular expressions are slow: most lines have none of the words.
            for line in file.lines where line.contains("OptionSet") || line.contains("rawValue:") {
                if let found = line.firstMatch(of: /struct (\w+): OptionSet/) {
                    set = String(found.1)
                    names = [:]
                }
                guard
                    let found = line.firstMatch(
                        of: /static let (\w+) = (\w+)\(rawValue: ([0-9_]+)\)/),
                    found.2 == set
                else { continue }
                count += 1
                let other = names.updateValue(String(found.1), forKey: String(found.3))
                #expect(other == nil, "\(file.path): \(other ?? "") and \(found.1)")
            }
        }
        #expect(count > 60)
    }

    @Test("the rules see through comments and literals")
    func cutting() {
        let text = [
            "let a = \"try! // no\" // try! in a comment", "/* try!", "as! */ let b = 1",
            "let c = \"\"\"", "  fatalError(", "  \"\"\"", "let d = try! e()",
        ]
        let file = SourceTree.File(path: "x.swift", lines: text)

        let code = CodeLine.split(file).map(\.code)

        #expect(
            code == ["let a = \"\" ", "", " let b = 1", "", "", "", "let d = try! e()"])
    }
}
