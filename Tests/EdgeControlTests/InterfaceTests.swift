import EdgeControlAPI
import Glibc
import Testing

@testable import EdgeControl

/// What others rely on: JSON's members, and the documentation of the routes.
@Suite("The interface that others rely on") struct InterfaceTests {
    private static let root = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(3).joined(separator: "/")

    private static func text(_ path: String) -> String { shell("cat \(root)/\(path)").output }

    private static var replies: [(String, JSONValue)] {
        let status = Samples.status
        let member = status.upstreams[0].members[1]
        var explanation = ExplainReply(outcome: .forwarded, verdict: "sent to upstream app")
        explanation.steps = [ExplainStep("view", "lan")]
        explanation.members = [ExplainMember(address: "10.0.0.1:80", state: "up")]
        return [
            ("status", status.json),
            ("upstreams", UpstreamsReply(now: 1000, upstreams: status.upstreams).json),
            (
                "member",
                MemberReply(upstream: "ingress", order: .drain, member: member, available: 1).json
            ),
            ("certificates", CertificateRouteTests.reply.json),
            ("dns", DNSExportTests.records.json), ("explain", explanation.json),
            ("config", ConfigurationReply(path: "/etc/edged.yaml", text: "version: 1\n").json),
            (
                "reload",
                ReloadReply(
                    outcome: .reloaded, diagnostics: ["a.yaml:1:2: warning: x"], epoch: 4,
                    milliseconds: 12, confirmUntil: 1060
                ).json
            ),
            ("plan", OperationSamples.plan.json), ("confirm", ConfirmReply(epoch: 4).json),
            (
                "upgrade",
                UpgradeReply(
                    outcome: .abandoned, diagnostics: ["it ended with 71"], version: "0.1.0",
                    milliseconds: 40
                ).json
            ),
            ("node", NodeReply(order: .drain, drainedSince: 990, connections: 12).json),
            ("figures", OperationSamples.figures.json),
            ("incidents", OperationSamples.incidents.json),
            ("doctor", OperationSamples.doctor.json),
            ("vip", OperationSamples.vip.json), ("yield", OperationSamples.yielded.json),
            ("limits", LimitSamples.limits.json), ("limit-top", LimitSamples.top.json),
            ("limit-client", LimitSamples.client.json),
            (
                "limit-order",
                LimitOrderReply(
                    order: "ban", client: "198.51.100.7", until: 4600, changed: 1
                ).json
            ),
            ("error", ErrorReply(error: "no such path").json),
        ]
    }

    /// After a change that readers can live with: EDGED_RECORD=1 writes the files anew.
    @Test("No member of a reply has changed", arguments: 0..<replies.count)
    func golden(index: Int) throws {
        let (name, json) = Self.replies[index]
        let path = "Tests/Golden/control/\(name).json"
        if getenv("EDGED_RECORD") != nil {
            let file = try #require(fopen("\(Self.root)/\(path)", "w"))
            fputs(json.prettyText + "\n", file)
            fclose(file)
        }

        #expect(Self.text(path) == json.prettyText + "\n", "\(path)")
    }

    @Test("docs/admin-api.md has every route with its methods, and says which are for everybody")
    func documentation() {
        let rows = Self.text("docs/admin-api.md").split(separator: "\n").filter {
            $0.hasPrefix("| `/")
        }.map { row in
            row.split(separator: "|").map { $0.drop { $0 == " " }.reversed().drop { $0 == " " } }
                .map { String($0.reversed()) }
        }

        #expect(rows.count == ControlRoute.allCases.count)
        for route in ControlRoute.allCases {
            let row = rows.first { $0[0] == "`\(route.path)`" }
            let methods = route.methods.filter { $0 != "HEAD" }.joined(separator: ", ")
            #expect(row?[1] == methods, "\(route.path)")
            #expect(row?.last == (route.isOpen(to: .tcp) ? "yes" : "no"), "\(route.path)")
        }
    }

    @Test("Every kind that the documentation lists is one, and the other way round")
    func kinds() {
        let text = Self.text("docs/admin-api.md")

        for kind in Incident.Kind.allCases { #expect(text.contains("`\(kind.rawValue)`")) }
        for kind in PlannedKind.allCases { #expect(text.contains("`\(kind.rawValue)`")) }
        for fate in PlannedFate.allCases { #expect(text.contains("`\(fate.rawValue)`")) }
    }
}
