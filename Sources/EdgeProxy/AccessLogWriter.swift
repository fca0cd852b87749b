internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// What the access log's thread does: takes the buffers' halves in their order, writes them, and
/// says in the file how many lines are missing.
struct AccessLogWriter: ~Copyable {
    private var file: AccessLogFile
    private let buffers: [AccessLogBuffer]
    private let format: AccessLog.Format
    /// The half of each buffer that comes next.
    private var next: [Int]
    /// Lines dropped or lost so far, and how many of them the file knows about.
    private var missing = 0
    private var reported = 0
    private var lost = 0
    private var lastReopen = Instant(nanoseconds: 0)

    init(
        _ file: consuming AccessLogFile, _ buffers: [AccessLogBuffer],
        _ format: AccessLog.Format
    ) {
        self.file = file
        self.format = format
        self.buffers = buffers
        next = [Int](repeating: 0, count: buffers.count)
    }

    /// Writes everything that has been handed over.
    mutating func drain(mayWait: () -> Bool) {
        for index in buffers.indices {
            let buffer = buffers[index]
            while true {
                let half = next[index]
                let count = buffer.count(of: half)
                guard count > 0 else { break }
                write(buffer, buffer.start(of: half), count, mayWait)
                buffer.free(half)
                next[index] = 1 - half
            }
        }
        reportMissing()
    }

    private mutating func write(
        _ buffer: AccessLogBuffer, _ bytes: UnsafeMutableRawPointer, _ count: Int,
        _ mayWait: () -> Bool
    ) {
        let (written, number) = file.write(bytes, count: count, mayWait: mayWait)
        guard number != 0 else { return }
        let lines = Self.linesLost(bytes, count, written)
        lost += lines
        buffer.addLost(lines)
        Log.error(
            "access log: lines are lost",
            ["file": file.target.name, "error": errorName(number), "lines": "\(lines)"])
        // Whoever read the pipe has gone; somebody else may come.
        let now = Instant.now()
        if number == EPIPE, now.nanoseconds(since: lastReopen) >= 1_000_000_000 {
            lastReopen = now
            reopen()
        }
    }

    /// Lines of which the end was not written.
    private static func linesLost(
        _ bytes: UnsafeMutableRawPointer, _ count: Int, _ written: Int
    ) -> Int {
        var lines = 0
        for offset in written..<count
        where bytes.load(fromByteOffset: offset, as: UInt8.self) == 0x0A { lines += 1 }
        return lines
    }

    private mutating func reportMissing() {
        missing = lost + buffers.reduce(0) { $0 + $1.droppedCount }
        guard missing > reported else { return }
        let time = WallClock.text(WallClock.now())
        let text =
            switch format {
            case .json:
                "{\"time\":\"\(time)\",\"kind\":\"dropped\",\"lines\":\(missing - reported)}\n"
            case .httplog: "edged: \(missing - reported) lines dropped by \(time)\n"
            }
        var bytes = Array(text.utf8)
        // Not worth waiting for: it is said the next time, with what is missing by then.
        let (written, _) = file.write(&bytes, count: bytes.count) { false }
        if written == bytes.count { reported = missing }
    }

    mutating func reopen() {
        do throws(SystemError) {
            try file.reopen()
            Log.notice("access log: opened anew", ["file": file.target.name])
        } catch {
            Log.error("access log: the old file goes on: \(error)")
        }
    }
}
