import Foundation

/// The program edged, for what only its own code can say or do.
enum EdgedProgram {
    /// Runs it and waits; it writes where we do.
    ///
    /// - Parameters:
    ///   - program: its path; nil: where it is installed.
    /// - Returns: its exit code, as ours.
    static func run(_ program: String?, _ arguments: [String]) throws -> ExitStatus {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try program ?? installed())
        process.arguments = arguments
        do {
            try process.run()
        } catch {
            printError("edgectl: \(error.localizedDescription)")
            throw ExitStatus.refused.code
        }
        process.waitUntilExit()
        switch (process.terminationReason, process.terminationStatus) {
        case (.exit, 0): return .done
        case (.exit, 5): return .findings
        case (.exit, 64): return .usage
        case (.exit, 78): return .configurationRejected
        default: return .refused
        }
    }

    /// Beside us, or in the usual folders.
    private static func installed() throws -> String {
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent().path
        let folders = [own, "/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"]
        let found = folders.map { $0 + "/edged" }.first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        guard let found else {
            printError("edgectl: edged is not in \(folders.joined(separator: ", ")); say --program")
            throw ExitStatus.refused.code
        }
        return found
    }
}
