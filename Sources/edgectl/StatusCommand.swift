import ArgumentParser
import EdgeControlAPI

/// `edgectl status`: everything at one glance; 5 if the node does not serve, or is drained.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the node's state, listeners, upstreams, names and failures.")

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Option(help: "How many of the last log lines to show.")
    var log = 5

    func validate() throws {
        guard (0...1000).contains(log) else { throw ValidationError("--log takes 0 to 1000") }
    }

    func run() throws {
        let connection = options.merged(with: root.connection)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.status()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            var text = StatusText(reply)
            print(text.render(logLines: log), terminator: "")
        }
        guard reply.state == .serving, reply.drainedSince == nil else {
            throw ExitStatus.findings.code
        }
    }
}
