import ArgumentParser
import EdgeControlAPI

/// `edgectl reload`: reads the configuration again and waits until it is in use, or refused (4).
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Read the configuration and certificates again.",
        discussion: "No connection is touched. A bad configuration changes nothing.")

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = options.merged(with: root.connection)
        let reply = try connection.ask(within: .seconds(60)) { client throws(ControlFailure) in
            try client.reload()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            describe(reply)
        }
        guard reply.outcome != .refused else { throw ExitStatus.configurationRejected.code }
    }

    private func describe(_ reply: ReloadReply) {
        switch reply.outcome {
        case .reloaded: print("reloaded in \(reply.milliseconds) ms, epoch \(reply.epoch)")
        case .unchanged: print("unchanged, epoch \(reply.epoch)")
        case .refused: printError("edgectl: configuration rejected, epoch \(reply.epoch) goes on")
        }
        for line in reply.diagnostics { printError(line) }
    }
}
