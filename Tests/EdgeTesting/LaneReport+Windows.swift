package import EdgeCore
internal import Foundation

/// What became of the requests that were due in one stretch of time.
package struct LaneWindow: Sendable, CustomStringConvertible {
    package let begin: Instant
    package let requests: Int
    package let failed: Int
    /// Of the good answers, from the moment each request was due; zero without any.
    package let p50: Duration
    package let p99: Duration

    package var description: String {
        "\(requests) requests, \(failed) failed, p50 \(p50.milliseconds), p99 \(p99.milliseconds)"
    }
}

extension LaneReport {
    /// The run cut into windows of `span`, the last one shorter; empty ones are left out.
    package func windows(of span: Duration = .milliseconds(100)) -> [LaneWindow] {
        var result: [LaneWindow] = []
        var from = begin
        var start = 0
        while start < records.count {
            let to = from.advanced(by: span)
            var stop = start
            while stop < records.count, records[stop].scheduled < to { stop += 1 }
            if stop > start {
                let part = part(records[start..<stop], from, to)
                result.append(
                    LaneWindow(
                        begin: from, requests: part.records.count, failed: part.failedCount,
                        p50: part.p50, p99: part.p99))
            }
            start = stop
            from = to
        }
        return result
    }

    /// The window with the slowest good answers.
    package var worstWindow: LaneWindow? {
        windows().max { $0.p99 < $1.p99 }
    }

    /// How long clients felt something: the windows of 100 ms in which a request failed, or whose
    /// p99 was above `limit`, together.
    package func slowSpan(above limit: Duration) -> Duration {
        let slow = windows().filter { $0.p99 > limit || $0.failed > 0 }
        return .milliseconds(100) * slow.count
    }

    /// How many answers each server gave, by the field that the lane noted.
    package var servers: [String: Int] {
        records.reduce(into: [:]) { counts, record in
            if let name = record.noted { counts[name, default: 0] += 1 }
        }
    }

    /// Reports of lanes that followed each other as one.
    package static func joined(_ name: String, _ parts: [LaneReport]) -> LaneReport? {
        guard let first = parts.first else { return nil }
        return LaneReport(
            name: name, begin: parts.map(\.begin).min() ?? first.begin,
            end: parts.map(\.end).max() ?? first.end,
            records: parts.flatMap(\.records).sorted { $0.scheduled < $1.scheduled },
            idleClosed: parts.reduce(0) { $0 + $1.idleClosed },
            connectionsOpened: parts.reduce(0) { $0 + $1.connectionsOpened },
            lagMax: parts.map(\.lagMax).max() ?? .zero)
    }

    private func part(_ records: ArraySlice<LaneRecord>, _ from: Instant, _ to: Instant)
        -> LaneReport
    {
        LaneReport(
            name: name, begin: from, end: to, records: Array(records), idleClosed: 0,
            connectionsOpened: 0, lagMax: lagMax)
    }
}
