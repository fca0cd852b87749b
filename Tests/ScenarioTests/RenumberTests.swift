internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Addresses change behind names whose TTL is an hour.
    @Suite("Renumbered nodes")
    struct Renumbered {}
}

extension Scenarios.Renumbered {
    private func renumber(_ site: ReferenceSite) throws {
        for (server, address) in zip(site.ingress, ["192.168.1.121", "192.168.1.126"]) {
            try server.renumber(to: address)
        }
    }

    @Test("under load new addresses are used a second after DNS has them")
    func underLoad() throws {
        let figures = try SiteFigures.measure("renumbered under load") {
            let run = try SiteRun(.ingress)
            defer { run.end() }
            var figures = SiteFigures()
            let lane = try run.site.lane("grafana", pace: .perSecond(50), body: "ingress\n")
            let kept = try run.site.lane(
                "grafana", label: "kept", pace: .perSecond(50), keepsAlive: true,
                body: "ingress\n")
            let files = try run.site.lane("files", pace: .perSecond(50), body: "files\n")

            pass(.seconds(1))
            try renumber(run.site)
            try run.site.publishNames()
            figures.event = .now()
            pass(.seconds(5))
            figures.reports = [lane, files, kept].map { $0.stop() }
            figures.noteRecovery()
            return figures
        }

        let late = figures.event.advanced(by: .seconds(1))
        for name in ["grafana", "kept"] {
            let after = figures[name].between(late, .never)
            #expect(after.failedCount == 0, "\(after)")
            #expect(
                after.p99 < SiteRun.outage(.seconds(1), full: .milliseconds(300)), "\(after)")
        }
        let span = figures.spans["first good answer"] ?? .seconds(9)
        #expect(span <= .seconds(1), "\(span)")
        #expect(figures["files"].failedCount == 0, "\(figures["files"])")
    }

    @Test("when DNS has them only later, they are used a second after that")
    func later() throws {
        let figures = try SiteFigures.measure("renumbered, DNS 3 s later") {
            let run = try SiteRun(.ingress)
            defer { run.end() }
            var figures = SiteFigures()
            let lane = try run.site.lane("grafana", pace: .perSecond(50), body: "ingress\n")

            pass(.seconds(1))
            try renumber(run.site)
            pass(.seconds(3))
            try run.site.publishNames()
            figures.event = .now()
            pass(.seconds(5))
            figures.reports = [lane.stop()]
            figures.noteRecovery()
            return figures
        }

        let after = figures["grafana"].between(figures.event.advanced(by: .seconds(1)), .never)
        #expect(after.failedCount == 0, "\(after)")
        #expect(
            after.p99 < SiteRun.outage(.seconds(1), full: .milliseconds(300)), "\(after)")
        let span = figures.spans["first good answer"] ?? .seconds(9)
        #expect(span <= .seconds(1), "\(span)")
    }

    @Test("without traffic the first request, five seconds later, is answered at once")
    func idle() throws {
        var status: Int?
        let figures = try SiteFigures.measure("renumbered without traffic") {
            let run = try SiteRun(.ingress)
            defer { run.end() }
            var figures = SiteFigures()

            try renumber(run.site)
            try run.site.publishNames()
            pass(.seconds(5))
            figures.spans["first answer"] = timed { status = run.ask("grafana")?.status }
            return figures
        }

        #expect(status == 200)
        let span = figures.spans["first answer"] ?? .seconds(9)
        #expect(span < .milliseconds(500), "\(span)")
    }
}

extension SiteFigures {
    /// How long after the event the first request was answered that was due after it.
    fileprivate mutating func noteRecovery() {
        let good = self["grafana"].records.filter { $0.failure == nil && $0.scheduled >= event }
        spans["first good answer"] = good.map(\.finished).min().map {
            Duration(nanoseconds: $0.nanoseconds(since: event))
        }
    }
}
