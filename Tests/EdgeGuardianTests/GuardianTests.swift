import EdgeConfig
import EdgeCore
import EdgeGuardian
import EdgeSystem
import Glibc
import Testing

/// A guardian with a fake proxy, driven turn by turn on the test's thread.
final class GuardianRig {
    final class Source: ConfigurationSource {
        var configuration: Configuration
        var refusal: ConfigurationRefusal?
        init(_ configuration: Configuration) { self.configuration = configuration }

        func resume(descriptor: Int32) throws(ConfigurationRefusal) -> LoadedConfiguration {
            LoadedConfiguration(
                configuration: configuration, warnings: [], descriptor: descriptor)
        }

        func read(path: String) throws(ConfigurationRefusal) -> LoadedConfiguration {
            if let refusal { throw refusal }
            do {
                let file = try MemoryFile.makeSealed(name: "configuration", Array("x".utf8))
                return LoadedConfiguration(
                    configuration: configuration, warnings: [], descriptor: file.release())
            } catch {
                throw ConfigurationRefusal(["\(error)"])
            }
        }
    }

    final class Fakes: @unchecked Sendable {
        // Sendable: the test's thread is the guardian's loop.
        var last: FakeFailover?
        var count = 0
        /// What starting one fails with; nil: it starts.
        var failure: SystemError?
    }

    let fakes = Fakes()
    /// In place of the thread that moves addresses; nil: none was begun.
    var failover: FakeFailover? { fakes.last }
    let service: GuardianService
    let source: Source
    let marker: String
    let folder: String

    /// - Parameters:
    ///   - address: of the listener; port 0 lets the kernel choose.
    ///   - stored: what a former guardian has left.
    init(
        mode: String, drainDeadline: Duration = .seconds(5),
        address: SocketAddress = SocketAddress(ipv4: 0x7F00_0001, port: 0), workers: Int = 2,
        stored: StoredListeners = .init(), manager: ServiceNotify? = nil,
        failover: Configuration.Failover? = nil
    ) throws {
        var template = Array("/tmp/edged-test-XXXXXX".utf8CString)
        folder = String(cString: try #require(mkdtemp(&template)))
        marker = folder + "/marker"
        let script = folder + "/proxy.py"
        let fd = open(script, O_CREAT | O_WRONLY, 0o600)
        try Descriptor.writeAll(fd, Array(fakeProxyScript.utf8))
        close(fd)
        source = Source(
            Self.configuration(
                socket: folder + "/admin.sock", drainDeadline: drainDeadline, workers: workers,
                address: address, failover: failover))
        var options = GuardianOptions(
            configPath: "edged.yaml", executable: "/usr/bin/env",
            arguments: ["env", "python3", script, mode, marker], takesSignals: false)
        options.installedProgram = folder + "/program"
        options.becomesSuccessor = false
        options.canMoveAddresses = true
        let fakes = fakes
        options.failover = { beginning, poster, handler throws(SystemError) in
            if let failure = fakes.failure { throw failure }
            fakes.count += 1
            let fake = FakeFailover(beginning, poster, handler)
            fakes.last = fake
            return fake
        }
        let guardian = Guardian(options: options, source: source)
        service = try guardian.start(stored: stored, manager: manager)
    }

    static func configuration(
        socket: String?, drainDeadline: Duration = .seconds(5), workers: Int = 2,
        address: SocketAddress = SocketAddress(ipv4: 0x7F00_0001, port: 0),
        failover: Configuration.Failover? = nil
    ) -> Configuration {
        Configuration(
            runAs: nil, workers: workers,
            listeners: [
                .init(name: "https", addresses: [address], kind: .tls, redirectPort: nil)
            ],
            certificates: nil,
            tls: .init(minimumVersion: .tls12, ticketLifetime: .seconds(43200)), sites: [],
            upstreams: [], resolvers: [],
            timeouts: .init(
                handshake: .seconds(5), requestHead: .seconds(5), keepAlive: .seconds(5),
                body: .seconds(5), tcp: .seconds(60)),
            limits: .init(
                connections: nil, requestHeadBytes: 16384, responseHeadBytes: 16384,
                headerFields: 100, uploadMin: 0, downloadMin: 0),
            admin: .init(socket: socket, group: nil, http: nil),
            process: .init(
                serveDeadline: .seconds(2), hangTimeout: .milliseconds(500),
                drainDeadline: drainDeadline), failover: failover)
    }

    /// Installs a program that can be upgraded to.
    ///
    /// - Parameters:
    ///   - check: what it ends with when it checks the configuration.
    ///   - mode: of its proxy.
    func install(check: Int = 0, mode: String) throws {
        let text = """
            #!/bin/sh
            [ "$1" = --check ] && exit \(check)
            exec python3 \(folder)/proxy.py \(mode) \(marker)
            """
        let fd = open(folder + "/program", O_CREAT | O_WRONLY | O_TRUNC, 0o700)
        try Descriptor.writeAll(fd, Array(text.utf8))
        close(fd)
    }

    func log() -> String { service.property.board.lastLogLines(100).joined(separator: "\n") }

    var isServing: Bool { if case .serving = service.state { true } else { false } }
    var address: SocketAddress { service.property.groups[0].address }

    /// Turns the loop until `condition`; false if that takes more than 15 s.
    func turn(until condition: () throws -> Bool) rethrows -> Bool {
        let end = Instant.now().advanced(by: .seconds(15))
        while try !condition() {
            guard Instant.now() < end else { return false }
            service.loop.runOnce(maxWait: .milliseconds(20))
        }
        return true
    }

    /// A connection, or the errno as a negative number.
    func connect() -> Int32 {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var storage = sockaddr_storage()
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            address.write(to: pointer)
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, 16)
            }
        }
        guard result == 0 else {
            let code = errno
            close(fd)
            return -code
        }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return fd
    }

    /// What the proxy answers: its process number.
    func answer(_ fd: Int32) -> Int32? {
        defer { close(fd) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = recv(fd, &bytes, 32, 0)
        return count > 0 ? Int32(String(decoding: bytes.prefix(count), as: UTF8.self)) : nil
    }

    /// One request on the admin socket, answered by the guardian.
    func ask(_ request: String) -> String {
        let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(fd) }
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) {
            $0.copyBytes(from: Array((folder + "/admin.sock").utf8))
        }
        _ = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        send(fd, request, request.utf8.count, Int32(MSG_NOSIGNAL))
        var reply: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 65536)
        _ = turn {
            let count = recv(fd, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count > 0 { reply += bytes.prefix(count) }
            return count == 0
        }
        return String(decoding: reply, as: UTF8.self)
    }

    var markerText: String {
        let fd = open(marker, O_RDONLY)
        defer { close(fd) }
        let bytes = (try? Descriptor.readAll(fd, byteCountMax: 65536)) ?? []
        return String(decoding: bytes, as: UTF8.self)
    }
}

@Suite("Guardian with a proxy", .serialized)
struct GuardianTests {
    @Test("A proxy gets its sockets, serves, and finishes on TERM")
    func life() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.connect() == -ECONNREFUSED)
        #expect(rig.ask("GET /readyz HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 503 "))

        #expect(rig.turn { rig.isServing })
        #expect(rig.answer(rig.connect()) == rig.service.proxyProcessID)

        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })
        #expect(rig.service.exitCode == 0)
        #expect(rig.connect() == -ECONNREFUSED)
    }

    @Test("kill -9 refuses nobody: connections wait for the next proxy")
    func killed() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let first = try #require(rig.service.proxyProcessID)

        kill(first, SIGKILL)
        let clients = (0..<50).map { _ in rig.connect() }
        #expect(rig.turn { rig.isServing && rig.service.proxyProcessID != first })

        let second = rig.service.proxyProcessID
        #expect(clients.allSatisfy { $0 >= 0 })
        let answers = clients.map { rig.answer($0) }
        #expect(answers.allSatisfy { $0 == second })
    }

    @Test("A first start that fails gives its code")
    func failed() throws {
        let rig = try GuardianRig(mode: "fail")
        #expect(rig.turn { rig.service.exitCode != nil })
        #expect(rig.service.exitCode == 78)
    }

    @Test("A worker that hangs gets its proxy replaced")
    func hung() throws {
        let rig = try GuardianRig(mode: "hang")
        #expect(rig.turn { rig.isServing })
        let first = rig.service.proxyProcessID
        let start = Instant.now()
        #expect(rig.answer(rig.connect()) == first)

        #expect(rig.turn { rig.isServing && rig.service.proxyProcessID != first })

        #expect(Instant.now().nanoseconds(since: start) > 500_000_000)
        #expect(rig.answer(rig.connect()) == rig.service.proxyProcessID)
        let log = rig.service.property.board.lastLogLines(200)
        #expect(log.contains { $0.contains("hangs: no progress for") })
    }

    @Test("A stopped proxy is resumed")
    func stopped() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let first = try #require(rig.service.proxyProcessID)

        kill(first, SIGSTOP)
        // SIGCHLD does not reach a test process; both changes may be seen at once.
        #expect(
            rig.turn {
                rig.service.deliver(.child)
                let log = rig.service.property.board.lastLogLines(100)
                return rig.isServing && log.contains { $0.contains("stopped by a signal") }
            })
        #expect(rig.service.proxyProcessID == first)
    }

    @Test("A proxy that ignores TERM is killed a second after its deadline")
    func stubborn() throws {
        let rig = try GuardianRig(mode: "stubborn", drainDeadline: .milliseconds(100))
        #expect(rig.turn { rig.isServing })

        let start = Instant.now()
        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect(Instant.now().nanoseconds(since: start) >= 1_050_000_000)
        #expect(rig.service.exitCode == 0)
    }

    @Test("A proxy that sends garbage is replaced")
    func garbage() throws {
        let rig = try GuardianRig(mode: "garbage")
        // Read now: its serving and its offences may come in one turn.
        let first = try #require(rig.service.proxyProcessID)
        #expect(rig.turn { rig.isServing && rig.service.proxyProcessID != first })
    }

    @Test("Reload: committed, refused by the file, refused by what cannot change")
    func reload() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        func log() -> String {
            rig.service.property.board.lastLogLines(100).joined(separator: "\n")
        }

        rig.service.deliver(.hangUp)
        #expect(rig.turn { log().contains("reload: committed") })

        rig.source.refusal = ConfigurationRefusal(["edged.yaml:3:1: unknown key `lisen`"])
        rig.service.deliver(.hangUp)
        #expect(rig.turn { log().contains("edged.yaml:3:1: unknown key") })

        rig.source.refusal = nil
        rig.source.configuration = GuardianRig.configuration(
            socket: rig.folder + "/admin.sock", workers: 3)
        rig.service.deliver(.hangUp)
        #expect(rig.turn { log().contains("edged.yaml: needs restart: workers") })
        #expect(rig.isServing)
    }

    @Test("A reload that the proxy asks for is answered with the report")
    func asked() throws {
        let rig = try GuardianRig(mode: "ask")
        rig.source.refusal = ConfigurationRefusal(["edged.yaml:9:9: broken"])
        #expect(rig.turn { rig.markerText.contains("outcome") })
        #expect(rig.markerText == "outcome 1 edged.yaml:9:9: broken")
    }

    @Test("Without a proxy the guardian answers, bounded in size and time")
    func status() throws {
        let rig = try GuardianRig(mode: "good")

        let status = rig.ask("GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(status.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(status.contains("\"state\":\"starting\""))
        #expect(status.contains("\"why\":\"no proxy serves: starting, not listening"))
        #expect(rig.ask("GET /livez HTTP/1.1\r\n\r\n").hasSuffix("\r\n\r\nok\n"))
        #expect(rig.ask("BREW /\r\n\r\n").hasPrefix("HTTP/1.1 400 "))
        #expect(rig.ask("POST /reload HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 503 "))
        #expect(rig.ask(String(repeating: "x", count: 5000)).hasPrefix("HTTP/1.1 431 "))
    }

    @Test("What is wrong at the start names the exit code")
    func startFailures() throws {
        let source = GuardianRig.Source(GuardianRig.configuration(socket: nil))
        source.refusal = ConfigurationRefusal(["edged.yaml:1:1: empty"])
        let guardian = Guardian(
            options: GuardianOptions(configPath: "edged.yaml", takesSignals: false),
            source: source)

        let error = #expect(throws: Guardian.StartFailure.self) { _ = try guardian.start() }

        #expect(error?.code == 78)
        #expect(error?.lines == ["edged.yaml:1:1: empty"])
    }
}
