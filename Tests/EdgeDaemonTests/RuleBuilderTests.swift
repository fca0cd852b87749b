import EdgeProxy
import Testing

@testable import EdgeDaemon

@Suite("Rules that a configuration comes to") struct RuleBuilderTests {
    @Test("A field that tells a client's subject is nobody's to send, in views that ask nobody too")
    func subjects() throws {
        var builder = RuleBuilder()
        builder.begin(subjectFields: ["X-Client-Subject"])
        let number = builder.number(
            view: "public", [], prefix: nil, map: nil, subjectField: nil)

        let rules = try #require(builder.compiled.first ?? nil)
        #expect(number == 0 && rules.subjectField.isEmpty)
        #expect(rules.head?.requestEdits != nil)
        builder.begin(subjectFields: [])
        #expect(
            builder.number(view: "public", [], prefix: nil, map: nil, subjectField: nil) == -1)
    }
}
