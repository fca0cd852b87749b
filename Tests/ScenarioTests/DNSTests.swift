internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Testing

extension Scenarios {
    @Suite("What DNS says about sites")
    struct DNSSide {}
}

extension Scenarios.DNSSide {
    private static func check(_ edged: Edged) throws -> (
        exit: ProcessExit, output: String, errors: String
    ) {
        try RunningProcess.run(
            Edged.program("edged"), ["--check", "--dns", "-c", edged.configPath])
    }

    @Test("without views there is nothing to check or to export, and --dns goes with --check")
    func withoutViews() throws {
        let edged = try Edged(oneSite("127.0.0.1:9"))
        defer { edged.stop() }

        let checked = try Self.check(edged)
        let exported = try edged.edgectl("dns", "export", "--view", "lan", "--format", "bind")
        let alone = try RunningProcess.run(
            Edged.program("edged"), ["--dns", "-c", edged.configPath])

        #expect(checked.exit == .code(0), "\(checked.errors)")
        #expect(checked.errors.contains("warning: dns: nothing to check"), "\(checked.errors)")
        #expect(checked.output.contains("dns: 0 names asked, 0 findings"), "\(checked.output)")
        #expect(exported.code == 1)
        #expect(exported.errors.contains("no view is defined"), "\(exported.errors)")
        #expect(alone.exit == .code(64) && alone.errors.contains("--dns goes with --check"))
    }
}
