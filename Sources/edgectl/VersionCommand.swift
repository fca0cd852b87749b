import ArgumentParser
import EdgeControlAPI

/// `edgectl version`: its own and, if it can be reached, the daemon's. Never fails for a daemon
/// that is not there: that is what `status` is for.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Show the versions of edgectl and of the daemon.")

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    func run() throws {
        let connection = options.merged(with: root.connection)
        let daemon = connection.daemonVersion()
        if connection.json {
            let json = JSONValue.object([
                .init("edgectl", .string(EdgedVersion.text)), .init("edged", .optional(daemon)),
            ])
            print(json.prettyText)
        } else {
            print("edgectl \(EdgedVersion.text)")
            print("edged   \(daemon ?? "not reachable")")
        }
    }
}
