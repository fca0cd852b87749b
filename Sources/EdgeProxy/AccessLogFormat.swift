internal import EdgeCore
internal import EdgeHTTP1

/// Turns records into lines, of JSON or as HAProxy writes them. Holds what is the same in many
/// lines: names as they stand in a line, and the date of the last second.
struct AccessLogFormat: ~Copyable {
    /// A line without its texts and names takes less.
    static let fixedMax = 1024

    /// By index in the snapshot.
    private(set) var listeners: [[UInt8]] = []
    /// By number; empty for one that is not to be named.
    private(set) var views: [[UInt8]] = []
    /// By pool; of pools that have gone as well.
    private(set) var upstreams: [[UInt8]] = []
    /// By index.
    private var policies: [[UInt8]] = []
    /// The longest names of each together.
    private var namesMax = 0
    let reasons: [[UInt8]]
    private let violations: [[UInt8]]
    /// From the monotonic clock to nanoseconds since 1970.
    var clockOffset: UInt64 = 0
    var kind = AccessLog.Format.json
    private var second: UInt64 = .max
    private let date: UnsafeMutablePointer<UInt8>

    init() {
        reasons = ReasonCode.allCases.map { Array($0.label.utf8) }
        violations = HTTP1Violation.allCases.map { Array($0.label.utf8) }
        date = .allocate(capacity: WallClock.secondByteCount)
    }

    deinit { date.deallocate() }

    /// Names from now on; upstreams keep theirs until another has their pool.
    mutating func use(
        listeners names: [String], views viewNames: [String] = [],
        upstreams pools: [(id: Int, name: String)], policies policyNames: [String] = []
    ) {
        policies = policyNames.map(Self.escaped)
        listeners = names.map(Self.escaped)
        views = viewNames.map(Self.escaped)
        for (id, name) in pools {
            while upstreams.count <= id { upstreams.append([]) }
            upstreams[id] = Self.escaped(name)
        }
        namesMax =
            (listeners.map(\.count).max() ?? 0) + (upstreams.map(\.count).max() ?? 0)
            + (views.map(\.count).max() ?? 0) + (policies.map(\.count).max() ?? 0)
    }

    /// A name as it stands between quotes.
    static func escaped(_ name: String) -> [UInt8] {
        let bytes = Array(name.utf8)
        return [UInt8](unsafeUninitializedCapacity: bytes.count * LogCursor.escapedMax) {
            buffer, count in
            guard let start = buffer.baseAddress else { return }
            var cursor = LogCursor(start)
            bytes.withUnsafeBytes {
                if let first = $0.baseAddress { cursor.put(escaped: first, count: bytes.count) }
            }
            count = cursor.at - UnsafeMutableRawPointer(start)
        }
    }

    /// The most bytes that the line can have.
    func room(_ record: UnsafePointer<AccessRecord>) -> Int {
        var room = Self.fixedMax + namesMax + record.pointee.textCount * LogCursor.escapedMax
        // The name may stand twice in the line.
        if record.pointee.isNameHost {
            room += Int(record.pointee.hostCount) * LogCursor.escapedMax
        }
        return room
    }

    /// Writes one line, its end included.
    ///
    /// - Parameter start: `room` bytes.
    /// - Returns: how many were written.
    // hot: once per request; no allocation.
    mutating func write(
        _ line: AccessLine, _ record: UnsafePointer<AccessRecord>, _ text: UnsafeRawPointer,
        to start: UnsafeMutableRawPointer
    ) -> Int {
        var cursor = LogCursor(start)
        if kind == .httplog {
            writeHTTPLog(line, record, text, &cursor)
            return cursor.at - start
        }
        writeOrigin(line, &cursor)
        writeTLS(record, text, &cursor)
        switch line.kind {
        case .request:
            writeRequest(line, record, text, &cursor)
            writeOutcome(line, &cursor)
            writeUpstream(line, record, &cursor)
            writeTimes(line, &cursor)
        case .tcp:
            writeOutcome(line, &cursor)
            writeUpstream(line, record, &cursor)
            cursor.put(",\"connect_ms\":")
            Self.writeSpan(line.times.connecting, line.times.connected, &cursor)
        case .handshake, .connection, .refused: writeReason(line, &cursor)
        }
        cursor.put(",\"total_ms\":")
        cursor.put(milliseconds: line.ended.nanoseconds(since: line.times.begun))
        cursor.put("}\n")
        return cursor.at - start
    }

    /// The second as text, as `WallClock.write` has it, and nanoseconds behind it.
    mutating func date(of time: Instant) -> (date: UnsafeMutablePointer<UInt8>, rest: UInt64) {
        let wall = time.nanoseconds &+ clockOffset
        let (second, rest) = wall.quotientAndRemainder(dividingBy: 1_000_000_000)
        if second != self.second {
            self.second = second
            WallClock.write(second: second, to: date)
        }
        return (date, rest)
    }

    private mutating func writeTime(_ time: Instant, _ cursor: inout LogCursor) {
        let (date, rest) = date(of: time)
        cursor.put(date, count: WallClock.secondByteCount)
        cursor.put(byte: UInt8(ascii: "."))
        cursor.put(threeDigits: rest / 1_000_000)
        cursor.put(byte: UInt8(ascii: "Z"))
    }

    private mutating func writeOrigin(_ line: AccessLine, _ cursor: inout LogCursor) {
        cursor.put("{\"time\":\"")
        writeTime(line.times.begun, &cursor)
        switch line.kind {
        case .request: cursor.put("\",\"kind\":\"request\",\"listener\":\"")
        case .handshake: cursor.put("\",\"kind\":\"handshake\",\"listener\":\"")
        case .connection: cursor.put("\",\"kind\":\"connection\",\"listener\":\"")
        case .refused: cursor.put("\",\"kind\":\"refused\",\"listener\":\"")
        case .tcp: cursor.put("\",\"kind\":\"tcp\",\"listener\":\"")
        }
        if line.listener < listeners.count { cursor.put(listeners[line.listener]) }
        if line.view < views.count, !views[line.view].isEmpty {
            cursor.put("\",\"view\":\"")
            cursor.put(views[line.view])
        }
        guard let client = line.client else {
            cursor.put("\",\"client\":null,\"client_port\":null")
            return
        }
        cursor.put("\",\"client\":\"")
        cursor.put(address: client)
        cursor.put("\",\"client_port\":")
        cursor.put(decimal: UInt64(client.port))
    }

    private func writeTLS(
        _ record: UnsafePointer<AccessRecord>, _ text: UnsafeRawPointer,
        _ cursor: inout LogCursor
    ) {
        switch record.pointee.tlsVersion {
        case 0: cursor.put(",\"tls\":null,\"sni\":")
        case 0x0303: cursor.put(",\"tls\":\"TLSv1.2\",\"sni\":")
        case 0x0304: cursor.put(",\"tls\":\"TLSv1.3\",\"sni\":")
        default: cursor.put(",\"tls\":\"unknown\",\"sni\":")
        }
        let method = Int(record.pointee.methodCount)
        let host = Int(record.pointee.hostCount)
        if record.pointee.isNameHost {
            Self.writeText(text + method, host, &cursor)
        } else {
            let start = method + host + Int(record.pointee.pathCount)
            Self.writeText(text + start, Int(record.pointee.nameCount), &cursor)
        }
    }

    /// A string of a peer, or null if there is none.
    private static func writeText(
        _ text: UnsafeRawPointer, _ count: Int, _ cursor: inout LogCursor
    ) {
        guard count > 0 else {
            cursor.put("null")
            return
        }
        cursor.put(byte: UInt8(ascii: "\""))
        cursor.put(escaped: text, count: count)
        cursor.put(byte: UInt8(ascii: "\""))
    }

    private func writeRequest(
        _ line: AccessLine, _ record: UnsafePointer<AccessRecord>, _ text: UnsafeRawPointer,
        _ cursor: inout LogCursor
    ) {
        if record.pointee.idHigh | record.pointee.idLow == 0 {
            cursor.put(",\"id\":null,\"request\":")
        } else {
            cursor.put(",\"id\":\"")
            cursor.put(hex: record.pointee.idHigh)
            cursor.put(hex: record.pointee.idLow)
            cursor.put("\",\"request\":")
        }
        cursor.put(decimal: UInt64(record.pointee.number))
        if record.pointee.traceHigh | record.pointee.traceLow != 0 {
            cursor.put(",\"trace\":\"")
            cursor.put(hex: record.pointee.traceHigh)
            cursor.put(hex: record.pointee.traceLow)
            cursor.put(byte: UInt8(ascii: "\""))
        }
        let method = Int(record.pointee.methodCount)
        let host = Int(record.pointee.hostCount)
        cursor.put(",\"method\":")
        Self.writeText(text, method, &cursor)
        cursor.put(",\"host\":")
        Self.writeText(text + method, host, &cursor)
        cursor.put(",\"path\":")
        Self.writeText(text + method + host, Int(record.pointee.pathCount), &cursor)
        if record.pointee.isTruncated { cursor.put(",\"truncated\":true") }
        switch record.pointee.version {
        case 0: cursor.put(",\"protocol\":null")
        case 10: cursor.put(",\"protocol\":\"HTTP/1.0\"")
        case 11: cursor.put(",\"protocol\":\"HTTP/1.1\"")
        default: cursor.put(",\"protocol\":\"HTTP/2\"")
        }
        if line.status == 0 {
            cursor.put(",\"status\":null")
        } else {
            cursor.put(",\"status\":")
            cursor.put(threeDigits: UInt64(line.status))
        }
    }

    private func writeReason(_ line: AccessLine, _ cursor: inout LogCursor) {
        guard line.reason != .none else {
            cursor.put(",\"reason\":null")
            return
        }
        cursor.put(",\"reason\":\"")
        cursor.put(reasons[Int(line.reason.rawValue)])
        cursor.put(byte: UInt8(ascii: "\""))
        if line.policy >= 0, Int(line.policy) < policies.count {
            cursor.put(",\"policy\":\"")
            cursor.put(policies[Int(line.policy)])
            cursor.put(byte: UInt8(ascii: "\""))
        }
        if Int(line.violation) < violations.count {
            cursor.put(",\"violation\":\"")
            cursor.put(violations[Int(line.violation)])
            cursor.put(byte: UInt8(ascii: "\""))
        }
    }

    private func writeOutcome(_ line: AccessLine, _ cursor: inout LogCursor) {
        writeReason(line, &cursor)
        cursor.put(",\"bytes_received\":")
        cursor.put(decimal: line.received)
        cursor.put(",\"bytes_sent\":")
        cursor.put(decimal: line.sent)
    }

    private func writeUpstream(
        _ line: AccessLine, _ record: UnsafePointer<AccessRecord>, _ cursor: inout LogCursor
    ) {
        guard line.pool >= 0, Int(line.pool) < upstreams.count else {
            cursor.put(",\"upstream\":null,\"member\":null,\"reused\":null,\"retries\":0")
            return
        }
        cursor.put(",\"upstream\":\"")
        cursor.put(upstreams[Int(line.pool)])
        if record.pointee.hasMember {
            cursor.put("\",\"member\":\"")
            cursor.put(endpoint: record.pointee.member)
            if line.isReused {
                cursor.put("\",\"reused\":true,\"retries\":")
            } else {
                cursor.put("\",\"reused\":false,\"retries\":")
            }
        } else {
            cursor.put("\",\"member\":null,\"reused\":null,\"retries\":")
        }
        cursor.put(decimal: UInt64(line.retries))
    }

    private func writeTimes(_ line: AccessLine, _ cursor: inout LogCursor) {
        let times = line.times
        cursor.put(",\"head_ms\":")
        Self.writeSpan(times.begun, times.head, &cursor)
        cursor.put(",\"queue_ms\":")
        Self.writeSpan(times.head, times.connecting, &cursor)
        cursor.put(",\"connect_ms\":")
        Self.writeSpan(times.connecting, times.connected, &cursor)
        cursor.put(",\"response_ms\":")
        Self.writeSpan(times.sent, times.answered, &cursor)
    }

    /// Null if the exchange did not come that far.
    private static func writeSpan(_ from: Instant, _ to: Instant, _ cursor: inout LogCursor) {
        if from.nanoseconds == 0 || to.nanoseconds == 0 {
            cursor.put("null")
        } else {
            cursor.put(milliseconds: to.nanoseconds(since: from))
        }
    }
}
