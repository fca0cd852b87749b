internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

/// The reference site with the daemon on its first node, and what is measured there.
///
/// `EDGED_LONG=1` gives outages their full length, `EDGED_FIGURES=1` prints each lane's report, and
/// `EDGED_SITE_BARE=1` leaves out keys that releases before health checks do not know.
final class SiteRun {
    let site: ReferenceSite
    let balancer: SiteBalancer

    /// - Parameter prepare: run when the site stands and the daemon does not run yet.
    init(
        _ parts: ReferenceSite.Parts, _ options: SiteBalancer.Options = .init(),
        resolver: SiteResolver.Program = .dnsmasq, ttl: Int = 3600,
        prepare: (ReferenceSite) throws -> Void = { _ in }
    ) throws {
        site = try ReferenceSite(parts, resolver: resolver, ttl: ttl)
        try prepare(site)
        balancer = try Self.balancer(site, node: 0, options)
        let named = site.ingress + site.dashboards
        guard !named.isEmpty else { return }
        try waitUntilServed(named[0] === site.ingress.first ? "grafana" : "ceph")
    }

    deinit { end() }

    /// Harmless when called again.
    func end() {
        balancer.kill()
        site.tearDown()
    }

    static func balancer(
        _ site: ReferenceSite, node: Int = 0, on host: VirtualHost? = nil,
        _ options: SiteBalancer.Options = .init()
    ) throws -> SiteBalancer {
        let programs = (try Edged.program("edged") as NSString).deletingLastPathComponent
        let made = try SiteBalancer(site, node: node, on: host, programs: programs, options)
        LogBook.shared.add(made) { [weak made] in
            let lines = made?.log.split(separator: "\n").suffix(60) ?? []
            return "edged on \(host?.name ?? "lb0\(node + 1)"):\n" + lines.joined(separator: "\n")
        }
        return made
    }

    /// How long an outage lasts: its full length, or enough of it for a usual run of the tests.
    static func outage(_ short: Duration, full: Duration = .seconds(60)) -> Duration {
        isLong ? full : short
    }

    static let isLong = ProcessInfo.processInfo.environment["EDGED_LONG"] != nil

    // MARK: Asking

    /// One request from the client's host; nil for whatever is not an answer.
    func ask(_ name: String, node: Int = 0, within span: Duration = .seconds(3)) -> HTTPMessage? {
        let host = "\(name).\(ReferenceSite.domain)"
        guard
            let address = SocketAddress(address: ReferenceSite.nodeAddresses[node], port: 443),
            let tls = try? ClientTLS(serverName: host, trusting: site.mint.rootPEM),
            let client = try? RawClient(
                address, tls: tls, namespace: site.client.namespace, within: span)
        else { return nil }
        defer { client.close() }
        guard (try? client.send("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")) != nil else {
            return nil
        }
        return try? client.readResponse(within: span)
    }

    private func waitUntilServed(_ name: String) throws {
        guard eventually({ self.ask(name)?.status == 200 }) else {
            throw KitError("\(name) is not served: \(balancer.log)")
        }
    }
}

/// Reports of the lanes of one run, with moments and spans that the test noted.
struct SiteFigures {
    var reports: [LaneReport] = []
    /// When the thing under test happened.
    var event = Instant.now()
    var spans: [String: Duration] = [:]

    subscript(_ name: String) -> LaneReport {
        reports.first { $0.name == name }
            ?? LaneReport(
                name: name, begin: event, end: event, records: [], idleClosed: 0,
                connectionsOpened: 0, lagMax: .zero)
    }

    var failedCount: Int { reports.reduce(0) { $0 + $1.failedCount } }

    /// A run says nothing when its clients were late.
    var isVoid: Bool { reports.contains(where: \.isVoid) }

    /// Measures until a run is not void, three times at most, and prints what came out if asked to.
    /// A machine that is too busy for that fails the long runs, which are for figures; in the short
    /// ones nothing may fail even so, but times of void runs are nobody's.
    static func measure(
        _ title: String, _ body: () throws -> SiteFigures
    ) throws -> SiteFigures {
        for _ in 0..<2 {
            let figures = try body()
            figures.show(title)
            if !figures.isVoid { return figures }
        }
        let last = try body()
        last.show(title)
        if ProcessInfo.processInfo.environment["EDGED_LONG"] != nil {
            #expect(!last.isVoid, "the clients lagged in each of three runs")
        }
        return last
    }

    private func show(_ title: String) {
        guard ProcessInfo.processInfo.environment["EDGED_FIGURES"] != nil else { return }
        var lines: [String] = []
        for report in reports {
            let worst = report.worstWindow.map { "\($0)" } ?? "none"
            let slow = report.slowSpan(above: .milliseconds(100)).milliseconds
            let servers = report.servers.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            lines.append("\(report); servers: \(servers.joined(separator: ", "))")
            lines.append("\(report.name): slow or failing for \(slow); worst window: \(worst)")
        }
        for (name, span) in spans.sorted(by: { $0.key < $1.key }) {
            lines.append("\(name) \(span.milliseconds)")
        }
        let text = lines.map { "figure: \(title): \($0)\n" }.joined()
        FileHandle.standardError.write(Data(text.utf8))
    }
}

/// Waits; for tests in which time passing is the event.
func pass(_ span: Duration) { usleep(UInt32(span.seconds * 1e6)) }

/// How long `body` took.
func timed(_ body: () throws -> Void) rethrows -> Duration {
    let begin = Instant.now()
    try body()
    return Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
}
