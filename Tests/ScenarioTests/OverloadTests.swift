internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// The public attacks, and the LAN does not notice.
    @Suite("Overload")
    struct Overload {}
}

extension Scenarios.Overload {
    private static let isLong = ProcessInfo.processInfo.environment["EDGED_LONG"] != nil
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// `bench/flood.py` says what it found missing. Its short form allows for a debug build; the
    /// long one is the measurement.
    @Test(
        "slow clients, handshakes, resets and rapid resets of the public at once do not reach lan")
    func flood() throws {
        let program = try Edged.program("edged")
        let words =
            Self.isLong
            ? ["--seconds", "12", "--slow", "1000"]
            : [
                "--rounds", "1", "--seconds", "1.5", "--slow", "400", "--connections", "250",
                "--slack", "1500",
            ]
        let process = try RunningProcess(
            "python3", [Self.root + "/bench/flood.py", "--edged", program] + words)
        defer { process.stop() }
        let exit = process.waitForExit(within: .seconds(Self.isLong ? 150 : 40))

        #expect(exit == .code(0), "\(process.standardOutput)\(process.standardError)")
    }
}
