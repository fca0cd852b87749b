import ArgumentParser
import EdgeControlAPI

/// `edgectl node`: whether clients are to come here.
struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Send clients elsewhere, and take them back.",
        discussion: """
            While the node is drained /readyz says 503, answers close their connection \
            (HTTP/1.1) or are followed by GOAWAY (HTTP/2), and who comes all the same is served. \
            Addresses that move between nodes go to the other one, if it is ready, when clients \
            have left, or after timeouts.drain; until then the command waits. \
            It outlives reloads, not a restart of the daemon.
            """,
        subcommands: [NodeDrainCommand.self, NodeUndrainCommand.self])

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func give(_ order: NodeOrder, _ own: ConnectionOptions) throws {
        let connection = own.merged(with: options.merged(with: root.connection))
        let reply = try connection.ask(within: .seconds(3700)) { client throws(ControlFailure) in
            try client.order(order)
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text, terminator: "")
        }
    }
}

struct NodeDrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Tell clients to go; those that come are served.")

    @ParentCommand var parent: NodeCommand
    @OptionGroup var options: ConnectionOptions

    func run() throws { try parent.give(.drain, options) }
}

struct NodeUndrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undrain", abstract: "Clients are welcome again.")

    @ParentCommand var parent: NodeCommand
    @OptionGroup var options: ConnectionOptions

    func run() throws { try parent.give(.undrain, options) }
}
