import ArgumentParser
import EdgeControlAPI

/// `edgectl dns`: what DNS has to say about the sites.
struct DNSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dns", abstract: "Show what DNS has to say about the sites.",
        subcommands: [DNSExportCommand.self])

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    var connection: ConnectionOptions { options.merged(with: root.connection) }
}

/// `edgectl dns export`: a view's names as a file for a name server. 1: there is no such view, or
/// it has no addresses.
struct DNSExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Print a view's names for a name server to include.",
        discussion: "With --json it prints names and addresses, and needs no --format.")

    @ParentCommand var parent: DNSCommand
    @OptionGroup var options: ConnectionOptions

    @Option(help: "The view whose clients ask.")
    var view: String

    @Option(help: "The name server: \(DNSFormat.allCases.map(\.rawValue).joined(separator: ", ")).")
    var format: DNSFormat?

    @Option(help: "For how many seconds answers may be kept.")
    var ttl = 60

    func validate() throws {
        guard (0...DNSExport.ttlMax).contains(ttl) else {
            throw ValidationError("--ttl takes 0 to \(DNSExport.ttlMax)")
        }
    }

    func run() throws {
        let connection = options.merged(with: parent.connection)
        guard connection.json || format != nil else {
            printError("edgectl: --format is needed, or --json")
            throw ExitStatus.usage.code
        }
        let view = self.view
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.dnsRecords(view: view)
        }
        guard !connection.json, let format else { return print(reply.json.prettyText) }
        for note in reply.notes { printError("edgectl: \(note)") }
        print(DNSExport(reply, format: format, ttl: ttl).text, terminator: "")
    }
}

extension DNSFormat: ExpressibleByArgument {}
