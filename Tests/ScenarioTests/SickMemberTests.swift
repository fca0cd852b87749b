internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Members that are there and do no good, standbys, and members that an operator takes out.
    @Suite("Sick and resting members")
    struct SickMembers {}
}

extension Scenarios.SickMembers {
    private static let health = "health: { path: /healthz, host: grafana.home.example }"

    /// How a member falls ill, and with which retries nobody notices.
    struct Illness: CustomTestStringConvertible, Sendable {
        let mode: SiteServer.Mode?
        let settings: String
        /// What clients may see of it.
        let failedMax: Int
        var testDescription: String {
            let word = mode.map { "\($0)" } ?? "frozen"
            return settings.isEmpty ? word : "\(word), \(settings)"
        }

        /// All of them where outages have their full length.
        static var cases: [Illness] {
            let usual = [
                // Each worker looks for itself: five in a row on each of two.
                Illness(mode: .failingRequests, settings: "", failedMax: 14)
            ]
            let others = [
                Illness(mode: .hanging, settings: "", failedMax: 0),
                Illness(
                    mode: .failingRequests, settings: "retries: { statuses: [500] }", failedMax: 0),
                Illness(mode: nil, settings: "", failedMax: 0),
                Illness(mode: .failing, settings: "retries: { statuses: [500] }", failedMax: 0),
                Illness(mode: .hanging, settings: "retries: { per_try: 300ms }", failedMax: 0),
                Illness(mode: nil, settings: "retries: { per_try: 300ms }", failedMax: 0),
            ]
            return SiteRun.isLong ? usual + others : usual
        }
    }

    @Test(
        "a member that fails or hangs is out soon, and comes back by itself",
        arguments: Illness.cases)
    func illness(illness: Illness) throws {
        let figures = try SiteFigures.measure("a member is \(illness.testDescription)") {
            var options = SiteBalancer.Options()
            let parts = [Self.health, illness.settings].filter { !$0.isEmpty }
            options.ingress = parts.joined(separator: ", ")
            let run = try SiteRun(.ingress, options)
            defer { run.end() }
            let server = run.site.ingress[0]
            var figures = SiteFigures()
            let lane = try run.site.lane(
                "grafana", pace: .perSecond(50), keepsAlive: true, body: "ingress\n")

            pass(.seconds(1))
            if let mode = illness.mode { try server.set(mode) } else { server.freeze() }
            pass(SiteRun.outage(.seconds(5), full: .seconds(20)))
            if illness.mode != nil { try server.set(.normal) } else { server.thaw() }
            figures.event = .now()
            // An ejection of at most four seconds, and two checks.
            pass(SiteRun.outage(.seconds(8), full: .seconds(40)))
            figures.reports = [lane.stop()]
            return figures
        }

        let report = figures["grafana"]
        #expect(report.failedCount <= illness.failedMax, "\(report)")
        let last = report.between(
            figures.event.advanced(by: SiteRun.outage(.seconds(6), full: .seconds(38))), .never)
        #expect(last.servers.keys.contains("worker-01"), "\(last.servers)")
        #expect(last.failedCount == 0, "\(last)")
    }

    @Test("of dashboards the active one has the traffic, also after a promotion")
    func promotion() throws {
        let figures = try SiteFigures.measure("dashboard promoted") {
            var options = SiteBalancer.Options()
            options.dashboards =
                "health: { preset: active-member, path: /, host: ceph.home.example, interval: 1s }"
            let run = try SiteRun(.dashboards, options)
            defer { run.end() }
            var figures = SiteFigures()
            let lane = try run.site.lane("ceph", pace: .perSecond(50), body: "dashboard\n")

            // Between two requests: one that is due before it shall be answered before it.
            pass(.milliseconds(1990))
            figures.event = .now()
            try run.site.dashboards[0].set(.redirecting)
            try run.site.dashboards[3].set(.normal)
            pass(.seconds(3))
            figures.reports = [lane.stop()]
            return figures
        }

        let report = figures["ceph"]
        let before = report.between(report.begin, figures.event)
        #expect(before.failedCount == 0, "\(before)")
        #expect(Set(before.servers.keys) == ["ceph-01"], "\(before.servers)")
        // The interval, its jitter, and the check itself.
        let after = report.between(figures.event.advanced(by: .milliseconds(1300)), .never)
        #expect(after.failedCount == 0, "\(after)")
        #expect(Set(after.servers.keys) == ["ceph-04"], "\(after.servers)")
    }

    @Test("a member is drained and made ready again under load, without a failed request")
    func drain() throws {
        let figures = try SiteFigures.measure("drain and ready") {
            let run = try SiteRun(.ingress)
            defer { run.end() }
            var figures = SiteFigures()
            let member = run.site.ingress[0].address
            let lane = try run.site.lane("grafana", pace: .perSecond(50), body: "ingress\n")

            pass(.seconds(1))
            try run.balancer.edgectl("upstream", "drain", "ingress", member)
            figures.event = .now()
            pass(.seconds(2))
            try run.balancer.edgectl("upstream", "ready", "ingress", member)
            pass(.seconds(2))
            figures.reports = [lane.stop()]
            return figures
        }

        let report = figures["grafana"]
        #expect(report.failedCount == 0, "\(report)")
        let drained = report.between(
            figures.event.advanced(by: .milliseconds(100)),
            figures.event.advanced(by: .milliseconds(1900)))
        #expect(Set(drained.servers.keys) == ["worker-06"], "\(drained.servers)")
        let last = report.between(figures.event.advanced(by: .milliseconds(3000)), .never)
        #expect(last.servers.keys.contains("worker-01"), "\(last.servers)")
    }
}
