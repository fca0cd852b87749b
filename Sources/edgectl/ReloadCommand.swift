import ArgumentParser
import EdgeControlAPI

/// `edgectl reload`: reads the configuration again and waits until it is in use, or refused (4).
struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Read the configuration and certificates again.",
        discussion: """
            Nothing that is unchanged is touched. A bad configuration changes nothing. With \
            --confirm the old configuration comes back by itself unless 'edgectl confirm' is said \
            in time, or as soon as failures burst. With --pair each node reads its own files; \
            whichever refuses, both go on as before.
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Flag(help: "Only print what would change, and whom it would concern.")
    var plan = false

    @Option(
        help: ArgumentHelp(
            "Undo it unless it is confirmed within this time, such as 60s; 1s to 1h.",
            valueName: "time"))
    var confirm: TimeSpan?

    @Flag(help: "Both nodes of a pair: the standby first, and neither unless both can.")
    var pair = false

    func validate() throws {
        guard !pair || !plan && confirm == nil else {
            throw ValidationError("--pair goes with neither --plan nor --confirm")
        }
        guard !plan || confirm == nil else {
            throw ValidationError("--plan changes nothing that could be confirmed")
        }
        if let confirm, !(.seconds(1) ... .seconds(3600)).contains(confirm.duration) {
            throw ValidationError("--confirm takes 1s to 1h")
        }
    }

    func run() throws {
        let connection = options.merged(with: root.connection)
        guard !plan else { return try runPlan(connection) }
        let span = confirm?.duration
        let both = pair
        let reply = try connection.ask(within: .seconds(both ? 120 : 60)) {
            client throws(ControlFailure) in
            both ? try client.reloadPair() : try client.reload(confirmWithin: span)
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            describe(reply)
        }
        guard reply.outcome != .refused else { throw ExitStatus.configurationRejected.code }
    }

    private func runPlan(_ connection: ConnectionOptions) throws {
        let reply = try connection.ask(within: .seconds(60)) { client throws(ControlFailure) in
            try client.plan()
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text, terminator: "")
            for line in reply.diagnostics { printError(line) }
        }
        guard reply.outcome != .refused else { throw ExitStatus.configurationRejected.code }
    }

    private func describe(_ reply: ReloadReply) {
        switch reply.outcome {
        case .reloaded: print("reloaded in \(reply.milliseconds) ms, epoch \(reply.epoch)")
        case .unchanged: print("unchanged, epoch \(reply.epoch)")
        case .refused: printError("edgectl: configuration rejected, epoch \(reply.epoch) goes on")
        }
        if reply.confirmUntil != nil, let confirm {
            print("undone in \(confirm.text) unless you say: edgectl confirm")
        }
        for line in reply.diagnostics { printError(line) }
    }
}

/// A time as it is typed: a whole number and `ms`, `s`, `m` or `h`.
struct TimeSpan: ExpressibleByArgument {
    let text: String
    let duration: Duration

    init(text: String, duration: Duration) {
        self.text = text
        self.duration = duration
    }

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        // A year in milliseconds has eleven digits.
        guard let number = Int64(digits), digits.count <= 11 else { return nil }
        switch argument.dropFirst(digits.count) {
        case "ms": duration = .milliseconds(number)
        case "s": duration = .seconds(number)
        case "m": duration = .seconds(number * 60)
        case "h": duration = .seconds(number * 3600)
        default: return nil
        }
        text = argument
    }
}
