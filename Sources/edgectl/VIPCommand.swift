import ArgumentParser
import EdgeControlAPI

/// `edgectl vip`: the addresses that move between nodes.
struct VIPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vip",
        abstract: "Show which node has the addresses that move, and move them.",
        subcommands: [VIPStatusCommand.self, VIPYieldCommand.self],
        defaultSubcommand: VIPStatusCommand.self)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func connection(_ own: ConnectionOptions) -> ConnectionOptions {
        own.merged(with: options.merged(with: root.connection))
    }
}

struct VIPStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show who has them, why and since when, and what the other node says of itself.",
        discussion: "Exit code 5: somebody should look at it.")

    @ParentCommand var parent: VIPCommand
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = parent.connection(options)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.vip()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text, terminator: "")
        }
        guard reply.isSound else { throw ExitStatus.findings.code }
    }
}

struct VIPYieldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "yield",
        abstract: "Give the addresses to the other node.",
        discussion: """
            Clients are told to go while they are still served; when they have left, or after \
            timeouts.drain, the addresses go to the other node, which has to be ready. This node \
            stays as good as it is: 'edgectl node drain' keeps it from getting them back.
            """)

    @ParentCommand var parent: VIPCommand
    @OptionGroup var options: ConnectionOptions

    @Flag(help: "At once, and whether or not another node is known to be ready.")
    var force = false

    func run() throws {
        let connection = parent.connection(options)
        let reply = try connection.ask(within: .seconds(3700)) { client throws(ControlFailure) in
            try client.yieldVIP(isForced: force)
        }
        if connection.json {
            print(reply.json.prettyText)
        } else if reply.isMoved {
            print(reply.text, terminator: "")
        } else {
            for line in reply.lines { printError("edgectl: \(line)") }
        }
        guard reply.isMoved else { throw ExitStatus.refused.code }
    }
}
