import EdgeCore
import EdgeSystem
import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("Metrics text") struct MetricsTests {
    private static func board(workers: Int) throws -> SharedBoard {
        let bytes = SharedBoard.byteCount(workers: workers)
        let file = try MemoryFile.make(name: "board", byteCount: bytes)
        return try SharedBoard(descriptor: file.raw, workers: workers, create: true)
    }

    private static func text(_ board: SharedBoard) -> String {
        var metrics = MetricsText()
        metrics.upstreams(Samples.status)
        metrics.board(
            board,
            info: .init(version: "1 \"x\"\\", started: 5, epoch: 9) {
                $0 < 3 ? "violation_\($0)" : nil
            })
        return metrics.text
    }

    @Test("counters are summed over the threads")
    func sums() throws {
        let board = try Self.board(workers: 2)
        board.block(0).add(.requests, 1)
        board.block(1).add(.requests, 10)
        board.block(2).add(.requests, 100)
        board.block(2).add(.responses5xx, 3)
        board.block(1).add(ReasonCode.upstreamReset)
        board.block(2).addViolation(2)
        board.block(2).epoch = 4

        let lines = Set(Self.text(board).split(separator: "\n"))

        for line in [
            "edged_requests_total 111", "edged_worker_requests_total{worker=\"2\"} 100",
            "edged_responses_total{class=\"5xx\"} 3", "edged_snapshot_epoch 9",
            "edged_failures_total{reason=\"upstream_reset\",blame=\"upstream\"} 1",
            "edged_framing_violations_total{violation=\"violation_2\"} 1",
            "edged_worker_snapshot_epoch{worker=\"2\"} 4", "edged_start_time_seconds 5",
            "edged_build_info{version=\"1 \\\"x\\\"\\\\\"} 1", "edged_connections_open 0",
        ] {
            #expect(lines.contains(line[...]), "\(line)")
        }
    }

    @Test("every line parses; each family has one HELP and TYPE before its samples")
    func parses() throws {
        let text = Self.text(try Self.board(workers: 3))
        let sample =
            #/([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="[^"]*")*\})? \d+(\.\d+)?/#
        var types: [String: String] = [:]
        var helps: Set<String> = []
        var samples: Set<String> = []

        #expect(text.hasSuffix("\n"))
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if words[0] == "#" {
                if words[1] == "HELP" { #expect(helps.insert(words[2]).inserted) }
                if words[1] == "TYPE" {
                    #expect(types.updateValue(words[3], forKey: words[2]) == nil, "\(words[2])")
                }
                continue
            }
            let match = try #require(try sample.wholeMatch(in: line), "\(line)")
            let name = String(match.1)
            let family = Self.histogram(of: name, types) ?? name
            let type = try #require(types[family], "\(name) has no TYPE before it")
            #expect(helps.contains(family))
            #expect(name.hasPrefix("edged_"))
            #expect((type == "counter") == name.hasSuffix("_total"), "\(name) is a \(type)")
            #expect(samples.insert(String(line.prefix { $0 != " " })).inserted, "\(line) repeats")
        }
    }

    /// The histogram that a sample of this name belongs to; nil: none.
    private static func histogram(of name: String, _ types: [String: String]) -> String? {
        for ending in ["_bucket", "_sum", "_count"] where name.hasSuffix(ending) {
            let family = String(name.dropLast(ending.count))
            if types[family] == "histogram" { return family }
        }
        return nil
    }

    @Test("a histogram's buckets add up over the threads and from bucket to bucket")
    func histogram() throws {
        let board = try Self.board(workers: 2)
        board.block(1).observe(.requestDuration, 200_000)
        board.block(2).observe(.requestDuration, 1_500_000)
        board.block(2).observe(.requestDuration, 3_600_000_000_000)

        let text = Self.text(board)

        let lines = text.split(separator: "\n").filter { $0.hasPrefix("edged_request_duration") }
        #expect(lines.first == "edged_request_duration_seconds_bucket{le=\"0.00025\"} 1")
        for line in [
            "edged_request_duration_seconds_bucket{le=\"0.001\"} 1",
            "edged_request_duration_seconds_bucket{le=\"0.002\"} 2",
            "edged_request_duration_seconds_bucket{le=\"65.536\"} 2",
            "edged_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "edged_request_duration_seconds_sum 3600.0017",
            "edged_request_duration_seconds_count 3",
        ] {
            #expect(lines.contains(line[...]), "\(line)")
        }
        #expect(lines.count == Timing.bucketCount + 2)
        #expect(text.contains("# TYPE edged_upstream_response_seconds histogram\n"))
    }

    @Test("members have their states, checks and ejections, DNS servers their failures")
    func upstreams() {
        var metrics = MetricsText()
        metrics.upstreams(Samples.status)

        let lines = Set(metrics.text.split(separator: "\n"))
        let down = "upstream=\"ingress\",member=\"192.0.2.6:443\""
        let server = "resolver=\"internal\",server=\"192.0.2.54:53\""
        for line in [
            "edged_upstream_member_state{upstream=\"ingress\",member=\"192.0.2.1:443\",state=\"up\"} 1",
            "edged_upstream_member_state{\(down),state=\"down\"} 1",
            "edged_upstream_member_checks_total{\(down),result=\"passed\"} 7",
            "edged_upstream_member_checks_total{\(down),result=\"failed\"} 3",
            "edged_upstream_ejections_total{\(down)} 1",
            "edged_upstream_members_available{upstream=\"ingress\"} 1",
            "edged_upstream_member_certificate_not_after_seconds{\(down)} 87400",
            "edged_dns_answers_total{\(server)} 8", "edged_dns_failures_total{\(server)} 2",
            "edged_dns_resolver_degraded{\(server)} 2",
            "edged_dns_resolver_degraded{resolver=\"internal\",server=\"192.0.2.53:53\"} 0",
            "edged_dns_names{state=\"stale\"} 1", "edged_dns_names{state=\"fresh\"} 0",
        ] {
            #expect(lines.contains(line[...]), "\(line)")
        }
    }

    @Test("a member that two names share is one series, and no number is negative")
    func shared() {
        var status = Samples.bare
        let member = MemberStatus(
            address: "192.0.2.1:1", source: "a", state: "up", ejections: -1)
        status.upstreams = [UpstreamStatus(name: "app", tls: false, members: [member, member])]
        var metrics = MetricsText()
        metrics.upstreams(status)

        let samples = metrics.text.split(separator: "\n").filter { $0.contains("192.0.2.1") }
        #expect(Set(samples).count == samples.count && !samples.isEmpty)
        #expect(samples.contains { $0.hasPrefix("edged_upstream_ejections") && $0.hasSuffix(" 0") })
    }

    @Test("every counter and reason is there", arguments: Counter.allCases)
    func complete(counter: Counter) throws {
        let board = try Self.board(workers: 1)
        board.block(1).add(counter, 4_711)

        #expect(Self.text(board).contains(" 4711\n"))
    }
}
