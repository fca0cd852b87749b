internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// What the site's owner has lived through, replayed with real DNS servers and real nodes.
    @Suite("Outages of DNS")
    struct Outages {}
}

extension Scenarios.Outages {
    /// New connections and kept ones by name, and new ones to a service by address.
    private func load(_ run: SiteRun, node: Int = 0) throws -> [HTTPLane] {
        [
            try run.site.lane("grafana", pace: .perSecond(40), node: node, body: "ingress\n"),
            try run.site.lane("files", pace: .perSecond(20), node: node, body: "files\n"),
        ]
    }

    @Test("DNS that is silent under load costs no request, and a reload takes a second at most")
    func silent() throws {
        let figures = try SiteFigures.measure("DNS silent") {
            let run = try SiteRun(.ingress, ttl: 1)
            defer { run.end() }
            var figures = SiteFigures()
            let third = SiteRun.outage(.seconds(9)) / 3
            let lanes = try load(run)

            pass(.seconds(1))
            try run.site.resolver.silence()
            pass(third)
            figures.spans["reload"] = try timed { try run.balancer.edgectl("reload") }
            pass(third * 2)
            try run.site.resolver.speak()
            pass(.milliseconds(500))
            figures.reports = lanes.map { $0.stop() }
            return figures
        }

        #expect(figures.failedCount == 0, "\(figures.reports)")
        let reload = figures.spans["reload"] ?? .zero
        #expect(reload < .seconds(1), "\(reload)")
    }

    /// An operator restarts a pair one after the other: clients go to the other node meanwhile, as
    /// they do when the address moves.
    @Test("while DNS is silent both nodes are restarted in turn, and no request fails")
    func restarts() throws {
        let figures = try SiteFigures.measure("DNS silent, both nodes restarted") {
            let run = try SiteRun(.ingress, ttl: 1)
            let other = try SiteRun.balancer(run.site, node: 1)
            defer {
                other.kill()
                run.end()
            }
            #expect(eventually(within: .seconds(5)) { run.ask("grafana", node: 1)?.status == 200 })
            var figures = SiteFigures()
            var parts: [LaneReport] = []
            let span = SiteRun.outage(.seconds(1), full: .seconds(15))

            var lanes = try load(run, node: 0)
            pass(.seconds(1))
            try run.site.resolver.silence()
            for (node, balancer) in [(1, run.balancer), (0, other)] {
                pass(span)
                let next = try load(run, node: node)
                parts += lanes.map { $0.stop() }
                lanes = next
                figures.spans["stop of node \(1 - node)"] = try timed { try balancer.stop() }
                figures.spans["start of node \(1 - node)"] = try timed { try balancer.start() }
            }
            pass(span)
            parts += lanes.map { $0.stop() }
            figures.reports = ["grafana", "files"].compactMap { name in
                LaneReport.joined(name, parts.filter { $0.name == name })
            }
            return figures
        }

        #expect(figures.failedCount == 0, "\(figures.reports)")
    }

    /// A machine by itself: what clients see is the time without a listener, and nothing behind it.
    @Test("a node alone, restarted while DNS is silent, serves again within a second")
    func restartAlone() throws {
        let figures = try SiteFigures.measure("DNS silent, one node restarted") {
            let run = try SiteRun(.ingress, ttl: 1)
            defer { run.end() }
            var figures = SiteFigures()
            let lanes = try load(run)

            pass(.seconds(1))
            try run.site.resolver.silence()
            pass(.seconds(1))
            figures.event = .now()
            figures.spans["restart"] = try timed {
                try run.balancer.stop()
                try run.balancer.start()
            }
            pass(.seconds(2))
            figures.reports = lanes.map { $0.stop() }
            return figures
        }

        for report in figures.reports {
            #expect(report.longestGap < .seconds(1), "\(report)")
            let restart = figures.spans["restart"] ?? .zero
            let after = report.between(figures.event.advanced(by: restart), .never)
            #expect(after.failedCount == 0, "\(after)")
            let before = report.between(report.begin, figures.event)
            #expect(before.failedCount == 0, "\(before)")
        }
    }

    @Test("under a service manager a node alone is restarted while DNS is silent: no request fails")
    func restartManaged() throws {
        let figures = try SiteFigures.measure("DNS silent, one node restarted, sockets kept") {
            var options = SiteBalancer.Options()
            options.isManaged = true
            let run = try SiteRun(.ingress, options, ttl: 1)
            defer { run.end() }
            var figures = SiteFigures()
            let lanes = try load(run)

            pass(.seconds(1))
            try run.site.resolver.silence()
            pass(SiteRun.outage(.seconds(1), full: .seconds(30)))
            figures.spans["restart"] = try timed { try run.balancer.restart() }
            pass(SiteRun.outage(.seconds(1), full: .seconds(30)))
            figures.reports = lanes.map { $0.stop() }
            return figures
        }

        #expect(figures.failedCount == 0, "\(figures.reports)")
        for report in figures.reports { #expect(report.longestGap < .seconds(2), "\(report)") }
    }

    @Test("a cold start with dead DNS serves by address and by remembered name within a second")
    func coldStart() throws {
        let figures = try SiteFigures.measure("cold start, DNS dead") {
            let run = try SiteRun(.ingress, ttl: 1)
            defer { run.end() }
            var figures = SiteFigures()
            pass(.milliseconds(500))
            run.balancer.kill()
            try run.site.resolver.silence()

            figures.event = .now()
            try run.balancer.start(waits: false)
            for name in ["files", "grafana"] {
                let isServed = eventually(within: .seconds(5)) {
                    run.ask(name, within: .milliseconds(500))?.status == 200
                }
                let span = Instant.now().nanoseconds(since: figures.event)
                figures.spans[name] = isServed ? Duration(nanoseconds: span) : nil
            }
            return figures
        }

        #expect(figures.spans["files"] ?? .seconds(5) < .seconds(1))
        #expect(figures.spans["grafana"] ?? .seconds(5) < .seconds(1))
    }

    /// A way to be wrong, of one of the real programs.
    struct Lie: CustomTestStringConvertible, Sendable {
        let program: SiteResolver.Program
        let mode: SiteResolver.Mode
        var testDescription: String { "\(program): \(mode)" }

        /// All of them where outages have their full length.
        static var cases: [Lie] {
            let usual = [
                Lie(program: .dnsmasq, mode: .oneAddress(ReferenceSite.strangerAddress))
            ]
            let others = [
                Lie(program: .unbound, mode: .serverFailure),
                Lie(program: .dnsmasq, mode: .nameErrorForAll),
                Lie(program: .unbound, mode: .nameErrorForAll),
                Lie(program: .unbound, mode: .oneAddress(ReferenceSite.strangerAddress)),
                // Where nobody answers.
                Lie(program: .dnsmasq, mode: .oneAddress("192.168.1.99")),
            ]
            return SiteRun.isLong ? usual + others : usual
        }
    }

    @Test(
        "DNS that answers nonsense costs no request",
        arguments: Lie.cases)
    func nonsense(lie: Lie) throws {
        let figures = try SiteFigures.measure("DNS lies, \(lie.testDescription)") {
            let run = try SiteRun([.ingress, .stranger], resolver: lie.program, ttl: 1)
            defer { run.end() }
            var figures = SiteFigures()
            let lanes = try load(run)

            pass(.milliseconds(500))
            try run.site.resolver.set(lie.mode)
            pass(SiteRun.outage(.seconds(7)))
            try run.balancer.edgectl("reload")
            pass(.milliseconds(500))
            try run.site.resolver.set(.normal)
            pass(.milliseconds(500))
            figures.reports = lanes.map { $0.stop() }
            return figures
        }

        #expect(figures.failedCount == 0, "\(figures.reports)")
        #expect(Set(figures["grafana"].servers.keys) == ["worker-01", "worker-06"])
    }

    @Test("with two resolvers, one that is silent or forgot its names delays nothing")
    func secondResolver() throws {
        let run = try SiteRun([.ingress, .secondResolver], Self.stateless, ttl: 1)
        defer { run.end() }
        for isSilent in [true, false] {
            run.balancer.kill()
            if isSilent {
                try run.site.resolver.silence()
            } else {
                try run.site.resolver.speak()
                try run.site.resolver.set(.nameErrorForAll)
            }

            let span = try timed {
                try run.balancer.start()
                #expect(eventually { run.ask("grafana")?.status == 200 }, "\(run.balancer.log)")
            }

            #expect(span < .seconds(1), "silent: \(isSilent), \(span)")
        }
    }

    /// Nothing is remembered: what is known has been asked for.
    private static var stateless: SiteBalancer.Options {
        var options = SiteBalancer.Options()
        options.keepsState = false
        return options
    }

    @Test("servers are found by SRV records, with their ports; one that leaves them is left")
    func services() throws {
        var options = SiteBalancer.Options()
        options.ingressServers = "{ srv: _https._tcp.home.example }"
        options.more = "dns: { refresh: 1s }"
        let run = try SiteRun(.ingress, options, ttl: 1) { site in
            try site.resolver.set(services: [
                "_https._tcp.home.example": site.ingress.map {
                    .init(port: $0.port, target: "\($0.name).\(ReferenceSite.domain)")
                }
            ])
        }
        defer { run.end() }
        func seen() throws -> Set<String> {
            let lane = try run.site.lane(
                "grafana", pace: .perSecond(40), body: "ingress\n",
                duration: .milliseconds(500))
            let report = lane.wait()
            #expect(report.failedCount == 0, "\(report)")
            return Set(report.servers.keys)
        }

        #expect(try eventually { try seen() == ["worker-01", "worker-06"] })
        try run.site.resolver.set(services: [
            "_https._tcp.home.example": [
                .init(port: 443, target: "worker-06.\(ReferenceSite.domain)")
            ]
        ])

        #expect(try eventually(within: .seconds(6)) { try seen() == ["worker-06"] })
    }

    @Test("status names the resolver that lost its names")
    func degraded() throws {
        let run = try SiteRun(.ingress, ttl: 1)
        defer { run.end() }

        try run.site.resolver.set(.nameErrorForAll)
        var status = ""
        let isTold = try eventually(within: .seconds(8)) {
            status = try run.balancer.edgectl("status")
            return status.contains("degraded") && status.contains(run.site.resolver.address)
                && status.contains("worker-01.home.example")
        }

        #expect(isTold, "\(status)")
    }
}
