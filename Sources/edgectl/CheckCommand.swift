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
            given. Exit codes: 4 it is not valid, 5 findings of --dns and --peer.
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

    @Flag(help: "Ask the daemon, too, what is not the same on the other node.")
    var peer = false

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
        let status = try EdgedProgram.run(
            program,
            ["--check"] + (dns ? ["--dns"] : []) + (node.map { ["--node", $0] } ?? [])
                + ["-c", path])
        guard status == .done || status == .findings else { throw status.code }
        let findings = peer ? try peerFindings(connection) : []
        for finding in findings { print(finding) }
        guard status == .done, findings.isEmpty else { throw ExitStatus.findings.code }
    }

    private func peerFindings(_ connection: ConnectionOptions) throws -> [String] {
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.status()
        }
        guard let pair = reply.pair else {
            return ["pair: there is no other node in the configuration in use"]
        }
        return pair.findings
    }
}
