import EdgeCore
import Testing

@testable import EdgeConfig

@Suite("The schema")
struct SchemaTests {
    static let paths = Schema.current.keys.map(\.path)

    @Test("No key is listed twice, and every parent is listed")
    func consistent() {
        let keys = Schema.current.keys
        let parents = Set(keys.compactMap(\.childrenPath)).union(["", Schema.rules])

        #expect(Set(Self.paths).count == keys.count)
        for key in keys { #expect(parents.contains(key.parent), "\(key.path)") }
        for parent in parents { #expect(!Schema.current.children(of: parent).isEmpty, "\(parent)") }
    }

    @Test("Every cross-reference leads to a key", arguments: Schema.current.keys.map(\.path))
    func seeAlso(path: String) throws {
        let key = try #require(Schema.current.key(path))

        for other in key.seeAlso { #expect(Schema.current.key(other) != nil, "\(other)") }
    }

    @Test("Every key is documented: its effect, and what its absence means", arguments: paths)
    func documented(path: String) throws {
        let key = try #require(Schema.current.key(path))

        #expect(key.effect.hasSuffix("."))
        #expect([key.isRequired, key.defaultText != nil, key.absence != nil].count { $0 } == 1)
    }

    @Test("The decoder reads every key of the schema and no other")
    func decoded() throws {
        let bundle = try ConfigurationBundle.read(
            path: Repository.conf + "edged.yaml", node: "lb-01")

        let (_, pass) = try Configuration.decode(bundle, schema: .current)

        let unread = Set(Self.paths).subtracting(pass.visited)
        #expect(pass.visited.isSubset(of: Self.paths))
        #expect(unread.isEmpty, "\(unread)")
    }

    @Test("Every key appears in an example", arguments: paths)
    func exemplified(path: String) throws {
        #expect(try Self.exemplified.get().contains(path))
    }

    private static let exemplified = Result {
        var found: Set<String> = []
        for path in Repository.files(under: Repository.conf, suffix: ".yaml") {
            let document = try Document(path: path, bytes: Repository.bytes(of: path))
            collect(document.root, at: "", into: &found)
        }
        return found
    }

    private static func collect(_ node: Node, at parent: String, into found: inout Set<String>) {
        guard case .mapping(let entries) = node.content else { return }
        for entry in entries {
            var path = parent.isEmpty ? entry.key : "\(parent).\(entry.key)"
            if Schema.ruleOwners.contains(parent), Schema.current.key(path) == nil {
                path = "\(Schema.rules).\(entry.key)"
            }
            found.insert(path)
            switch (Schema.current.key(path)?.type, entry.value.content) {
            case (.mapping, _), (.mappingOrOff, _), (.textOrMapping, .mapping):
                collect(entry.value, at: path, into: &found)
            case (.mappings, .sequence(let items)), (.textsOrMappings, .sequence(let items)):
                for item in items { collect(item, at: path + "[]", into: &found) }
            case (.named, .mapping(let named)):
                for item in named { collect(item.value, at: path + ".*", into: &found) }
            default: continue
            }
        }
    }

    @Test("Every default is a value that the key accepts", arguments: paths)
    func defaults(path: String) throws {
        let key = try #require(Schema.current.key(path))
        guard let text = key.defaultText else { return }

        switch key.type {
        case .duration(let range): #expect(try range.contains(Quantity.duration(text)))
        case .size(let range): #expect(try range.contains(Quantity.size(text)))
        case .integer(let range): #expect(try range.contains(#require(Int(text))))
        case .integerOrAuto: #expect(text == "auto")
        case .sizeOrUnlimited, .durationOrUnlimited: #expect(text == "unlimited")
        case .choice(let words): #expect(words.contains(text))
        case .texts(.address, _): #expect(text == "\"::\"")
        case .text(.preempt): #expect(text == "no")
        case .text(.path) where path == "pair.directory": #expect(text == "pair")
        case .text where path == "views.*.unknown":
            #expect(try TextValue.unknown(text) == .notFound)
        case .text, .texts, .textsByView, .textOrMapping, .fields, .statuses, .mapping,
            .mappingOrOff, .mappings, .textsOrMappings, .named:
            Issue.record("\(path) has a default")
        }
    }

    @Test("The reference in docs/ is what the schema renders")
    func reference() throws {
        let rendered = Schema.current.reference()
        if Repository.isRecording { try Repository.write(rendered, to: Repository.reference) }

        let checkedIn = try Repository.bytes(of: Repository.reference)

        let isCurrent = Array(rendered.utf8) == checkedIn
        #expect(isCurrent, "run EDGED_RECORD=1 swift test --filter SchemaTests")
    }
}
