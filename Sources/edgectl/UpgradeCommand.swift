import ArgumentParser
import EdgeControlAPI

/// `edgectl upgrade`: the program that is installed now takes over. 1: it did not start, and the
/// old one goes on.
struct UpgradeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Let the program that is installed now take over.",
        discussion: """
            It is started on the same listeners; the old one finishes what it has. A program that \
            does not start is given up, and nothing has changed.
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = options.merged(with: root.connection)
        let reply = try connection.ask(within: .seconds(120)) { client throws(ControlFailure) in
            try client.upgrade()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            switch reply.outcome {
            case .upgraded:
                print("upgraded to \(reply.version) in \(reply.milliseconds) ms")
            case .abandoned:
                printError("edgectl: the new program was given up, \(reply.version) goes on")
            }
            for line in reply.diagnostics { printError(line) }
        }
        guard reply.outcome == .upgraded else { throw ExitStatus.refused.code }
    }
}
