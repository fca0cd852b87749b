import ArgumentParser
import EdgeControlAPI
import Foundation

/// What every verb takes: where the daemon is and how the answer is printed.
struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The daemon's admin socket; default $EDGED_SOCKET, else \(Self.defaultSocket).",
            valueName: "path"))
    var socket: String?

    @Flag(help: "Print the answer as JSON.")
    var json = false

    /// With what was given before the verb.
    func merged(with other: ConnectionOptions) -> ConnectionOptions {
        var result = self
        result.socket = socket ?? other.socket
        result.json = json || other.json
        return result
    }

    private static let defaultSocket = "/run/edged/admin.sock"

    private var path: String {
        if let socket { return socket }
        let variable = ProcessInfo.processInfo.environment["EDGED_SOCKET"] ?? ""
        return variable.isEmpty ? Self.defaultSocket : variable
    }

    /// Asks, with a deadline for the whole exchange; a failure is printed and ends the verb.
    func ask<Reply>(
        within timeout: Duration, _ question: (ControlClient) throws(ControlFailure) -> Reply
    ) throws -> Reply {
        do throws(ControlFailure) {
            return try question(ControlClient(path: path, timeout: timeout))
        } catch {
            printError("edgectl: \(error)")
            switch error {
            case .unreachable: throw ExitStatus.unreachable.code
            case .refused, .badReply: throw ExitStatus.refused.code
            }
        }
    }

    func client(within timeout: Duration) -> ControlClient {
        ControlClient(path: path, timeout: timeout)
    }

    /// The running daemon's version; nil if it does not answer within a second.
    func daemonVersion() -> String? {
        try? ControlClient(path: path, timeout: .seconds(1)).status().version
    }
}

func printError(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
}
