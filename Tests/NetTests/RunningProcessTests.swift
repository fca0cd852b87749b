internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("Process runner")
struct RunningProcessTests {
    @Test("lines are seen while the program runs, exit and signals after")
    func lines() throws {
        let process = try RunningProcess("sh", ["-c", "echo ready >&2; exec sleep 30"])

        let line = try process.waitForLine(containing: "ready")
        #expect(line == "ready")
        #expect(process.isRunning)
        process.signal(SIGTERM)

        #expect(process.waitForExit() == .signal(SIGTERM))
        #expect(process.stop() == .signal(SIGTERM))
    }

    @Test("exit code, both streams, environment and directory arrive")
    func results() throws {
        let directory = try TemporaryDirectory()

        let result = try RunningProcess.run(
            "sh", ["-c", "pwd; echo $WORD >&2; exit 7"],
            ProcessOptions(environment: ["WORD": "x1"], workingDirectory: directory.path))

        #expect(result.exit == .code(7))
        #expect(result.output == directory.path + "\n")
        #expect(result.errors == "x1\n")
    }

    @Test("a line that never comes fails with the program's last words")
    func missingLine() throws {
        let process = try RunningProcess("sh", ["-c", "echo last words; exec sleep 30"])
        try process.waitForLine(containing: "last", on: .output)

        let error = #expect(throws: KitError.self) {
            try process.waitForLine(containing: "never", within: .milliseconds(50))
        }

        #expect(error?.description.contains("last words") == true)
    }

    @Test("stop takes the whole group along")
    func group() throws {
        let process = try RunningProcess("sh", ["-c", "sleep 30 & echo $!; wait"])
        var child: Int32?
        let deadline = Date(timeIntervalSinceNow: 5)
        while child == nil, Date() < deadline {
            child = Int32(process.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines))
            usleep(2000)
        }
        let number = try #require(child)

        process.stop()

        var isGone = false
        for _ in 0..<500 where !isGone {
            // A killed orphan may stay a zombie where nobody reaps it.
            let status = try? String(contentsOfFile: "/proc/\(number)/stat", encoding: .utf8)
            isGone = status.map { $0.contains(") Z ") } ?? true
            if !isGone { usleep(2000) }
        }
        #expect(isGone)
    }

    @Test("another user has no privileges left")
    func user() throws {
        let result = try RunningProcess.run(
            "sh", ["-c", "id -un; grep CapEff /proc/self/status"], ProcessOptions(user: "nobody"))

        #expect(result.output == "nobody\nCapEff:\t0000000000000000\n", "\(result)")
    }

    @Test("a program that does not exist is an error, not a crash")
    func absent() throws {
        let result = try RunningProcess.run("/nonexistent/program")

        #expect(result.exit == .code(127))
    }
}
