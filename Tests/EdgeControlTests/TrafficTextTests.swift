import EdgeCore
import Testing

@testable import EdgeControl

@Suite("Metrics text: per site, upstream and view") struct TrafficTextTests {
    private static func site(_ change: (inout [UInt64]) -> Void) -> [UInt64] {
        var cells = [UInt64](repeating: 0, count: SiteCells.count)
        change(&cells)
        return cells
    }

    private static func lines(_ text: TrafficText) -> [Substring] {
        String(decoding: text.bytes, as: UTF8.self).split(separator: "\n")
    }

    @Test("A site's cells are counters and a histogram with its labels")
    func sites() {
        var text = TrafficText()
        text.sites(
            [TrafficText.labels([("site", "a.example"), ("view", "lan")])],
            Self.site {
                $0[SiteCells.classes] = 1
                $0[SiteCells.classes + 2] = 20
                $0[SiteCells.classes + 5] = 300
                $0[SiteCells.received] = 4_000
                $0[SiteCells.sent] = .max
                $0[SiteCells.failures + 2] = 7
                $0[SiteCells.durations] = 2
                $0[SiteCells.durations + 3] = 5
                $0[SiteCells.durations + 19] = 1
                $0[SiteCells.durationSum] = 12_000_340_000
            })
        let lines = Self.lines(text)

        let labels = "site=\"a.example\",view=\"lan\""
        let duration = "edged_site_request_duration_seconds"
        for line in [
            "edged_site_requests_total{\(labels),class=\"none\"} 1",
            "edged_site_requests_total{\(labels),class=\"2xx\"} 20",
            "edged_site_requests_total{\(labels),class=\"5xx\"} 300",
            "edged_site_failures_total{\(labels),blame=\"upstream\"} 7",
            "edged_site_received_bytes_total{\(labels)} 4000",
            "edged_site_sent_bytes_total{\(labels)} 18446744073709551615",
            "\(duration)_bucket{\(labels),le=\"0.0005\"} 2",
            "\(duration)_bucket{\(labels),le=\"0.002\"} 7",
            "\(duration)_bucket{\(labels),le=\"32.768\"} 7",
            "\(duration)_bucket{\(labels),le=\"+Inf\"} 8",
            "\(duration)_sum{\(labels)} 12.00034", "\(duration)_count{\(labels)} 8",
        ] {
            #expect(lines.contains(line[...]), "\(line)")
        }
        #expect(lines.count { $0.contains("_bucket") } == 10)
        #expect(lines.count { $0.hasPrefix("edged_site_requests_total{") } == 3)
        #expect(lines.count { $0.hasPrefix("edged_site_failures_total{") } == 1)
    }

    @Test("An upstream's histogram has every bound, and its gauge is one")
    func upstreams() {
        var cells = [UInt64](repeating: 0, count: 2 * UpstreamCells.count)
        for index in 0..<UpstreamCells.responses { cells[UpstreamCells.count + index] = 10 }
        var text = TrafficText()
        text.upstreams(["a", "b"].map { TrafficText.labels([("upstream", $0)]) }, cells)
        let lines = Self.lines(text)

        #expect(lines.contains("# TYPE edged_upstream_requests_active gauge"))
        #expect(lines.contains("edged_upstream_requests_active{upstream=\"b\"} 10"))
        #expect(lines.contains("edged_upstream_attempts_total{upstream=\"a\"} 0"))
        #expect(lines.count { $0.contains("_bucket{upstream=\"a\"") } == Timing.bucketCount)
        #expect(lines.contains("edged_upstream_first_byte_seconds_sum{upstream=\"b\"} 0.00000001"))
    }

    @Test("Labels are escaped")
    func escaped() {
        let labels = TrafficText.labels([("site", "a\"b\\c\nd"), ("view", "")])

        #expect(String(decoding: labels, as: UTF8.self) == #"site="a\"b\\c\nd",view="""#)
    }

    @Test("Every number is written in full", arguments: [0, 9, 10, 99, 12_345, UInt64.max])
    func numbers(number: UInt64) {
        var text = TrafficText()
        text.views([(TrafficText.labels([("view", "lan")]), number)])

        #expect(Self.lines(text).last == "edged_view_connections{view=\"lan\"} \(number)")
    }
}
