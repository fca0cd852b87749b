internal import Glibc
internal import Synchronization

/// The daemon log: one line per event on standard error, with the priority prefix journald reads
/// (`<3>` … `<7>`, sd-daemon(3)). A line is one write(2) and never waits: standard error that is
/// full or closed loses the line. Not for the request path. No header values, no secrets.
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

    private struct State {
        var process = "edged"
        var threshold = Level.info
        var taps: [Int: @Sendable (String) -> Void] = [:]
        var lastTap = 0
        var withPrefix = getenv("JOURNAL_STREAM") != nil
    }

    private static let state = Mutex(State())

    /// Names this process in every line and sets what is left out.
    public static func configure(process: String, threshold: Level = .info) {
        state.withLock {
            $0.process = process
            $0.threshold = threshold
        }
    }

    /// Hands every line, without prefix, to `tap` as well (the ring that `status` shows).
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

    public static func error(_ text: @autoclosure () -> String) { write(.error, text) }
    public static func warning(_ text: @autoclosure () -> String) { write(.warning, text) }
    public static func notice(_ text: @autoclosure () -> String) { write(.notice, text) }
    public static func info(_ text: @autoclosure () -> String) { write(.info, text) }
    public static func debug(_ text: @autoclosure () -> String) { write(.debug, text) }

    private static func write(_ level: Level, _ text: () -> String) {
        let (process, threshold, taps, withPrefix) = state.withLock {
            ($0.process, $0.threshold, $0.taps, $0.withPrefix)
        }
        guard level <= threshold else { return }
        let body = "\(process)[\(getpid())]: \(level): \(printable(text()))"
        for tap in taps.values { tap(body) }
        let line = (withPrefix ? "<\(level.rawValue)>" : "") + body + "\n"
        var bytes = ContiguousArray(line.utf8)
        bytes.withUnsafeMutableBytes { _ = Glibc.write(2, $0.baseAddress, $0.count) }
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
