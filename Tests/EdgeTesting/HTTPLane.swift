package import EdgeCore
internal import Foundation

/// What a lane does.
package struct LaneOptions: Sendable {
    /// When requests go out.
    package enum Pace: Sendable {
        /// On schedule, whatever became of those before: an open loop.
        case perSecond(Double)
        /// The next one when the last is answered, on that many connections: a closed loop.
        case connections(Int)
    }

    package var name = "lane"
    package var address: SocketAddress
    package var tls: ClientTLS?
    /// The thread and all sockets of the lane live there.
    package var namespace: String?
    package var pace: Pace
    /// A connection per request, or idle ones used again. An idle one that the far side ends is
    /// not a failure, but counted.
    package var keepsAlive: Bool
    /// The n-th request, as bytes.
    package var request: @Sendable (Int) -> String
    package var expectedStatus = 200
    /// nil: any body will do.
    package var expectedBodyHash: String?
    /// The field of the response whose value is recorded (such as who answered).
    package var notedField: String?
    package var timeout = Duration.seconds(3)
    /// Ends by itself after this time; nil: runs until `stop`.
    package var duration: Duration?
    /// Sent in the clear on each new connection before TLS: a PROXY header.
    package var preamble: [UInt8] = []
    package var source: SocketAddress?

    /// A lane of GET requests.
    package init(
        _ address: SocketAddress, host: String, target: String = "/", tls: ClientTLS? = nil,
        namespace: String? = nil, pace: Pace, keepsAlive: Bool = false,
        expectedBody: String? = nil, duration: Duration? = nil
    ) {
        self.address = address
        self.tls = tls
        self.namespace = namespace
        self.pace = pace
        self.keepsAlive = keepsAlive
        self.duration = duration
        let close = keepsAlive ? "" : "Connection: close\r\n"
        let text = "GET \(target) HTTP/1.1\r\nHost: \(host)\r\n\(close)\r\n"
        request = { _ in text }
        expectedBodyHash = expectedBody.map { sha256(Array($0.utf8)) }
    }
}

/// A client that records every request with status, body hash and times. One thread, one poll
/// loop; does not retry anything.
package final class HTTPLane: @unchecked Sendable {
    // Sendable: `isStopping` and `report` are guarded by `condition`; the loop's own state lives
    // on its thread.
    private let options: LaneOptions
    private let condition = NSCondition()
    private var isStopping = false
    private var report: LaneReport?
    private var counts = (finished: 0, failed: 0)

    /// Starts at once.
    package init(_ options: LaneOptions) {
        self.options = options
        Thread.detachNewThread { [self] in
            let loop = LaneLoop(options)
            let result = loop.run(isStopping: {
                self.condition.lock()
                defer { self.condition.unlock() }
                self.counts = (loop.finishedCount, loop.failedCount)
                return self.isStopping
            })
            condition.lock()
            report = result
            condition.broadcast()
            condition.unlock()
        }
    }

    /// No further requests; those under way are waited for. Returns the report.
    @discardableResult
    package func stop() -> LaneReport {
        condition.lock()
        isStopping = true
        condition.unlock()
        return wait()
    }

    /// Waits for a lane with a `duration` to end.
    package func wait() -> LaneReport {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let report { return report }
            condition.wait()
        }
    }

    /// Answered or failed so far, and failed so far.
    package var progress: (finished: Int, failed: Int) {
        condition.lock()
        defer { condition.unlock() }
        return counts
    }

    /// Runs to the end; for lanes with a `duration`.
    package static func run(_ options: LaneOptions) -> LaneReport { HTTPLane(options).wait() }
}

/// The loop of a lane, on the lane's thread.
private final class LaneLoop {
    private let options: LaneOptions
    private let begin: Instant
    private let table = LaneTable()
    private var records: [LaneRecord] = []
    private var nextIndex = 0
    private var idleClosed = 0
    private var opened = 0
    private var lagMax: UInt64 = 0
    /// Closed loop: when each missing connection may be tried again.
    private var resting: [Instant] = []
    private(set) var finishedCount = 0
    private(set) var failedCount = 0

    static let connectionsMax = 4096

    init(_ options: LaneOptions) {
        self.options = options
        begin = .now()
    }

    func run(isStopping: () -> Bool) -> LaneReport {
        if let namespace = options.namespace {
            do {
                try enterNamespace(namespace)
            } catch {
                note(
                    .init(index: 0, scheduled: begin, sent: begin, deadline: begin), .now(), nil,
                    .unreachable(ENOENT), reused: false)
                return makeReport(until: .now())
            }
        }
        if case .connections(let count) = options.pace {
            resting = Array(repeating: begin, count: count)
        }
        let planned = options.duration.map { begin.advanced(by: $0) } ?? .never
        var end = planned
        while true {
            let now = Instant.now()
            if end > now, isStopping() { end = now }
            // Past the end too: what was due before it is sent late, never left out.
            startDue(now, until: end)
            if now >= end, table.busyCount == 0 { return makeReport(until: min(end, now)) }
            pollOnce(until: wakeTime(now, end))
            expire(.now())
        }
    }

    private func makeReport(until end: Instant) -> LaneReport {
        LaneReport(
            name: options.name, begin: begin, end: end,
            records: records.sorted { ($0.scheduled, $0.index) < ($1.scheduled, $1.index) },
            idleClosed: idleClosed, connectionsOpened: opened,
            lagMax: Duration(nanoseconds: lagMax))
    }

    // MARK: Schedule

    private func time(of index: Int) -> Instant {
        guard case .perSecond(let rate) = options.pace else { return .never }
        return begin.advanced(byNanoseconds: UInt64(Double(index) / rate * 1e9))
    }

    private func startDue(_ now: Instant, until end: Instant) {
        switch options.pace {
        case .perSecond:
            while true {
                let due = time(of: nextIndex)
                guard due <= now, due < end else { return }
                start(scheduled: due)
            }
        case .connections:
            guard now < end else { return }
            for (at, moment) in resting.enumerated().reversed() where moment <= now {
                resting.remove(at: at)
                start(scheduled: now)
            }
        }
    }

    private func wakeTime(_ now: Instant, _ end: Instant) -> Instant {
        // Often enough to notice `stop` soon.
        var wake = now.advanced(by: .milliseconds(20))
        if now < end { wake = min(wake, time(of: nextIndex), resting.min() ?? .never) }
        return min(wake, table.nextDeadline())
    }

    private func start(scheduled: Instant) {
        let sent = Instant.now()
        lagMax = max(lagMax, sent.nanoseconds(since: scheduled))
        let assignment = LaneConnection.Assignment(
            index: nextIndex, scheduled: scheduled, sent: sent,
            deadline: sent.advanced(by: options.timeout))
        nextIndex += 1
        let text = options.request(assignment.index)
        let toHead = text.hasPrefix("HEAD ")
        if options.keepsAlive, let idle = takeIdle() {
            idle.assign(assignment, Array(text.utf8), toHead: toHead)
            table.assigned(idle)
            advance(idle)
            return
        }
        do {
            guard table.count < Self.connectionsMax else {
                throw ConnectFailure(number: EMFILE)
            }
            let descriptor = try TestSocket.startConnect(
                to: options.address, from: options.source)
            let made = try LaneConnection(
                descriptor, tls: options.tls, preamble: options.preamble)
            opened += 1
            made.assign(assignment, Array(text.utf8), toHead: toHead)
            table.add(made)
            table.assigned(made)
        } catch {
            let number = (error as? ConnectFailure)?.number ?? errno
            note(assignment, .now(), nil, LaneConnection.failure(number), reused: false)
        }
    }

    /// An idle connection that the far side has not ended: looked at before use, as clients do.
    private func takeIdle() -> LaneConnection? {
        while let idle = table.takeIdle() {
            if case .waiting = idle.advance() { return idle }
            idleClosed += 1
            drop(idle)
        }
        return nil
    }

    // MARK: Events

    private func pollOnce(until wake: Instant) {
        let left = wake.nanoseconds(since: .now())
        let milliseconds = Int32((left + 999_999) / 1_000_000)
        var woke: Instant?
        table.wait(milliseconds: milliseconds) { connection in
            woke = woke ?? .now()
            advance(connection)
        }
        // A client that was not given the processor is late whatever it was waiting for.
        lagMax = max(lagMax, (woke ?? .now()).nanoseconds(since: wake))
    }

    private func advance(_ connection: LaneConnection) {
        switch connection.advance() {
        case .waiting: table.update(connection)
        case .answered(let message, let canGoOn):
            let body = sha256(message.body)
            var failure: LaneFailure?
            if message.status != options.expectedStatus {
                failure = .unexpectedStatus(message.status)
            } else if let wanted = options.expectedBodyHash, wanted != body {
                failure = .wrongBody
            }
            finish(connection, (message, body), failure)
            if canGoOn, options.keepsAlive {
                table.rest(connection)
                table.update(connection)
            } else {
                drop(connection)
            }
        case .failed(let failure):
            finish(connection, nil, failure)
            drop(connection)
        case .ended:
            idleClosed += 1
            drop(connection)
        }
    }

    private func expire(_ now: Instant) {
        while let connection = table.takeExpired(now) {
            finish(connection, nil, .timeout)
            drop(connection)
        }
    }

    private func drop(_ connection: LaneConnection) {
        table.remove(connection)
    }

    private func finish(
        _ connection: LaneConnection, _ answer: (HTTPMessage, String)?, _ failure: LaneFailure?
    ) {
        guard let assignment = connection.current else { return }
        connection.current = nil
        table.finished()
        note(assignment, .now(), answer, failure, reused: connection.requestCount > 1)
    }

    private func note(
        _ assignment: LaneConnection.Assignment, _ now: Instant,
        _ answer: (message: HTTPMessage, hash: String)?, _ failure: LaneFailure?, reused: Bool
    ) {
        finishedCount += 1
        if failure != nil { failedCount += 1 }
        records.append(
            LaneRecord(
                index: assignment.index, scheduled: assignment.scheduled, sent: assignment.sent,
                finished: now, status: answer?.message.status ?? 0, bodyHash: answer?.hash ?? "",
                noted: options.notedField.flatMap { answer?.message[$0] }, failure: failure,
                wasReused: reused))
        if case .connections = options.pace {
            // A refused client must not spin.
            resting.append(failure == nil ? now : now.advanced(by: .milliseconds(10)))
        }
    }
}
