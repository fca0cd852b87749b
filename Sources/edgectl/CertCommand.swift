import ArgumentParser
import EdgeControlAPI
import Foundation

/// `edgectl cert`: what is served, and what of a file would be.
struct CertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cert",
        abstract: "Show certificates, and check files before they are dropped.",
        subcommands: [CertListCommand.self, CertCheckCommand.self])

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    var connection: ConnectionOptions { options.merged(with: root.connection) }
}

/// `edgectl cert list`; 5 if one has ended, cannot be used or is in quarantine.
struct CertListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show every certificate and every file in quarantine.",
        discussion: """
            Exit code 5: one has ended, cannot be used or is in quarantine.
            """)

    @ParentCommand var parent: CertCommand
    @OptionGroup var options: ConnectionOptions

    @Option(help: "Only what clients of this view may be shown.")
    var view: String?

    func run() throws {
        let connection = options.merged(with: parent.connection)
        var reply = try connection.ask(within: .seconds(10)) { client throws(ControlFailure) in
            try client.certificates()
        }
        if let view {
            reply.certificates.removeAll { !$0.view.isEmpty && $0.view != view }
        }
        if connection.json {
            print(reply.json.prettyText)
        } else {
            print(reply.text, terminator: "")
        }
        guard reply.findings.isEmpty else { throw ExitStatus.findings.code }
    }
}

/// `edgectl cert check`: judges files as the daemon would, without asking it. The judge is the
/// daemon's program, which stands beside this one or in the path.
struct CertCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Judge a file or folder as the daemon would if it were dropped.",
        discussion: """
            Without PATH: what the running daemon has in quarantine. Runs `edged \
            --check-certificates`, as the user that calls it. Exit code 5: there are findings.
            """)

    @ParentCommand var parent: CertCommand
    @OptionGroup var options: ConnectionOptions

    @Argument(help: "A certificate's file (its key in it or beside it), or a folder of them.")
    var path: String?

    func run() throws {
        let connection = options.merged(with: parent.connection)
        guard let path else { return try checkDaemon(connection) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.daemon)
        process.arguments =
            ["--check-certificates", path] + (connection.json ? ["--json"] : [])
        do {
            try process.run()
        } catch {
            printError("edgectl: \(Self.daemon) cannot be run: \(error.localizedDescription)")
            throw ExitStatus.refused.code
        }
        process.waitUntilExit()
        switch process.terminationStatus {
        case 0: return
        case 5: throw ExitStatus.findings.code
        case 64: throw ExitStatus.usage.code
        default: throw ExitStatus.refused.code
        }
    }

    private func checkDaemon(_ connection: ConnectionOptions) throws {
        var reply = try connection.ask(within: .seconds(10)) { client throws(ControlFailure) in
            try client.certificates()
        }
        let all = reply.certificates.count
        reply.certificates = reply.findings
        if connection.json {
            print(reply.json.prettyText)
        } else if reply.certificates.isEmpty {
            print("\(all) certificates, nothing to find fault with")
        } else {
            print(reply.text, terminator: "")
        }
        guard reply.certificates.isEmpty else { throw ExitStatus.findings.code }
    }

    /// Beside this program if it is there.
    private static var daemon: String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(
            decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = (own as NSString).deletingLastPathComponent
        for path in ["\(folder)/edged", "\(folder)/../sbin/edged", "/usr/sbin/edged"]
        where access(path, X_OK) == 0 { return path }
        return "/usr/local/sbin/edged"
    }
}
