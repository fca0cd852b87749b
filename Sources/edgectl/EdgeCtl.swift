import ArgumentParser
import EdgeControlAPI
import Foundation

/// `edgectl`: one verb per file, each asks the daemon over its admin socket and waits for the
/// answer. Exit codes are in `ExitStatus`.
@main
struct EdgeCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edgectl",
        abstract: "Operates the edge load balancer edged.",
        discussion: """
            Exit codes: 0 done, 1 refused or failed, 2 usage, 3 daemon unreachable, \
            4 configuration rejected, 5 done, but there are findings.
            """,
        version: EdgedVersion.text,
        subcommands: [
            StatusCommand.self, UpstreamCommand.self, DNSCommand.self, ExplainCommand.self,
            ConfigCommand.self, CertCommand.self,
            ReloadCommand.self, ConfirmCommand.self, UpgradeCommand.self, NodeCommand.self,
            PairCommand.self, VIPCommand.self, LimitsCommand.self,
            CheckCommand.self, DoctorCommand.self, IncidentsCommand.self,
            TopCommand.self,
            VersionCommand.self,
        ])

    /// So that options may stand before the verb, too.
    @OptionGroup var connection: ConnectionOptions

    /// ArgumentParser exits with 64 for usage errors, we with 2; help and the like stay 0.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let code as ExitCode {
            Foundation.exit(code.rawValue)
        } catch {
            let code = exitCode(for: error)
            guard code == .validationFailure else { exit(withError: error) }
            FileHandle.standardError.write(Data((fullMessage(for: error) + "\n").utf8))
            Foundation.exit(ExitStatus.usage.rawValue)
        }
    }
}
