import ArgumentParser
import EdgeControlAPI

/// `edgectl pair`: the link to the other node.
struct PairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pair",
        abstract: "The link to the other node: its certificates, and how it is.",
        subcommands: [PairInitCommand.self, PairStatusCommand.self])

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func connection(_ own: ConnectionOptions) -> ConnectionOptions {
        own.merged(with: options.merged(with: root.connection))
    }
}

/// `edgectl pair init`: runs `edged --pair-init`, which has the cryptography.
struct PairInitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make this node's certificate, and pin the other node's.",
        discussion: """
            Said once on each node; then the certificates are carried across (the keys never are) \
            and pinned. A running daemon takes the files up by itself.

              lb-01# edgectl pair init
              lb-02# edgectl pair init
              lb-01# ssh lb-02 cat /etc/edged/pair/node.pem \
                         | edgectl pair init --peer-certificate /dev/stdin
              lb-02# ssh lb-01 cat /etc/edged/pair/node.pem \
                         | edgectl pair init --peer-certificate /dev/stdin

            When a node was set up anew: the same there; on the other one its new certificate is \
            pinned with --replace.
            """)

    @ParentCommand var parent: PairCommand
    @OptionGroup var options: ConnectionOptions

    @Option(
        help: ArgumentHelp("The other node's certificate, to be pinned.", valueName: "path"))
    var peerCertificate: String?

    @Flag(
        help: """
            With --peer-certificate: in place of the one that is pinned. Alone: a new key and \
            certificate for this node.
            """)
    var replace = false

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("The file; default: the one that the daemon uses.", valueName: "path"))
    var config: String?

    @Option(
        help: ArgumentHelp(
            "Which of the file's nodes this is; default: the one with this host name.",
            valueName: "name"))
    var node: String?

    @Option(help: ArgumentHelp("The program edged.", valueName: "path"))
    var program: String?

    func run() throws {
        let connection = parent.connection(options)
        let path: String
        if let config {
            path = config
        } else {
            path = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
                try client.status()
            }.configPath
        }
        let status = try EdgedProgram.run(
            program,
            ["--pair-init"] + (peerCertificate.map { ["--peer-certificate", $0] } ?? [])
                + (replace ? ["--replace"] : []) + (node.map { ["--node", $0] } ?? [])
                + ["-c", path])
        guard status == .done else { throw status.code }
    }
}

/// `edgectl pair status`: exit 5 if the nodes are not linked, or differ.
struct PairStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "How the link is, and what differs between the nodes.")

    @ParentCommand var parent: PairCommand
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = parent.connection(options)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.status()
        }
        guard let pair = reply.pair else {
            printError("edgectl: there is no other node (`pair` in the configuration)")
            throw ExitStatus.refused.code
        }
        if connection.json {
            print(pair.json.prettyText)
        } else {
            print(pair.text(now: reply.now), terminator: "")
        }
        guard pair.findings.isEmpty else { throw ExitStatus.findings.code }
    }
}
