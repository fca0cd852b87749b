internal import Foundation
internal import Testing

@Suite("Dependency table")
struct DependencyTests {
    private let tree: SourceTree
    private let manifest: Manifest

    /// Targets whose rows may be ahead of their files. Take one out when it has caught up.
    static let underConstruction: Set<String> = [
        // Named by the suites to come.
        "EdgeTesting", "EdgeNet", "ScenarioTests", "NetTests", "EdgeProxy",
    ]

    init() throws {
        tree = try SourceTree.load()
        let package = try #require(tree.files.first { $0.path == "Package.swift" })
        manifest = Manifest(package.lines.joined(separator: "\n"))
    }

    private func files(of row: Manifest.Row) -> [SourceTree.File] {
        tree.swift.filter { $0.path.hasPrefix(row.path + "/") }
    }

    /// Modules of this package or its dependencies, as opposed to the toolchain's.
    private func ours(_ modules: Set<String>) -> Set<String> {
        let known = manifest.rows.reduce(into: manifest.targetNames) {
            $0.formUnion($1.dependencies)
        }
        return modules.intersection(known)
    }

    @Test("the table is read whole")
    func reading() throws {
        let names = manifest.targetNames
        let folders = Set(
            tree.files.filter { $0.isSource }.map(\.directory))

        #expect(names.isSuperset(of: folders), "\(folders.subtracting(names))")
        let control = try #require(manifest.rows.first { $0.name == "edgectl" })
        #expect(control.dependencies == ["EdgeControlAPI", "ArgumentParser"])
        #expect(control.path == "Sources/edgectl")
        #expect(manifest.rows.first { $0.name == "EdgeNet" }?.path == "Tests/Net")
        #expect(manifest.rows.first { $0.name == "EdgeDNSTests" }?.isUniform == true)
        #expect(Set(manifest.rows.map(\.name)).count == manifest.rows.count)
    }

    @Test("a target imports what its row lists and nothing else")
    func imported() {
        for row in manifest.rows {
            for file in files(of: row) {
                let surplus = ours(imports(of: file)).subtracting(row.dependencies)
                #expect(surplus.isEmpty, "\(file.path) imports \(surplus.sorted())")
            }
        }
    }

    @Test("a row lists nothing that its target does not import")
    func unused() {
        for row in manifest.rows where !row.isUniform {
            let used = files(of: row).reduce(into: Set<String>()) { $0.formUnion(imports(of: $1)) }
            let idle = row.dependencies.subtracting(used)
            if Self.underConstruction.contains(row.name) { continue }
            #expect(idle.isEmpty, "\(row.name) lists \(idle.sorted())")
        }
    }

    @Test("libraries depend on each other in one direction only")
    func acyclic() {
        let rows = Dictionary(uniqueKeysWithValues: manifest.rows.map { ($0.name, $0) })
        var done: Set<String> = []
        var open: [String] = []

        func visit(_ name: String) {
            if let start = open.firstIndex(of: name) {
                Issue.record("cycle: \((open[start...] + [name]).joined(separator: " → "))")
                return
            }
            guard !done.contains(name), let row = rows[name] else { return }
            open.append(name)
            for next in row.dependencies.sorted() { visit(next) }
            open.removeLast()
            done.insert(name)
        }
        for name in rows.keys.sorted() { visit(name) }
    }

    @Test("policy and pure protocol see neither the ring nor OpenSSL nor any C module")
    func layers() {
        let pure: Set<String> = [
            "EdgeCore", "EdgePreface", "EdgeHTTP", "EdgeHTTP1", "EdgeRouting", "EdgeUpstream",
            "EdgeVRRP",
        ]
        for row in manifest.rows where pure.contains(row.name) {
            #expect(row.dependencies.isSubset(of: pure), "\(row.name)")
        }
    }

    @Test("imports are found in all their spellings")
    func spellings() {
        let lines = [
            "import EdgeCore", "internal import CEdge", "@testable import EdgeTLS",
            "package import struct EdgeHTTP.Method", "@_spi(x) public import EdgeRing",
            "// import EdgeDNS", "let text = \"import EdgeNet\"", "important EdgeDaemon",
        ]

        let found = imports(of: SourceTree.File(path: "x.swift", lines: lines))

        #expect(found == ["EdgeCore", "CEdge", "EdgeTLS", "EdgeHTTP", "EdgeRing"])
    }
}
