import ArgumentParser
import EdgeControlAPI

/// `edgectl confirm`: the configuration of `edgectl reload --confirm` stays. 1: none waits for it.
struct ConfirmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "confirm", abstract: "Keep the configuration of 'reload --confirm'.")

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = options.merged(with: root.connection)
        let reply = try connection.ask(within: .seconds(10)) { client throws(ControlFailure) in
            try client.confirm()
        }
        print(connection.json ? reply.json.prettyText : "confirmed, epoch \(reply.epoch) stays")
    }
}
