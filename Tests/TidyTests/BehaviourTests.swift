internal import Foundation
internal import Testing

@Suite("The table of behaviour")
struct BehaviourTests {
    /// Rules that the table must have a row for.
    static let rules = Array(1...44) + [46, 48, 49]

    private static let path = "docs/behaviour.md"
    private let tree: SourceTree
    private let rows: [(rule: Int, text: String)]

    init() throws {
        tree = try SourceTree.load()
        let file = try #require(tree.files.first { $0.path == Self.path })
        rows = file.lines.compactMap { line in
            let cells = line.components(separatedBy: " | ")
            guard cells.count >= 3, line.hasPrefix("| "),
                let rule = Int(cells[0].dropFirst(2).trimmingCharacters(in: .whitespaces))
            else { return nil }
            return (rule, line)
        }
    }

    /// Every “name” (file) of a row.
    private func references(_ text: String) -> [(name: String, file: String)] {
        text.components(separatedBy: "“").dropFirst().compactMap { part in
            guard let end = part.range(of: "” ("),
                let close = part[end.upperBound...].firstIndex(of: ")")
            else { return nil }
            return (String(part[..<end.lowerBound]), String(part[end.upperBound..<close]))
        }
    }

    @Test("every rule has one row, and every row names a test", arguments: rules)
    func complete(rule: Int) {
        let found = rows.filter { $0.rule == rule }

        #expect(found.count == 1)
        for row in found { #expect(!references(row.text).isEmpty, "\(row.text.prefix(60))") }
    }

    @Test("every test that the table names is in the file that it names")
    func exist() {
        var count = 0
        for row in rows {
            for (name, file) in references(row.text) {
                count += 1
                let source = tree.files.first { $0.path == "Tests/\(file)" }
                #expect(source != nil, "rule \(row.rule): no file Tests/\(file)")
                let text = source?.lines.joined(separator: "\n") ?? ""
                let isThere = [#"@Test("\#(name)""#, "@Test(\n        \"\(name)\""].contains {
                    text.contains($0)
                }
                #expect(isThere, "rule \(row.rule): no test “\(name)” in \(file)")
            }
        }
        // None is overlooked for how it is written.
        #expect(count == rows.reduce(0) { $0 + $1.text.components(separatedBy: "“").count - 1 })
        #expect(count > 60)
    }
}
