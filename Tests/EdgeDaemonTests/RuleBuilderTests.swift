import EdgeLimits
import EdgeProxy
import EdgeRouting
import Testing

@testable import EdgeDaemon

@Suite("Rules that a configuration comes to") struct RuleBuilderTests {
    @Test("A field that tells a client's subject is nobody's to send, in views that ask nobody too")
    func subjects() throws {
        var builder = RuleBuilder()
        builder.begin(subjectFields: ["X-Client-Subject"])
        let number = builder.number(
            view: "public", [], site: "a", prefix: nil, map: nil, subjectField: nil)

        let rules = try #require(builder.compiled.first ?? nil)
        #expect(number == 0 && rules.subjectField.isEmpty)
        #expect(rules.head?.requestEdits != nil)
        builder.begin(subjectFields: [])
        #expect(
            builder.number(
                view: "public", [], site: "a", prefix: nil, map: nil, subjectField: nil) == -1)
    }

    @Test("Sites under the same policies share rules and a plan, unless one counts them apart")
    func places() throws {
        var builder = RuleBuilder()
        var apart = LimitPolicy(name: "apart")
        apart.scope = .site
        builder.begin(subjectFields: [], policies: [LimitPolicy(name: "together"), apart])
        func number(_ site: String, _ policies: [Int]) -> Int32 {
            var rules = RuleConfiguration()
            rules.rateLimits = policies
            return builder.number(
                view: "v", [rules], site: site, prefix: nil, map: nil, subjectField: nil)
        }

        #expect(number("a", [0]) == number("b", [0]))
        #expect(number("a", [0, 1]) != number("b", [0, 1]))
        #expect(number("a", []) == -1)

        #expect(builder.places.map(\.policies) == [[0], [0, 1], [0, 1]])
        #expect(builder.places[0].site == 0)
        #expect(builder.places[1].site != builder.places[2].site)
        #expect(builder.compiled.compactMap { $0?.limitPlan } == [0, 1, 2])
    }
}
