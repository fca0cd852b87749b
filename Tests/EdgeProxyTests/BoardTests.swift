import EdgeCore
import EdgeSystem
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Shared board") struct BoardTests {
    /// Two mappings of one file, as guardian and proxy have them.
    private static func boards(_ workers: Int) throws -> (mine: SharedBoard, theirs: SharedBoard) {
        let file = try MemoryFile.make(
            name: "board", byteCount: SharedBoard.byteCount(workers: workers))
        let mine = try SharedBoard(descriptor: file.raw, workers: workers, create: true)
        return (mine, try SharedBoard(descriptor: file.raw, workers: workers, create: false))
    }

    @Test("Every counter, reason and violation of every block has a cell of its own")
    func cells() throws {
        let (mine, theirs) = try Self.boards(3)
        var value: UInt64 = 1
        for block in 0...3 {
            for counter in Counter.allCases {
                mine.block(block).set(counter, value)
                value += 1
            }
            for reason in ReasonCode.allCases { mine.block(block).add(reason) }
            for index: UInt8 in [0, 1, 127, 255] { mine.block(block).addViolation(index) }
        }

        value = 1
        for block in 0...3 {
            for counter in Counter.allCases {
                #expect(theirs.block(block).value(counter) == value, "\(block) \(counter)")
                value += 1
            }
            for reason in ReasonCode.allCases {
                #expect(theirs.block(block).value(reason) == 1, "\(block) \(reason)")
            }
            #expect(theirs.block(block).violations(255) == 1)
            #expect(theirs.block(block).violations(2) == 0)
        }
    }

    @Test("Histograms of two threads and kinds do not touch each other or other cells")
    func timings() throws {
        let (mine, theirs) = try Self.boards(2)
        for timing in Timing.allCases {
            mine.block(1).observe(timing, 250_000)
            mine.block(1).observe(timing, 250_001)
            mine.block(1).observe(timing, 1 << 60)
        }
        mine.block(2).observe(.requestDuration, 7)

        for timing in Timing.allCases {
            let block = theirs.block(1)
            #expect(block.value(timing, bucket: 0) == 1)
            #expect(block.value(timing, bucket: 1) == 1)
            #expect(block.value(timing, bucket: Timing.bucketCount - 1) == 1)
            #expect(block.sum(timing) == (1 << 60) + 500_001)
        }
        #expect(theirs.block(2).sum(.requestDuration) == 7)
        #expect(theirs.block(2).sum(.upstreamResponse) == 0)
        for index in 0..<SharedBoard.listenersMax {
            #expect(theirs.block(1).connections(listener: index) == 0)
        }
    }

    @Test("A new proxy's gauges begin at 0, its counters go on")
    func gauges() throws {
        let (mine, theirs) = try Self.boards(1)
        let block = mine.block(1)
        for counter in Counter.allCases { block.add(counter, 5) }
        block.beginTurn(Instant(nanoseconds: 1_000))
        block.thread = 7
        block.epoch = 8

        theirs.block(1).resetForNewProcess()

        for counter in Counter.allCases {
            #expect(block.value(counter) == (counter.isGauge ? 0 : 5), "\(counter)")
        }
        #expect(block.thread == 0 && block.epoch == 0)
        #expect(block.heartbeat.at == Instant(nanoseconds: 0) && !block.heartbeat.busy)
    }

    @Test("A heartbeat says when, and whether there is work")
    func heartbeat() throws {
        let (mine, theirs) = try Self.boards(1)

        mine.block(1).beginTurn(Instant(nanoseconds: 4_000))
        #expect(theirs.block(1).heartbeat == (Instant(nanoseconds: 4_000), true))
        mine.block(1).endTurn(Instant(nanoseconds: 5_001))
        #expect(theirs.block(1).heartbeat == (Instant(nanoseconds: 5_000), false))
    }

    @Test("The log keeps its newest lines, also when it has gone round")
    func log() throws {
        let (mine, theirs) = try Self.boards(1)
        for number in 0..<5_000 { mine.appendLog("line \(number)") }
        theirs.appendLog(String(repeating: "x", count: 5_000))

        let lines = theirs.lastLogLines(3)
        #expect(lines.dropLast() == ["line 4998", "line 4999"])
        #expect(lines.last == String(repeating: "x", count: 1_000))
        let all = mine.lastLogLines(100_000)
        #expect(all.count > 1_000 && all.count < 5_000)
        #expect(all.dropLast().allSatisfy { $0.hasPrefix("line ") })
        #expect(mine.lastLogLines(0).isEmpty)
    }

    @Test("Gauges go down as they went up")
    func subtract() throws {
        let (mine, _) = try Self.boards(1)
        mine.block(1).add(.connectionsOpen, 3)
        mine.block(1).subtract(.connectionsOpen)

        #expect(mine.block(1).value(.connectionsOpen) == 2)
    }
}
