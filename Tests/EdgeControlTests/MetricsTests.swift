import EdgeCore
import EdgeSystem
import Testing

@testable import EdgeControl

@Suite("Metrics text") struct MetricsTests {
    private static func board(workers: Int) throws -> SharedBoard {
        let bytes = SharedBoard.byteCount(workers: workers)
        let file = try MemoryFile.make(name: "board", byteCount: bytes)
        return try SharedBoard(descriptor: file.raw, workers: workers, create: true)
    }

    private static func text(_ board: SharedBoard) -> String {
        var metrics = MetricsText()
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
            #/([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="[^"]*")*\})? \d+/#
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
            let type = try #require(types[name], "\(name) has no TYPE before it")
            #expect(helps.contains(name))
            #expect(name.hasPrefix("edged_"))
            #expect((type == "counter") == name.hasSuffix("_total"), "\(name) is a \(type)")
            #expect(samples.insert(String(line.prefix { $0 != " " })).inserted, "\(line) repeats")
        }
    }

    @Test("every counter and reason is there", arguments: Counter.allCases)
    func complete(counter: Counter) throws {
        let board = try Self.board(workers: 1)
        board.block(1).add(counter, 4_711)

        #expect(Self.text(board).contains(" 4711\n"))
    }
}
