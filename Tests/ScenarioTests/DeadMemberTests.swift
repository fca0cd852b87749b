internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// A host that is gone without a RST: whoever asks it gets no answer at all.
    @Suite("Dead members")
    struct DeadMembers {}
}

extension Scenarios.DeadMembers {
    /// Nobody waits longer than this, and that for a second at most. The short form runs beside
    /// other tests: it looks for what fails, and for what hangs.
    private static let slowest = SiteRun.outage(.seconds(1), full: .milliseconds(300))
    private static let usual = SiteRun.outage(.milliseconds(500), full: .milliseconds(100))

    private func expectUnharmed(
        _ report: LaneReport, _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(report.failedCount == 0, "\(report)", sourceLocation: location)
        guard !report.isVoid else { return }
        // Of all requests, not of a window of five: that would be the machine's worst moment.
        #expect(report.p99 <= Self.usual, "\(report)", sourceLocation: location)
    }

    /// - Parameter underWay: what may be lost with the server at that moment, where nothing can be
    ///   asked twice.
    private func expectHardlyFelt(
        _ report: LaneReport, underWay: Int = 0, _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(report.failedCount <= underWay, "\(report)", sourceLocation: location)
        guard !report.isVoid else { return }
        let worst = report.worstWindow?.p99 ?? .zero
        #expect(worst <= Self.slowest, "\(worst) in \(report)", sourceLocation: location)
        let span = report.slowSpan(above: Self.usual)
        #expect(span <= .seconds(1), "\(span) in \(report)", sourceLocation: location)
    }

    @Test("an ingress node that dies is hardly felt, and other sites not at all")
    func ingress() throws {
        let figures = try SiteFigures.measure("ingress node gone") {
            var options = SiteBalancer.Options()
            options.ingress = "health: { path: /healthz, host: grafana.home.example }"
            let run = try SiteRun(.ingress, options)
            defer { run.end() }
            var figures = SiteFigures()
            let new = try run.site.lane("grafana", pace: .perSecond(50), body: "ingress\n")
            let files = try run.site.lane("files", pace: .perSecond(50), body: "files\n")

            pass(.seconds(2))
            try run.site.ingress[0].vanish()
            figures.event = .now()
            pass(SiteRun.outage(.seconds(4), full: .seconds(30)))
            figures.reports = [new.stop(), files.stop()]
            return figures
        }

        expectHardlyFelt(figures["grafana"])
        expectUnharmed(figures["files"])
    }

    @Test("the same with 500 requests per second on kept connections; the node's return too")
    func ingressKept() throws {
        let figures = try SiteFigures.measure("ingress node gone, kept connections") {
            var options = SiteBalancer.Options()
            options.ingress = "health: { path: /healthz, host: grafana.home.example }"
            let run = try SiteRun(.ingress, options)
            defer { run.end() }
            var figures = SiteFigures()
            let kept = try run.site.lane(
                "grafana", pace: .perSecond(500), keepsAlive: true, body: "ingress\n")
            let files = try run.site.lane("files", pace: .perSecond(50), body: "files\n")

            pass(.seconds(2))
            try run.site.ingress[0].vanish()
            pass(SiteRun.outage(.seconds(4), full: .seconds(30)))
            try run.site.ingress[0].reappear()
            figures.event = .now()
            pass(.seconds(6))
            figures.reports = [kept.stop(), files.stop()]
            return figures
        }

        expectHardlyFelt(figures["grafana"])
        expectUnharmed(figures["files"])
        let after = figures["grafana"].between(figures.event.advanced(by: .seconds(5)), .never)
        #expect(after.servers.keys.contains("worker-01"), "\(after.servers)")
    }

    @Test("one kube-apiserver of three that dies is hardly felt through a tcp listener")
    func apiserver() throws {
        let figures = try SiteFigures.measure("kube-apiserver gone") {
            var options = SiteBalancer.Options()
            options.apiservers = "health: { preset: kube-apiserver, ca: ca.pem }"
            let run = try SiteRun(.apiservers, options)
            defer { run.end() }
            var figures = SiteFigures()
            let api = try run.site.apiserverLane(pace: .perSecond(50))
            let files = try run.site.lane("files", pace: .perSecond(50), body: "files\n")

            pass(.seconds(2))
            try run.site.apiservers[0].vanish()
            figures.event = .now()
            pass(SiteRun.outage(.seconds(4), full: .seconds(30)))
            figures.reports = [api.stop(), files.stop()]
            return figures
        }

        expectHardlyFelt(figures["apiserver"], underWay: 1)
        expectUnharmed(figures["files"])
        let before = figures["apiserver"].between(figures["apiserver"].begin, figures.event)
        #expect(before.servers.count == 3, "\(before.servers)")
    }
}
