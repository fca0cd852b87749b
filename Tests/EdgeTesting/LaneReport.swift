internal import CEdge
package import EdgeCore
internal import Foundation

/// Why a request of a lane counts as failed. The list is the project's definition: there is no
/// other way to be good than the wanted status with the wanted body in time.
package enum LaneFailure: Sendable, Hashable {
    case refused
    case reset
    /// The connection ended before the answer was complete.
    case closedEarly
    case wrongBody
    /// No complete answer in time (3 s unless told otherwise), connecting included.
    case timeout
    case unexpectedStatus(Int)
    case tls(String)
    /// Another error of the socket, such as "no route to host".
    case unreachable(Int32)
    /// Not HTTP.
    case malformed
}

/// One request of a lane.
package struct LaneRecord: Sendable {
    package let index: Int
    /// When it should have gone out.
    package let scheduled: Instant
    /// When the client began with it: the difference is the client's lag.
    package let sent: Instant
    package let finished: Instant
    /// 0 without an answer.
    package let status: Int
    /// SHA-256 of the body, lower-case hex; empty without an answer.
    package let bodyHash: String
    /// The value of the response field named in the options.
    package let noted: String?
    package let failure: LaneFailure?
    /// The request went out on a connection that had carried another before.
    package let wasReused: Bool

    package init(
        index: Int, scheduled: Instant, sent: Instant, finished: Instant, status: Int,
        bodyHash: String, noted: String?, failure: LaneFailure?, wasReused: Bool
    ) {
        self.index = index
        self.scheduled = scheduled
        self.sent = sent
        self.finished = finished
        self.status = status
        self.bodyHash = bodyHash
        self.noted = noted
        self.failure = failure
        self.wasReused = wasReused
    }

    /// From the moment it should have gone out: a late client hides nothing.
    package var latency: Duration { Duration(nanoseconds: finished.nanoseconds(since: scheduled)) }
}

/// All requests of a lane's run, and what follows from them.
package struct LaneReport: Sendable, CustomStringConvertible {
    package let name: String
    package let begin: Instant
    package let end: Instant
    /// In the order of their schedule.
    package let records: [LaneRecord]
    /// Idle keep-alive connections that the far side ended while none of our requests was on them.
    package let idleClosed: Int
    package let connectionsOpened: Int
    /// How late the client itself was at worst.
    package let lagMax: Duration

    package init(
        name: String, begin: Instant, end: Instant, records: [LaneRecord], idleClosed: Int,
        connectionsOpened: Int, lagMax: Duration
    ) {
        self.name = name
        self.begin = begin
        self.end = end
        self.records = records
        self.idleClosed = idleClosed
        self.connectionsOpened = connectionsOpened
        self.lagMax = lagMax
    }

    package static let lagLimit = Duration.milliseconds(100)

    /// The client was too late to judge anybody: no number of this run may be used.
    package var isVoid: Bool { lagMax > Self.lagLimit }

    package var failures: [LaneRecord] { records.filter { $0.failure != nil } }
    package var failedCount: Int { failures.count }

    package var failureCounts: [LaneFailure: Int] {
        failures.reduce(into: [:]) { if let kind = $1.failure { $0[kind, default: 0] += 1 } }
    }

    /// The longest time without a good answer, from the beginning to the end of the run.
    package var longestGap: Duration {
        let good = records.filter { $0.failure == nil }.map(\.finished).sorted()
        var last = begin
        var longest: UInt64 = 0
        for moment in good + [end] {
            longest = max(longest, moment.nanoseconds(since: last))
            last = max(last, moment)
        }
        return Duration(nanoseconds: longest)
    }

    /// The latency that `share` (0...1) of the good answers stayed within.
    package func percentile(_ share: Double) -> Duration {
        let sorted = records.filter { $0.failure == nil }.map(\.latency).sorted()
        guard !sorted.isEmpty else { return .zero }
        let rank = Int((share * Double(sorted.count)).rounded(.up)) - 1
        return sorted[min(max(rank, 0), sorted.count - 1)]
    }

    package var p50: Duration { percentile(0.5) }
    package var p99: Duration { percentile(0.99) }

    /// The requests scheduled in a stretch of time, as a report of their own.
    package func between(_ from: Instant, _ to: Instant) -> LaneReport {
        LaneReport(
            name: name, begin: max(begin, from), end: min(end, to),
            records: records.filter { $0.scheduled >= from && $0.scheduled < to },
            idleClosed: idleClosed, connectionsOpened: connectionsOpened, lagMax: lagMax)
    }

    package var description: String {
        let verdict = isVoid ? "VOID (the client lagged \(lagMax.milliseconds)): " : ""
        let kinds = failureCounts.map { "\($0.key) × \($0.value)" }.sorted()
        return "\(verdict)\(name): \(records.count) requests, \(failedCount) failed"
            + (kinds.isEmpty ? "" : " (\(kinds.joined(separator: ", ")))")
            + ", longest gap \(longestGap.milliseconds), p50 \(p50.milliseconds)"
            + ", p99 \(p99.milliseconds), lag \(lagMax.milliseconds)"
            + ", \(connectionsOpened) connections, \(idleClosed) closed while idle"
    }
}

extension Duration {
    /// `12.3 ms`, for messages.
    package var milliseconds: String { String(format: "%.1f ms", seconds * 1000) }
}

/// SHA-256 in lower-case hex, as in `LaneRecord.bodyHash`.
package func sha256(_ bytes: [UInt8]) -> String {
    var digest = [UInt8](repeating: 0, count: 32)
    SHA256(bytes, bytes.count, &digest)
    return hex(digest)
}
