import ArgumentParser
import EdgeControlAPI

/// `edgectl config`: what the daemon has in use.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Show the configuration that is in use.",
        subcommands: [ConfigShowCommand.self])

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    var connection: ConnectionOptions { options.merged(with: root.connection) }
}

/// `edgectl config show --effective`: as YAML, with every default.
struct ConfigShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Print it as one file, with where each value comes from.",
        discussion: "It loads again from the same folder. Files that it names are not read.")

    @ParentCommand var parent: ConfigCommand
    @OptionGroup var options: ConnectionOptions

    @Flag(help: "With every default; there is no other form.")
    var effective = false

    func validate() throws {
        guard effective else { throw ValidationError("say --effective") }
    }

    func run() throws {
        let connection = options.merged(with: parent.connection)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.effectiveConfiguration()
        }
        print(connection.json ? reply.json.prettyText + "\n" : reply.text, terminator: "")
    }
}
