internal import Glibc
internal import Synchronization

/// The daemon log: one line per event on standard error. Where that is the journal, a line begins
/// with the priority that journald reads (`<3>` … `<7>`, sd-daemon(3)), and journald adds the time;
/// elsewhere it begins with the time. A line is one write(2) and never waits: standard error that
/// is full or closed loses the line, which is counted. Repeated lines are left out beyond a rate
/// and counted. Not for the request path. No header values, no secrets.
public enum Log {
    /// Syslog severities in use.
    public enum Level: Int, Sendable, Comparable {
        case error = 3
        case warning = 4
        case notice = 5
        case info = 6
        case debug = 7

        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    /// What a line is about, as ` key=value` behind its text, in this order.
    public typealias Fields = KeyValuePairs<StaticString, String>

    private struct State {
        var process = "edged"
        var threshold = Level.info
        var taps: [Int: @Sendable (String) -> Void] = [:]
        var lastTap = 0
        var limit = LogRateLimit()
        var output = LogOutput(2)
        let isJournal = Log.isJournal(getenv("JOURNAL_STREAM").map { String(cString: $0) }, 2)
    }

    private static let state = Mutex(State())

    /// Names this process in every line and sets what is left out. Before rights are given up:
    /// standard error may need them.
    public static func configure(process: String, threshold: Level = .info) {
        state.withLock {
            $0.process = process
            $0.threshold = threshold
        }
    }

    /// Hands every line, with its time and without priority, to `tap` as well (the ring that
    /// `status` shows).
    ///
    /// - Returns: what `removeTap` takes.
    @discardableResult
    public static func addTap(_ tap: @escaping @Sendable (String) -> Void) -> Int {
        state.withLock {
            $0.lastTap += 1
            $0.taps[$0.lastTap] = tap
            return $0.lastTap
        }
    }

    public static func removeTap(_ number: Int) {
        state.withLock { $0.taps[number] = nil }
    }

    public static func error(
        _ text: @autoclosure () -> String, _ fields: Fields = [:], file: StaticString = #fileID,
        line: Int = #line
    ) { write(.error, text, fields, "\(file):\(line)") }

    public static func warning(
        _ text: @autoclosure () -> String, _ fields: Fields = [:], file: StaticString = #fileID,
        line: Int = #line
    ) { write(.warning, text, fields, "\(file):\(line)") }

    public static func notice(
        _ text: @autoclosure () -> String, _ fields: Fields = [:], file: StaticString = #fileID,
        line: Int = #line
    ) { write(.notice, text, fields, "\(file):\(line)") }

    public static func info(
        _ text: @autoclosure () -> String, _ fields: Fields = [:], file: StaticString = #fileID,
        line: Int = #line
    ) { write(.info, text, fields, "\(file):\(line)") }

    public static func debug(
        _ text: @autoclosure () -> String, _ fields: Fields = [:], file: StaticString = #fileID,
        line: Int = #line
    ) { write(.debug, text, fields, "\(file):\(line)") }

    /// Says how much was left out of floods that are over. Called now and then by the process's
    /// main loop.
    public static func reportOmitted() {
        for (place, omitted) in state.withLock({ $0.limit.takeOmitted(now: .now()) }) {
            put(.warning, "\(omitted) more lines of \(place) were left out")
        }
    }

    private static func write(
        _ level: Level, _ text: () -> String, _ fields: Fields, _ place: String
    ) {
        let decision: LogRateLimit.Decision? = state.withLock {
            level <= $0.threshold ? $0.limit.admit(place, now: .now()) : nil
        }
        guard case .write(let omitted) = decision else { return }
        var line = text()
        for (key, value) in fields { line += " \(key)=\(quoted(value))" }
        if omitted > 0 { line += " (\(omitted) more like this were left out)" }
        put(level, line)
    }

    private static func put(_ level: Level, _ text: String) {
        let (process, taps, isJournal) = state.withLock { ($0.process, $0.taps, $0.isJournal) }
        let body = "\(process)[\(getpid())]: \(level): \(printable(text))"
        let timed = "\(WallClock.text(WallClock.now())) \(body)"
        for tap in taps.values { tap(timed) }
        let line = (isJournal ? "<\(level.rawValue)>\(body)" : timed) + "\n"
        state.withLock { $0.output.write(line) }
    }

    /// Whether the descriptor is the stream to journald that `variable` names (`device:inode`):
    /// the variable alone is inherited by everything a service starts.
    static func isJournal(_ variable: String?, _ descriptor: Int32) -> Bool {
        guard let parts = variable?.split(separator: ":"), parts.count == 2 else { return false }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return false }
        return UInt64(parts[0]) == UInt64(status.st_dev)
            && UInt64(parts[1]) == UInt64(status.st_ino)
    }

    /// A value as it stands, or in quotes where its end could not be seen.
    static func quoted(_ value: String) -> String {
        let isPlain =
            !value.isEmpty
            && !value.utf8.contains { $0 == 0x20 || $0 == 0x22 || $0 == 0x3D || $0 == 0x5C }
        guard !isPlain else { return value }
        var result = "\""
        for scalar in value.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { result.unicodeScalars.append("\\") }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }

    /// Control bytes would let a peer forge lines; they are shown escaped.
    private static func printable(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 || scalar.value == 0x7F {
                result += "\\x" + String(scalar.value, radix: 16)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
