import EdgeCore
import EdgeSystem
import Foundation
import Testing

@testable import EdgeControl

/// What `deploy/` shows and watches, against what the daemon says.
@Suite("Dashboard and alert rules") struct DashboardTests {
    private static let files = ["deploy/grafana/edged.json", "deploy/prometheus/edged.rules.yaml"]

    private static func text(_ file: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: root.appending(path: file), encoding: .utf8)
    }

    /// Every family that `/metrics` has, with the samples of its histograms.
    private static func known() throws -> Set<Substring> {
        let bytes = SharedBoard.byteCount(workers: 1)
        let file = try MemoryFile.make(name: "board", byteCount: bytes)
        let board = try SharedBoard(descriptor: file.raw, workers: 1, create: true)
        var metrics = MetricsText()
        metrics.board(
            board, info: .init(version: "1", started: 1, epoch: 1, violationLabel: { _ in nil }))
        metrics.upstreams(Samples.status)
        metrics.certificates(
            [],
            CertificateFigures(
                quarantined: 0, rotations: 0, failures: [], isClockSynchronised: true))
        metrics.failover(OperationSamples.vip)
        metrics.limits(LimitSamples.limits, fileFailures: 0)
        var traffic = TrafficText()
        traffic.sites([], [])
        traffic.upstreams([], [])
        traffic.views([])
        let text = metrics.text + String(decoding: traffic.bytes, as: UTF8.self)
        var names: Set<Substring> = []
        for line in text.split(separator: "\n") where line.hasPrefix("# TYPE ") {
            let words = line.split(separator: " ")
            names.insert(words[2])
            guard words[3] == "histogram" else { continue }
            for end in ["_bucket", "_sum", "_count"] { names.insert(words[2] + end) }
        }
        return names
    }

    @Test("Every metric that is named there is one of ours", arguments: files)
    func names(file: String) throws {
        let known = try Self.known()
        let used = try Self.text(file).matches(of: #/edged_[a-z0-9_]+/#).map(\.output)

        #expect(used.count > 10)
        for name in Set(used) { #expect(known.contains(name), "\(name)") }
    }

    @Test("The dashboard is one that Grafana reads: panels with titles, queries and places")
    func dashboard() throws {
        let value = try JSONSerialization.jsonObject(with: Data(Self.text(Self.files[0]).utf8))
        let dashboard = try #require(value as? [String: Any])
        let panels = try #require(dashboard["panels"] as? [[String: Any]])

        #expect(dashboard["uid"] as? String == "edged" && dashboard["title"] as? String == "edged")
        #expect(panels.count > 8)
        #expect(Set(panels.compactMap { $0["id"] as? Int }).count == panels.count)
        for panel in panels {
            #expect(panel["title"] is String && panel["gridPos"] is [String: Any])
            guard panel["type"] as? String != "row" else { continue }
            let targets = try #require(panel["targets"] as? [[String: Any]])
            #expect(targets.allSatisfy { ($0["expr"] as? String)?.isEmpty == false })
        }
    }

    @Test("Every alert has a condition, a severity and words for whoever is woken by it")
    func rules() throws {
        let alerts = try Self.text(Self.files[1]).components(separatedBy: "- alert: ").dropFirst()

        #expect(alerts.count >= 10)
        for alert in alerts {
            for key in ["expr: ", "severity: ", "summary: ", "description: "] {
                #expect(alert.contains(key), "\(alert.prefix { $0 != "\n" }): \(key)")
            }
        }
    }
}
