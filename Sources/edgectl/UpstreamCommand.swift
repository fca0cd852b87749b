import ArgumentParser
import EdgeControlAPI

/// `edgectl upstream`: what upstreams' members do, and what they are to do.
struct UpstreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstream",
        abstract: "Show upstreams, and take members out or back.",
        discussion: """
            MEMBER is an address with port, or the name of a server that has one address. \
            Orders outlive reloads, not a restart.
            """,
        subcommands: [
            UpstreamListCommand.self, UpstreamDrainCommand.self, UpstreamReadyCommand.self,
            UpstreamMaintCommand.self,
        ])

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    var connection: ConnectionOptions { options.merged(with: root.connection) }
}

/// `edgectl upstream list`; 5 if an upstream has no member left to send requests to.
struct UpstreamListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show every upstream, its policy and its members.")

    @ParentCommand var parent: UpstreamCommand
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = options.merged(with: parent.connection)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.upstreams()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text, terminator: "")
        }
        guard reply.upstreams.allSatisfy({ $0.available != 0 }) else {
            throw ExitStatus.findings.code
        }
    }
}

/// What the three orders take and say.
struct MemberArguments: ParsableArguments {
    @Argument(help: "The upstream's name.")
    var upstream: String

    @Argument(help: "The member: address:port, or the name of a server.")
    var member: String

    @OptionGroup var options: ConnectionOptions

    func give(_ order: MemberOrder, _ parent: UpstreamCommand) throws {
        let connection = options.merged(with: parent.connection)
        let (upstream, member) = (self.upstream, self.member)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.order(order, upstream: upstream, member: member)
        }
        if connection.json {
            print(reply.json.prettyText)
            return
        }
        print("\(reply.upstream) \(reply.member.address): \(reply.member.state)")
        if reply.available == 0 {
            printError("edgectl: \(reply.upstream) has no other member to send requests to")
        }
    }
}

struct UpstreamDrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "No new traffic to a member but that of clients bound to it.")

    @ParentCommand var parent: UpstreamCommand
    @OptionGroup var arguments: MemberArguments

    func run() throws { try arguments.give(.drain, parent) }
}

struct UpstreamReadyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ready", abstract: "Use a member again, as checks and traffic say.")

    @ParentCommand var parent: UpstreamCommand
    @OptionGroup var arguments: MemberArguments

    func run() throws { try arguments.give(.ready, parent) }
}

struct UpstreamMaintCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maint", abstract: "No traffic to a member; what is under way is finished.")

    @ParentCommand var parent: UpstreamCommand
    @OptionGroup var arguments: MemberArguments

    func run() throws { try arguments.give(.maint, parent) }
}
