import ArgumentParser
import EdgeControlAPI

/// `edgectl doctor`: looks at what a person would look at. 5: something is to be done.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look for what is wrong with the node and its host, and say what to do.",
        discussion: """
            Nothing is changed. Exit code 5: there are findings. As root it sees more. What the \
            host says is told also if no daemon answers (3).
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Flag(help: "What is fine, too.")
    var all = false

    func run() throws {
        let connection = options.merged(with: root.connection)
        var checks: [DoctorCheck] = []
        var failure: (any Error)?
        do {
            let status = try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
                try client.status()
            }
            checks += HostFacts(process: status.pid).checks + StatusDoctor(status).checks
            checks += try daemonChecks(connection)
        } catch {
            failure = error
            checks = HostFacts(process: nil).checks
            checks.append(
                DoctorCheck(
                    "daemon", .problem, "it does not answer",
                    remedy: "systemctl status edged; journalctl -u edged"))
        }
        let reply = DoctorReply(checks: checks)
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text(all: all), terminator: "")
        }
        if let failure { throw failure }
        guard reply.findings.isEmpty else { throw ExitStatus.findings.code }
    }

    /// What the daemon finds itself, and whether its files say what it does.
    private func daemonChecks(_ connection: ConnectionOptions) throws -> [DoctorCheck] {
        let reply = try connection.ask(within: .seconds(10)) { client throws(ControlFailure) in
            try client.doctor()
        }
        return reply.checks + [connection.configurationDrift()]
    }
}

extension ConnectionOptions {
    /// Whether the files on disk are what the daemon has in use.
    func configurationDrift() -> DoctorCheck {
        let name = "configuration"
        do throws(ControlFailure) {
            let plan = try client(within: .seconds(30)).plan()
            switch plan.outcome {
            case .unchanged: return DoctorCheck(name, .fine, "the files are what is in use")
            case .planned:
                return DoctorCheck(
                    name, .warning, "the files have changed and are not in use yet",
                    remedy: "edgectl reload --plan shows what would change")
            case .refused:
                return DoctorCheck(
                    name, .problem,
                    "the files are not valid: " + (plan.diagnostics.first ?? "see the plan"),
                    remedy: "edgectl reload --plan shows why; a restart would fail")
            }
        } catch {
            return DoctorCheck(name, .unknown, "\(error)")
        }
    }
}
