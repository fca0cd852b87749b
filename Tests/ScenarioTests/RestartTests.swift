internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Guardian and proxy go and come again, the listening sockets stay with the service manager.
    @Suite("Restart under a service manager")
    struct Restart {}
}

extension Scenarios.Restart {
    /// An `edged` that a stand-in for systemd has started, and may start again.
    private struct Managed {
        let folder: TemporaryDirectory
        let edged: Edged

        init(_ body: String, storeMax: Int = 64, forges: Bool = false) throws {
            folder = try TemporaryDirectory("manager")
            var options = Edged.Options()
            let port = forges ? try freePort() : 0
            if forges {
                options.listeners = [
                    "{ name: extra, address: 127.0.0.1, port: \(port), protocol: http }"
                ]
            }
            options.wrapper = try StandInManager.wrapper(
                in: folder, storeMax: storeMax, forgedPort: port)
            edged = try Edged(body, options)
        }

        /// What the manager has said.
        var lines: [String] {
            edged.process.standardOutput.split(separator: "\n").map(String.init)
        }

        func count(_ word: String) -> Int { lines.filter { $0.hasPrefix(word + " ") }.count }

        /// Signals the manager, and returns when another proxy serves.
        ///
        /// - Returns: how long that took.
        @discardableResult
        func restart(_ signal: Int32 = SIGHUP) throws -> Duration {
            let old = try edged.proxyPID()
            return try timed {
                edged.process.signal(signal)
                _ = try edged.waitForProxy(otherThan: old)
            }
        }
    }

    /// New connections in the clear and over TLS, and connections that are kept.
    private func load(_ edged: Edged) throws -> [HTTPLane] {
        let tls = try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
        return [
            HTTPLane(
                LaneOptions(
                    edged.http, host: "app.test", target: "/echo", pace: .perSecond(200))),
            HTTPLane(
                LaneOptions(
                    edged.https, host: "app.test", target: "/echo", tls: tls,
                    pace: .perSecond(50))),
        ]
    }

    private func show(_ title: String, _ reports: [LaneReport], _ spans: [Duration]) {
        guard ProcessInfo.processInfo.environment["EDGED_FIGURES"] != nil else { return }
        let spans = spans.map { "\($0.milliseconds)" }.joined(separator: ", ")
        let lines = reports.map { "figure: \(title): \($0)\n" }
        FileHandle.standardError.write(
            Data((lines.joined() + "figure: \(title): \(spans)\n").utf8))
    }

    @Test("guardian and proxy are restarted under load: nobody is refused, no request fails")
    func underLoad() throws {
        let upstream = try Nginx()
        let managed = try Managed(oneSite(upstream.server))
        defer { managed.edged.stop() }
        // Two listeners and two workers.
        #expect(eventually { managed.count("stored") == 4 })

        let lanes = try load(managed.edged)
        var spans: [Duration] = []
        for _ in 0..<3 {
            usleep(300_000)
            spans.append(try managed.restart())
        }
        usleep(300_000)
        let reports = lanes.map { $0.stop() }
        show("restart", reports, spans)

        for report in reports {
            #expect(report.failedCount == 0, "\(report)")
            #expect(report.longestGap < .seconds(2), "\(report)")
        }
        #expect(managed.edged.log.contains("4 listening sockets were kept over the restart"))
        #expect(managed.lines.filter { $0 == "given 4" }.count == 3)
        #expect(managed.count("stored") == 4, "each is stored once: \(managed.lines)")
    }

    @Test("a guardian that is killed refuses nobody either")
    func killed() throws {
        let upstream = try Nginx()
        let managed = try Managed(oneSite(upstream.server))
        defer { managed.edged.stop() }
        #expect(eventually { managed.count("stored") == 4 })

        let lanes = try load(managed.edged)
        usleep(300_000)
        let span = try managed.restart(SIGUSR1)
        usleep(300_000)
        let reports = lanes.map { $0.stop() }
        show("guardian killed", reports, [span])

        for report in reports {
            #expect(report.failureCounts[.refused] == nil, "\(report)")
            #expect(report.failureCounts[.timeout] == nil, "\(report)")
        }
    }

    @Test("a request under way is finished before the restart, and who comes meanwhile is served")
    func underWay() throws {
        let slow = try ScriptedUpstream([
            .readRequest, .pause(.milliseconds(600)), .respond(200, "late"), .again,
        ])
        let managed = try Managed(oneSite(slow.server))
        let edged = managed.edged
        defer {
            edged.stop()
            slow.stop()
        }
        #expect(eventually { managed.count("stored") == 4 })
        let busy = try edged.connectTLS()
        defer { busy.close() }
        try busy.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        #expect(slow.wait { $0.contains { $0.requests.count == 1 } })

        edged.process.signal(SIGHUP)
        #expect(eventually { edged.log.contains("sockets stay with the service manager") })
        let late = try edged.connect()
        defer { late.close() }
        try late.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")

        #expect(try busy.readResponse().text == "late")
        #expect(try late.readResponse().text == "late")
    }

    @Test("clients that keep idle connections open do not hold up a restart")
    func idle() throws {
        let upstream = try Nginx()
        let managed = try Managed(oneSite(upstream.server))
        defer { managed.edged.stop() }
        #expect(eventually { managed.count("stored") == 4 })
        let clients = try (0..<4).map { _ in try managed.edged.connect() }
        defer { for client in clients { client.close() } }
        for client in clients { _ = try client.get("/echo", host: "app.test") }

        let span = try managed.restart()

        #expect(span < .seconds(1), "\(span)")
    }

    @Test("without a store a restart refuses clients while it lasts, and serves again after it")
    func withoutStore() throws {
        let upstream = try Nginx()
        let managed = try Managed(oneSite(upstream.server), storeMax: 0)
        defer { managed.edged.stop() }

        try managed.restart()

        #expect(managed.count("stored") == 0)
        #expect(managed.edged.log.contains("listening stops"))
        #expect(try managed.edged.get("/echo").status == 200)
    }

    @Test("descriptors that are no listeners of ours are refused by name, and never used")
    func forged() throws {
        let upstream = try Nginx()
        let managed = try Managed(oneSite(upstream.server), forges: true)
        let edged = managed.edged
        defer { edged.stop() }
        #expect(managed.count("given") == 1 && managed.lines.contains("given 5"))
        let port = managed.lines.first { $0.hasPrefix("elsewhere listens at ") }
            .flatMap { UInt16($0.split(separator: " ").last ?? "") }

        for words in [
            ": not a TCP socket", "connected: does not listen", "unshared: without SO_REUSEPORT",
            "elsewhere: no listener has its address", "file: not a socket",
        ] { #expect(edged.log.contains(words), "\(words)") }
        #expect(!edged.log.contains("were kept over the restart"))
        #expect(eventually { managed.count("removed") + managed.count("dropped") == 5 })
        // Three listeners and two workers, all bound anew.
        #expect(eventually { managed.count("stored") == 5 + 6 })
        #expect(try edged.get("/echo").status == 200)
        #expect((try? RawClient(.loopback(#require(port)))) == nil)

        try managed.restart()
        #expect(edged.log.contains("6 listening sockets were kept over the restart"))
        #expect(try edged.get("/echo").status == 200)
    }

    @Test("a stop for good takes the sockets with it")
    func stopped() throws {
        let upstream = try Nginx()
        let managed = try Managed(oneSite(upstream.server))
        defer { managed.edged.stop() }
        #expect(eventually { managed.count("stored") == 4 })

        managed.edged.process.signal(SIGTERM)

        #expect(managed.edged.process.waitForExit(within: .seconds(5)) == .code(0))
        #expect((try? managed.edged.connect()) == nil)
    }
}
