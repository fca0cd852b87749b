import EdgeConfig
import EdgeControlAPI
import EdgePair
import EdgeTesting
import Testing

@testable import EdgeDaemon

@Suite("What a node says to the pair of its plan") struct PairPlanTests {
    private static func preparation(
        _ more: String = "", previous: Preparation? = nil
    ) throws -> Preparation {
        let text = """
            version: 1
            listeners: [{ name: web, port: 80, protocol: http }]
            sites: [{ hosts: a.example, upstream: app }]
            upstreams: { app: { servers: ["10.0.0.1:80"] } }
            \(more)
            """
        let bundle = ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)), included: [])
        return try Preparation.prepare(bundle, previous: previous, workers: nil)
    }

    /// - Parameter isOnTrial: before it was asked for.
    private static func answer(
        _ old: String, _ new: String, isOnTrial: Bool = false
    ) throws -> (outcome: PairOrderResult.Outcome, lines: [String]) {
        let before = try preparation(old)
        let after = try preparation(new, previous: before)
        let plan = try ReloadPlan(from: before, to: after) { _, _ in nil }
        return PairPlan(
            result: .success(plan.reply(epoch: 1, drainSeconds: 1)),
            facts: PairPlan.Facts(from: before, to: after), isOnTrial: isOnTrial
        ).answer
    }

    @Test("The same bytes are nothing to do; other ones are, if only a comment differs")
    func same() throws {
        #expect(try Self.answer("", "").outcome == .unchanged)
        #expect(try Self.answer("", "# Hello.").outcome == .done)
        #expect(try Self.answer("", "workers: 7").outcome == .refused)
    }

    @Test("What is on trial is not asked again: it would be skipped, and go back")
    func onTrial() throws {
        for text in ["", "# Hello."] {
            let answer = try Self.answer("", text, isOnTrial: true)
            #expect(answer.outcome == .failed)
            #expect(answer.lines.first?.contains("waits for its confirmation") == true)
        }
    }

    @Test("A reload of both does not change the link that it needs")
    func link() throws {
        let pair = "pair: { listen: \"127.0.0.1:7\", peer: \"127.0.0.2:7\" }"
        let moved = "pair: { listen: \"127.0.0.1:7\", peer: \"127.0.0.2:8\" }"
        for (old, new) in [(pair, moved), (pair, ""), ("", pair)] {
            let answer = try Self.answer(old, new)
            #expect(answer.outcome == .refused)
            #expect(answer.lines.first?.contains("reload each node by itself") == true)
        }
        #expect(try Self.answer(pair, pair + "\n# Hello.").outcome == .done)
    }
}
