import ArgumentParser
import EdgeControlAPI

/// `edgectl limits`: what limits do, to whom, and who is banned.
struct LimitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limits",
        abstract: "Show what rate limits refuse, and ban clients or let them in again.",
        discussion: """
            A client is an IPv4 address or the /64 of an IPv6 address; policies with other \
            prefixes take them for what they say. Bans hold where a policy of 'rate_limits' \
            applies, on connections that are open as well, and outlive reloads and restarts.
            """,
        subcommands: [
            LimitsShowCommand.self, LimitsTopCommand.self, LimitsBanCommand.self,
            LimitsUnbanCommand.self, LimitsResetCommand.self,
        ],
        defaultSubcommand: LimitsShowCommand.self)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func connection(_ own: ConnectionOptions) -> ConnectionOptions {
        own.merged(with: options.merged(with: root.connection))
    }
}

struct LimitsShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show policies, bans and files; or how one client stands.",
        discussion: "Exit code 5: the client is banned or kept out, or a file cannot be used.")

    @ParentCommand var parent: LimitsCommand
    @OptionGroup var options: ConnectionOptions

    @Argument(help: "A client's address.")
    var address: String?

    @Option(help: "Only policies that apply in this view.")
    var view: String?

    @Option(help: "Only this policy.")
    var policy: String?

    func run() throws {
        let connection = parent.connection(options)
        let reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.limits().of(view: view, policy: policy)
        }
        guard let address else {
            connection.show(reply.json, reply.text)
            guard reply.files.allSatisfy({ $0.problem == nil }) else {
                throw ExitStatus.findings.code
            }
            return
        }
        var standing = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.limitClient(address)
        }
        let names = Set(reply.policies.map(\.name))
        standing.policies.removeAll { !names.contains($0.policy) }
        connection.show(standing.json, standing.text)
        guard !standing.isBanned else { throw ExitStatus.findings.code }
    }
}

struct LimitsTopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Show who was refused most lately, and by which policy.")

    @ParentCommand var parent: LimitsCommand
    @OptionGroup var options: ConnectionOptions

    @Option(help: "Only policies that apply in this view.")
    var view: String?

    @Option(help: "Only this policy.")
    var policy: String?

    @Option(help: "So many clients at most.")
    var count = 20

    func run() throws {
        let connection = parent.connection(options)
        var reply = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.limitTop()
        }
        if view != nil || policy != nil {
            let known = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
                try client.limits().of(view: view, policy: policy)
            }
            let names = Set(known.policies.map(\.name))
            reply.rows.removeAll { !names.contains($0.policy ?? "") }
        }
        reply.rows = Array(reply.rows.prefix(max(count, 0)))
        connection.show(reply.json, reply.text)
    }
}

struct LimitsBanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ban", abstract: "Serve a client nothing for a while.",
        discussion: """
            He gets 429 with the time that is left, wherever a policy applies. Whole networks \
            belong into a file of 'deny_files', which is used as soon as it changes.
            """)

    @ParentCommand var parent: LimitsCommand
    @OptionGroup var options: ConnectionOptions

    @Argument(help: "The client's address.")
    var address: String

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("For how long: 30m, 12h, 7d.", valueName: "duration"))
    var span: BanSpan

    func run() throws {
        let order = LimitOrder.ban(client: address, seconds: span.seconds)
        try parent.connection(options).give(order)
    }
}

struct LimitsUnbanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unban", abstract: "Lift all bans of a client, whoever has made them.")

    @ParentCommand var parent: LimitsCommand
    @OptionGroup var options: ConnectionOptions

    @Argument(help: "The client's address.")
    var address: String

    func run() throws { try parent.connection(options).give(.unban(client: address)) }
}

struct LimitsResetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset", abstract: "Forget what a client has used up; bans stay.")

    @ParentCommand var parent: LimitsCommand
    @OptionGroup var options: ConnectionOptions

    @Argument(help: "The client's address.")
    var address: String

    @Option(help: "Only with this policy.")
    var policy: String?

    func run() throws {
        try parent.connection(options).give(.reset(client: address, policy: policy))
    }
}

extension ConnectionOptions {
    fileprivate func give(_ order: LimitOrder) throws {
        let reply = try ask(within: .seconds(5)) { client throws(ControlFailure) in
            try client.order(order)
        }
        show(reply.json, reply.text)
    }

    fileprivate func show(_ reply: JSONValue, _ text: String) {
        if json { print(reply.prettyText) } else { print(text, terminator: "") }
    }
}

/// A time as it is typed: a whole number and `s`, `m`, `h` or `d`; 1 s to five years.
struct BanSpan: ExpressibleByArgument {
    let seconds: Int64

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int64(digits), digits.count <= 10 else { return nil }
        let units: [Substring: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = units[argument.dropFirst(digits.count)],
            (1...LimitOrder.banMax).contains(number * unit)
        else { return nil }
        seconds = number * unit
    }
}
