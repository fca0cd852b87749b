internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// The programs of Tests/Peers, run by the Python of the virtual environment that
/// `make test-tools` makes. Without it nothing is skipped: tests fail.
enum Peers {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// Starts `NAME.py`.
    static func start(_ name: String, _ arguments: [String]) throws -> RunningProcess {
        let python = root + "/.venv/bin/python"
        guard access(python, X_OK) == 0 else {
            throw KitError("\(python) is missing: make test-tools")
        }
        return try RunningProcess(python, [root + "/Tests/Peers/\(name).py"] + arguments)
    }

    /// What the checks had to say.
    struct Verdict: CustomStringConvertible {
        let lines: [String]
        let errors: String
        var description: String { (lines + [errors]).joined(separator: "\n") }
    }

    /// Runs checks to their end and expects each of them to be good.
    static func check(
        _ name: String, _ checks: [String], _ arguments: [String],
        within span: Duration = .seconds(90), _ location: SourceLocation = #_sourceLocation
    ) throws {
        let process = try start(name, arguments + checks)
        defer { process.stop() }
        try finish(process, checks, within: span, location)
    }

    /// Waits for checks that have been started.
    static func finish(
        _ process: RunningProcess, _ checks: [String], within span: Duration = .seconds(90),
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let exit = process.waitForExit(within: span)
        let lines = process.standardOutput.split(separator: "\n").map { String($0) }
        let verdict = Verdict(lines: lines, errors: process.standardError)
        let good = Set(lines.filter { $0.hasPrefix("ok ") })
        #expect(
            exit == .code(0) && good == Set(checks.map { "ok " + $0 }),
            "ended with \(exit.map { "\($0)" } ?? "nothing"):\n\(verdict)", sourceLocation: location
        )
    }
}

/// A server of Tests/Peers; gone with `stop`.
final class PeerServer {
    let address: SocketAddress
    let process: RunningProcess
    private let directory: TemporaryDirectory

    /// - Parameter tls: given, it speaks TLS with this certificate.
    init(_ name: String, tls: MintedCertificate? = nil, _ arguments: [String] = []) throws {
        directory = try TemporaryDirectory("peer")
        var words = arguments
        if let tls {
            words += ["--certificate", try tls.writeBundle("server", in: directory.path)]
        }
        process = try Peers.start(name, words)
        let line = try process.waitForLine(
            containing: "listening ", within: .seconds(15), on: .output)
        guard let port = line.split(separator: " ").last.flatMap({ UInt16($0) }) else {
            throw KitError("no port in “\(line)”")
        }
        address = .loopback(port)
    }

    deinit { process.stop() }

    func stop() { process.stop() }

    /// As an entry of `servers:`.
    var server: String { "\"\(address)\"" }

    /// What the other side has done against the rules of its protocol.
    var violations: [Substring] {
        process.standardOutput.split(separator: "\n").filter { $0.contains("\"violation\"") }
    }
}

/// What a client speaks, always over TLS.
enum PeerClient: String, CaseIterable, CustomTestStringConvertible {
    case h1, h2
    var testDescription: String { self == .h1 ? "HTTP/1.1" : "HTTP/2" }
}

/// What an upstream speaks.
enum PeerUpstream: CaseIterable, CustomTestStringConvertible {
    case h1, h2, h2OverTLS

    var testDescription: String {
        switch self {
        case .h1: "HTTP/1.1"
        case .h2: "HTTP/2 by prior knowledge"
        case .h2OverTLS: "HTTP/2 over TLS"
        }
    }

    var isOverTLS: Bool { self == .h2OverTLS }
    /// As the upstream's program calls it.
    var version: String { self == .h1 ? "1.1" : "2" }

    /// Keys of the upstream in edged's configuration.
    var settings: String {
        switch self {
        case .h1: ""
        case .h2: "protocol: h2"
        case .h2OverTLS: "protocol: h2, tls: { ca: root.pem }"
        }
    }
}

extension Edged {
    /// How a client of Tests/Peers finds this daemon.
    var peerArguments: [String] { ["--port", "\(https.port)", "--ca", directory.file("root.pem")] }
}
