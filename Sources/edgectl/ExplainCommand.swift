import ArgumentParser
import EdgeControlAPI

/// `edgectl explain`: what becomes of a request, by what the daemon has in use. 1: it is not
/// served.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tell what becomes of a request, and why.",
        discussion: """
            Nothing is sent. Listener, view, certificate, site, rules, upstream and members are \
            those that the daemon has in use. Exit code 0: served or redirected; 1: not.
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Argument(help: "As a client would ask for it: http or https, host, path.")
    var url: String

    @Option(help: "The view that the client is in.")
    var view: String?

    @Option(help: "The interface that it comes in by, where --view does not say it.")
    var interface: String?

    @Option(help: ArgumentHelp("The client's address.", valueName: "address"))
    var from: String?

    @Option(help: "The request's method.")
    var method = "GET"

    @Option(help: "The name in the ClientHello, or none; default: the URL's host.")
    var sni: String?

    @Option(help: "The protocols in the ClientHello, with commas, or none.")
    var alpn = "h2,http/1.1"

    func run() throws {
        let connection = options.merged(with: root.connection)
        var question = ExplainQuestion(url: url)
        question.view = view
        question.interface = interface
        question.from = from
        question.method = method
        question.serverName = sni
        question.setProtocols(alpn)
        let asked = question
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.explain(asked)
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text, terminator: "")
        }
        guard reply.isServed else { throw ExitStatus.refused.code }
    }
}
