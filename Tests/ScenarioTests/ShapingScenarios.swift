internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// `upload` and `download` of `rate_limits`, with real clients and servers.
    @Suite("Bytes per second")
    struct Shaping {}
}

extension Scenarios.Shaping {
    /// 2 MiB, of which a quarter MiB at once and the rest at 1 MiB/s.
    private static let size = 2 << 20
    private static let expected = 1.75

    private func edged(_ nginx: Nginx, _ limit: String) throws -> Edged {
        var options = Edged.Options()
        options.certificates = ["app": ["app.test"], "free": ["free.test"]]
        return try Edged(
            """
            sites:
              - { hosts: app.test, upstream: app, rate_limits: public }
              - { hosts: free.test, upstream: app }
            upstreams:
              app: { servers: [\(nginx.server)], health: off }
            rate_limits:
              public: { \(limit): 1MiB per 1s burst 256KiB }
            """, options)
    }

    /// Lower bounds are the limit's; above them is the machine's part.
    private func expectTime(_ output: String, _ location: SourceLocation = #_sourceLocation) {
        let seconds = Double(output) ?? 0
        #expect(
            seconds > 0.95 * Self.expected && seconds < 1.1 * Self.expected + 0.2,
            "\(output) s", sourceLocation: location)
    }

    @Test("Downloads of a client share its limit, of either protocol; who has none is not held up")
    func download() throws {
        let nginx = try Nginx()
        for (name, count) in [("half", Self.size / 2), ("large", 20 << 20)] {
            let (exit, _, _) = try RunningProcess.run(
                "truncate", ["-s", "\(count)", nginx.file(name)])
            #expect(exit == .code(0))
        }
        let edged = try edged(nginx, "download")
        defer { edged.stop() }

        let downloads = try ["--http1.1", "--http2"].map { version in
            try RunningProcess(
                "curl",
                [
                    "-sS", "--max-time", "15", "--cacert", edged.directory.file("root.pem"),
                    "--connect-to", "::127.0.0.1:\(edged.https.port)", version, "-o",
                    "/dev/null", "-w", "%{time_total}", "https://app.test/half",
                ])
        }
        usleep(300_000)
        let free = try edged.curl(
            "-o", "/dev/null", "-w", "%{size_download} %{time_total}", "https://free.test/large")
        for download in downloads { #expect(download.waitForExit() == .code(0)) }
        let times = downloads.compactMap { Double($0.standardOutput) }

        #expect(times.count == 2)
        expectTime("\(times.max() ?? 0)")
        // They end together: each has had its turns.
        #expect((times.min() ?? 0) > 0.7 * Self.expected, "\(times)")
        let words = free.output.split(separator: " ")
        #expect(words.first == "\(20 << 20)")
        #expect((words.last.flatMap { Double($0) } ?? 9) < 1, "\(free.output) s")
    }

    @Test("An upload takes as long as its limit says, and arrives whole", arguments: [false, true])
    func upload(isHTTP2: Bool) throws {
        let nginx = try Nginx()
        let edged = try edged(nginx, "upload")
        defer { edged.stop() }
        let source = edged.directory.file("source")
        try Data((0..<Self.size).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 8) }).write(
            to: URL(fileURLWithPath: source))

        let result = try edged.curl(
            isHTTP2 ? "--http2" : "--http1.1", "-T", source, "-w", "%{http_code} %{time_total}",
            "https://app.test/up")

        let words = result.output.split(separator: " ")
        #expect(words.first == "201", "\(result.errors)")
        expectTime(String(words.last ?? ""))
        let (exit, _, _) = try RunningProcess.run("cmp", [source, nginx.file("up")])
        #expect(exit == .code(0))
    }
}
