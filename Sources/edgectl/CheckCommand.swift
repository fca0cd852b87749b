import ArgumentParser
import EdgeControlAPI
import Foundation

/// `edgectl check`: `edged --check` of the file in use. It is edged's own code that judges, so that
/// it says what a start would say; exit codes are edgectl's.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check the configuration file and everything that it names.",
        discussion: """
            Runs 'edged --check'. Nothing is changed, and no daemon is needed if --config is \
            given. Exit codes: 4 it is not valid, 5 findings of --dns.
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("The file; default: the one that the daemon uses.", valueName: "path"))
    var config: String?

    @Flag(help: "Ask, too, whether DNS says what the views' clients need.")
    var dns = false

    @Option(
        help: ArgumentHelp(
            "Which of the file's nodes to check it for; default: the one with this host name.",
            valueName: "name"))
    var node: String?

    @Option(help: ArgumentHelp("The program edged.", valueName: "path"))
    var program: String?

    func run() throws {
        let connection = options.merged(with: root.connection)
        let path: String
        if let config {
            path = config
        } else {
            path = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
                try client.status()
            }.configPath
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try edged())
        process.arguments =
            ["--check"] + (dns ? ["--dns"] : []) + (node.map { ["--node", $0] } ?? [])
            + ["-c", path]
        do {
            try process.run()
        } catch {
            printError("edgectl: \(error.localizedDescription)")
            throw ExitStatus.refused.code
        }
        process.waitUntilExit()
        switch (process.terminationReason, process.terminationStatus) {
        case (.exit, 0): return
        case (.exit, 5): throw ExitStatus.findings.code
        case (.exit, 64): throw ExitStatus.usage.code
        case (.exit, 78): throw ExitStatus.configurationRejected.code
        default: throw ExitStatus.refused.code
        }
    }

    /// Where it is installed: beside us, in the usual folders, or as the path says.
    private func edged() throws -> String {
        if let program { return program }
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
