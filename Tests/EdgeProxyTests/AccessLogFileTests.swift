import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@testable import EdgeProxy

/// The thread and its file. Time is the system's here; waits are for conditions.
@Suite("Access log: the file and its thread", .serialized) struct AccessLogFileTests {
    private static func settings(_ path: String, _ bytes: Int = 1 << 16) -> AccessLog.Settings {
        AccessLog.Settings(target: .file(path), bufferBytes: bytes, includesQuery: false)
    }

    /// Puts `lines` of 32 bytes into a half and gives it to the thread.
    private static func hand(_ log: AccessLog, _ half: Int, lines: Int, _ letter: String) {
        let line = String(repeating: letter, count: 31) + "\n"
        let bytes = Array(String(repeating: line, count: lines).utf8)
        log.buffers[0].start(of: half).copyMemory(from: bytes, byteCount: bytes.count)
        log.buffers[0].publish(half, count: bytes.count)
        log.notify()
    }

    private static func isFree(_ log: AccessLog, _ half: Int) -> Bool {
        eventually(within: .seconds(5)) { log.buffers[0].isFree(half) }
    }

    private static func end(_ log: AccessLog) -> Bool {
        for buffer in log.buffers { buffer.leave() }
        log.notify()
        return eventually(within: .seconds(5)) { log.isFinished }
    }

    @Test("Halves are written in their order, and what was left is written before the end")
    func order() throws {
        let folder = try TemporaryDirectory()
        let log = try AccessLog(Self.settings(folder.file("a.log")), workers: 2)
        try log.start()
        Self.hand(log, 0, lines: 2, "a")
        #expect(Self.isFree(log, 0))
        Self.hand(log, 1, lines: 1, "b")
        Self.hand(log, 0, lines: 1, "c")
        #expect(Self.end(log))

        let letters = try folder.read("a.log").split(separator: "\n").compactMap(\.first)
        #expect(letters == ["a", "a", "b", "c"])
    }

    @Test("After a rename, reopening makes a new file; no line is lost")
    func reopen() throws {
        let folder = try TemporaryDirectory()
        let log = try AccessLog(Self.settings(folder.file("a.log")), workers: 1)
        try log.start()
        Self.hand(log, 0, lines: 1, "a")
        #expect(Self.isFree(log, 0))
        #expect(rename(folder.file("a.log"), folder.file("a.log.1")) == 0)
        Self.hand(log, 1, lines: 1, "b")
        #expect(Self.isFree(log, 1))
        log.reopen()
        let path = folder.file("a.log")
        #expect(eventually(within: .seconds(5)) { access(path, F_OK) == 0 })
        Self.hand(log, 0, lines: 1, "c")
        #expect(Self.end(log))

        #expect(
            try folder.read("a.log.1").split(separator: "\n").compactMap(\.first) == ["a", "b"])
        #expect(try folder.read("a.log").split(separator: "\n").compactMap(\.first) == ["c"])
    }

    @Test("A file that can't be opened anew leaves the old one in use")
    func reopenFails() throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("logs/a.log")
        _ = try folder.makeDirectory("logs")
        let log = try AccessLog(Self.settings(path), workers: 1)
        try log.start()
        #expect(rename(folder.file("logs"), folder.file("moved")) == 0)
        log.reopen()
        Self.hand(log, 0, lines: 1, "a")
        #expect(Self.end(log))

        #expect(try folder.read("moved/a.log").hasPrefix("aaaa"))
    }

    @Test("A full disk: lines are counted as lost, and nobody waits")
    func full() throws {
        let log = try AccessLog(Self.settings("/dev/full"), workers: 1)
        try log.start()
        Self.hand(log, 0, lines: 7, "a")
        #expect(Self.isFree(log, 0))
        #expect(log.buffers[0].takeLost() == 7)
        #expect(log.buffers[0].takeLost() == 0)
        #expect(Self.end(log))
    }

    @Test("A pipe that is read too slowly takes nothing twice, and a line says what is missing")
    func pipe() throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("pipe")
        #expect(mkfifo(path, 0o600) == 0)
        let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        let log = try AccessLog(Self.settings(path, 1 << 18), workers: 1)
        try log.start()
        // More than a pipe holds (64 KiB): the thread waits, and this one does not.
        Self.hand(log, 0, lines: 4_096, "a")
        #expect(!log.buffers[0].isFree(0))
        log.buffers[0].addDropped()
        log.buffers[0].addDropped()
        Self.hand(log, 1, lines: 1, "b")

        var text = ""
        var block = [UInt8](repeating: 0, count: 1 << 16)
        let isWhole = eventually(within: .seconds(10)) {
            let count = read(reader, &block, block.count)
            if count > 0 { text += String(decoding: block.prefix(count), as: UTF8.self) }
            return text.contains("dropped")
        }
        #expect(isWhole)
        let lines = text.split(separator: "\n")
        #expect(lines.count { $0.hasPrefix("aaa") && $0.utf8.count == 31 } == 4_096)
        #expect(lines.count { $0.hasPrefix("bbb") } == 1)
        #expect(lines.last?.hasSuffix("\"kind\":\"dropped\",\"lines\":2}") == true)
        #expect(Self.end(log))
    }

    @Test("A pipe that nobody reads delays the end by little, and what is in it is lost")
    func silentReader() throws {
        let folder = try TemporaryDirectory()
        let path = folder.file("pipe")
        #expect(mkfifo(path, 0o600) == 0)
        let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        let log = try AccessLog(Self.settings(path, 1 << 18), workers: 1)
        try log.start()
        Self.hand(log, 0, lines: 4_096, "a")

        #expect(Self.end(log))
        #expect(log.buffers[0].takeLost() > 1_000)
    }

    @Test("What can't be written is refused with the reason, by the check as well")
    func refused() throws {
        let folder = try TemporaryDirectory()
        #expect(mkfifo(folder.file("pipe"), 0o600) == 0)
        for path in [folder.path, folder.file("none/a.log"), folder.file("pipe")] {
            #expect(throws: SystemError.self) { try AccessLog(Self.settings(path), workers: 1) }
            #expect(throws: SystemError.self) { try AccessLogFile.check(.file(path)) }
        }
    }

    @Test("The check makes no file")
    func check() throws {
        let folder = try TemporaryDirectory()
        try AccessLogFile.check(.file(folder.file("a.log")))
        try AccessLogFile.check(.standardOutput)

        #expect(access(folder.file("a.log"), F_OK) != 0)
    }
}
