import Glibc
import Testing

@testable import EdgeCore

@Suite("Limit of repeated log lines")
struct LogRateLimitTests {
    private let start = Instant(nanoseconds: 5_000_000_000)

    private func omitted(_ decision: LogRateLimit.Decision) -> Int? {
        if case .write(let omitted) = decision { omitted } else { nil }
    }

    @Test("a burst is written, what follows is left out and counted")
    func burst() {
        var limit = LogRateLimit(burst: 3, perSecond: 1)

        for _ in 0..<3 { #expect(limit.admit("a", now: start) == .write(omitted: 0)) }
        for _ in 0..<5 { #expect(limit.admit("a", now: start) == .omit) }

        let later = start.advanced(by: .seconds(1))
        #expect(limit.admit("a", now: later) == .write(omitted: 5))
        #expect(limit.admit("a", now: later) == .omit)
    }

    @Test("one place's flood takes nothing from another")
    func places() {
        var limit = LogRateLimit(burst: 1, perSecond: 1)
        for _ in 0..<9 { _ = limit.admit("a", now: start) }

        #expect(limit.admit("b", now: start) == .write(omitted: 0))
    }

    @Test("a long flood is written at the rate and loses no count")
    func rate() {
        var limit = LogRateLimit(burst: 10, perSecond: 5)
        var written = 0
        var left = 0
        for step in 0..<20_000 {
            let now = start.advanced(by: .milliseconds(step))
            guard let omitted = omitted(limit.admit("a", now: now)) else { continue }
            written += 1
            left += omitted
        }

        #expect((105...115).contains(written))
        left += limit.takeOmitted(now: start.advanced(by: .seconds(30))).reduce(0) { $0 + $1.1 }
        #expect(written + left == 20_000)
    }

    @Test("the end of a flood is told once, when it is over")
    func takeOmitted() {
        var limit = LogRateLimit(burst: 2, perSecond: 1)
        for _ in 0..<6 { _ = limit.admit("a", now: start) }

        #expect(limit.takeOmitted(now: start).isEmpty)
        let later = limit.takeOmitted(now: start.advanced(by: .seconds(1)))
        #expect(later.map(\.place) == ["a"] && later.map(\.omitted) == [4])
        #expect(limit.takeOmitted(now: start.advanced(by: .seconds(9))).isEmpty)
    }
}

@Suite("Daemon log")
struct LogTests {
    @Test("standard error is the journal only if it is the stream that the variable names")
    func journal() {
        var status = stat()
        let descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC)
        defer { close(descriptor) }
        #expect(fstat(descriptor, &status) == 0)

        #expect(Log.isJournal("\(status.st_dev):\(status.st_ino)", descriptor))
        #expect(!Log.isJournal("\(status.st_dev):\(status.st_ino + 1)", descriptor))
        #expect(!Log.isJournal("\(status.st_dev)", descriptor))
        #expect(!Log.isJournal("x:y", descriptor))
        #expect(!Log.isJournal(nil, descriptor))
        #expect(!Log.isJournal("\(status.st_dev):\(status.st_ino)", -1))
    }

    @Test(
        "values are quoted where their end could not be seen",
        arguments: [
            ("app", "app"), ("10.0.0.1:80", "10.0.0.1:80"), ("", "\"\""),
            ("two words", "\"two words\""), ("a=b", "\"a=b\""), ("a\"b\\", "\"a\\\"b\\\\\""),
        ])
    func quoting(value: String, text: String) { #expect(Log.quoted(value) == text) }
}

@Suite("Standard error that nobody reads")
struct LogOutputTests {
    /// A pipe with the least room there is.
    private func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        try #require(Glibc.pipe(&ends) == 0)
        // F_SETPIPE_SZ
        try #require(fcntl(ends[1], 1031, 4096) >= 4096)
        return (ends[0], ends[1])
    }

    @Test("A full pipe costs lines, which are told when there is room, and never waits")
    func full() throws {
        let (reader, writer) = try pipe()
        defer {
            close(reader)
            close(writer)
        }
        var output = LogOutput(writer)
        let line = String(repeating: "x", count: 99) + "\n"

        for _ in 0..<100 { output.write(line) }
        #expect(output.lostCount >= 50)
        let lost = output.lostCount
        var block = [UInt8](repeating: 0, count: 8192)
        #expect(read(reader, &block, block.count) == (100 - lost) * 100)
        output.write("there\n")

        #expect(output.lostCount == 0)
        let count = read(reader, &block, block.count)
        let text = String(decoding: block.prefix(max(count, 0)), as: UTF8.self)
        #expect(text == "there\n… \(lost) lines before this one were lost: nobody took them\n")
        // The pipe's own flags are its maker's.
        #expect(fcntl(writer, F_GETFL) & O_NONBLOCK == 0)
    }

    @Test("A socket that is full loses lines as well")
    func socket() throws {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, 1, 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        var output = LogOutput(ends[0])
        let line = String(repeating: "x", count: 999) + "\n"

        for _ in 0..<5_000 { output.write(line) }

        #expect(output.lostCount > 1_000)
    }
}
