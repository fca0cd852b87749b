import ArgumentParser
import EdgeControlAPI

/// `edgectl incidents`: what was not as it should be, from when to when.
struct IncidentsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "incidents",
        abstract: "Show what went wrong lately, from when to when.",
        discussion: """
            Members and upstreams that were down, DNS servers that answered wrongly, refused \
            reloads, restarts of the proxy, addresses that moved, and what clients saw \
            meanwhile; the newest 256, kept over restarts where the configuration has 'state'.
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Flag(help: "As a table for a report.")
    var markdown = false

    func run() throws {
        let connection = options.merged(with: root.connection)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.incidents()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(markdown ? reply.markdown : reply.text, terminator: "")
        }
    }
}
