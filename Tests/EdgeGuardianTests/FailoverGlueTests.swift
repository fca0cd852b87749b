import EdgeConfig
import EdgeControlAPI
import EdgeCore
import EdgeFailover
import EdgeSystem
import Glibc
import Testing

@testable import EdgeGuardian
@testable import EdgeVRRP

@Suite("A guardian with addresses that move", .serialized)
struct FailoverGlueTests {
    static let address = VirtualAddress(
        SocketAddress(ipv4: 0xC0A8_010D, port: 0), prefixLength: 24)

    static func failover(
        interval: Duration = .milliseconds(20), hasPeer: Bool = true, hook: String? = nil
    ) -> Configuration.Failover {
        var settings = FailoverSettings(
            nodeName: "lb-01",
            instances: [
                InstanceSettings(
                    name: "vip", routerID: 7, interfaceName: "eth0",
                    families: [FamilySettings(family: .ipv4, addresses: [address])],
                    interval: interval)
            ])
        if hasPeer { settings.presence.peers = [SocketAddress(ipv4: 0xC0A8_010C, port: 8946)] }
        return Configuration.Failover(settings: settings, hook: hook)
    }

    static func serving(
        mode: String = "good", failover: Configuration.Failover = failover()
    ) throws -> (GuardianRig, FakeFailover) {
        let rig = try GuardianRig(mode: mode, failover: failover)
        let fake = try #require(rig.failover)
        #expect(rig.turn { rig.isServing && fake.fitness == .fit })
        return (rig, fake)
    }

    func say(_ rig: GuardianRig, _ numbers: Int...) throws {
        let fd = open(rig.marker + ".new", O_CREAT | O_WRONLY, 0o600)
        try Descriptor.writeAll(
            fd, Array(numbers.map(String.init).joined(separator: " ").utf8))
        close(fd)
        rename(rig.marker + ".new", rig.marker + ".say")
    }

    func text(_ rig: GuardianRig, _ suffix: String) -> String {
        let fd = open(rig.marker + suffix, O_RDONLY)
        guard fd >= 0 else { return "" }
        defer { close(fd) }
        let bytes = (try? Descriptor.readAll(fd, byteCountMax: 1 << 20)) ?? []
        return String(decoding: bytes, as: UTF8.self)
    }

    func news(_ rig: GuardianRig) -> GuardianNews? {
        try? GuardianNews(json: JSONValue(parsing: Array(text(rig, ".news").utf8)))
    }

    @Test("Without the right to change addresses it does not start, and says which right: 77")
    func rights() throws {
        var options = GuardianOptions(configPath: "edged.yaml", takesSignals: false)
        options.canMoveAddresses = false
        let source = GuardianRig.Source(
            GuardianRig.configuration(socket: nil, failover: Self.failover()))

        do throws(Guardian.StartFailure) {
            _ = try Guardian(options: options, source: source).start()
            Issue.record("it has started")
        } catch {
            #expect(error.code == 77)
            #expect(error.lines.first?.contains("CAP_NET_ADMIN") == true)
        }
        source.configuration = GuardianRig.configuration(socket: nil)
        _ = try Guardian(options: options, source: source).start()
    }

    @Test("A hook that others could have changed is refused at the start: 78")
    func hook() throws {
        let folder = try OwnFolder()
        let hook = try folder.write("#!/bin/sh\n", to: "hook", mode: 0o777)
        do throws(Guardian.StartFailure) {
            let source = GuardianRig.Source(
                GuardianRig.configuration(socket: nil, failover: Self.failover(hook: hook)))
            var options = GuardianOptions(configPath: "edged.yaml", takesSignals: false)
            options.canMoveAddresses = true
            _ = try Guardian(options: options, source: source).start()
            Issue.record("it has started")
        } catch {
            #expect(error.code == 78)
            #expect(
                error.lines == [
                    "edged.yaml: failover.on_change: \(hook): others may write it (chmod go-w)"
                ])
        }
    }

    @Test("No address is taken before the listeners and a proxy are there")
    func gate() throws {
        let rig = try GuardianRig(mode: "good", failover: Self.failover())
        let fake = try #require(rig.failover)

        #expect(fake.readiness.isEmpty)
        #expect(fake.fitness == .unfit(.starting, answers: false))
        #expect(rig.turn { rig.isServing && fake.readiness == .all })
        #expect(fake.fitness == .fit)
        let isListening = rig.service.property.groups.allSatisfy { $0.isListening }
        #expect(isListening)
    }

    @Test("A proxy that dies is another one in a moment: the node stays what it is")
    func restart() throws {
        let (rig, fake) = try Self.serving()
        let first = try #require(rig.service.proxyProcessID)
        let count = fake.calls.count

        kill(first, SIGKILL)
        #expect(rig.turn { rig.isServing && rig.service.proxyProcessID != first })

        #expect(fake.calls.count == count, "\(fake.calls)")
        #expect(rig.turn { news(rig)?.incidents.contains { $0.kind == .proxyRestarted } == true })
    }

    @Test("Without a proxy for longer than serve_deadline the node is unfit, and answers nothing")
    func unfit() throws {
        let (rig, fake) = try Self.serving(mode: "mute")
        kill(try #require(rig.service.proxyProcessID), SIGKILL)

        #expect(rig.turn { fake.fitness == .unfit(.proxyNotServing, answers: false) })
    }

    @Test("What troubles the proxy is told on, and that it is over")
    func troubles() throws {
        let (rig, fake) = try Self.serving()

        try say(rig, 76, 5)
        #expect(rig.turn { fake.fitness == .degraded([.upstreams, .names]) })
        try say(rig, 76, 0)
        #expect(rig.turn { fake.fitness == .fit })
    }

    @Test("A stop gives the addresses away first, while the proxy serves")
    func stop() throws {
        let (rig, fake) = try Self.serving()
        fake.becomes(.master)
        #expect(rig.turn { rig.service.failover.holdsAddresses })

        rig.service.deliver(.terminate)
        #expect(rig.turn { fake.calls.contains("yield") })
        #expect(rig.isServing)
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect(rig.service.exitCode == 0)
        #expect(fake.calls.suffix(2) == ["yield", "stop"], "\(fake.calls)")
        #expect(text(rig, ".dismiss") == "1")
    }

    @Test("Without another node the addresses stay until the proxy has ended")
    func alone() throws {
        let (rig, fake) = try Self.serving()
        fake.becomes(.master, peerIsReady: nil)
        #expect(rig.turn { rig.service.failover.holdsAddresses })

        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect(!fake.calls.contains("yield"))
        #expect(fake.calls.last == "stop")
    }

    @Test("Another router says nothing of itself: it is believed to take them")
    func keepalived() throws {
        let (rig, fake) = try Self.serving(failover: Self.failover(hasPeer: false))
        fake.becomes(.master, peerIsReady: nil)
        #expect(rig.turn { rig.service.failover.holdsAddresses })

        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect(fake.calls.suffix(2) == ["yield by force", "stop"], "\(fake.calls)")
    }

    @Test("A second TERM, and INT, do not wait for the handover", arguments: [true, false])
    func hurried(terminates: Bool) throws {
        let (rig, fake) = try Self.serving()
        fake.outcome = nil
        fake.becomes(.master)
        #expect(rig.turn { rig.service.failover.holdsAddresses })

        rig.service.deliver(.terminate)
        #expect(rig.turn { fake.calls.contains("yield") })
        rig.service.deliver(terminates ? .terminate : .interrupt)
        let begun = Instant.now()
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect(Instant.now().nanoseconds(since: begun) < 3_000_000_000)
        #expect(rig.service.exitCode == 0)
    }

    @Test("A node is drained and taken back: clients go, addresses go, and stay away until then")
    func drain() throws {
        let (rig, fake) = try Self.serving(mode: "good")
        fake.becomes(.master)
        #expect(rig.turn { rig.service.failover.holdsAddresses })

        try say(rig, 77, 11, 1)
        #expect(rig.turn { rig.markerText.contains("outcome 8 the addresses are on another node") })
        #expect(fake.isInMaintenance)
        #expect(fake.calls.suffix(2) == ["maintenance", "yield"])
        #expect(rig.isServing)

        // One that is started anew is told.
        kill(try #require(rig.service.proxyProcessID), SIGKILL)
        #expect(rig.turn { text(rig, ".dismiss").hasSuffix("11") })

        #expect(rig.turn { rig.isServing })
        try say(rig, 77, 12, 0)
        #expect(rig.turn { !fake.isInMaintenance })
        #expect(rig.turn { text(rig, ".dismiss").hasSuffix("0") })
    }

    @Test("A drained node without another keeps the addresses, and says that it does")
    func drainAlone() throws {
        let (rig, fake) = try Self.serving()
        fake.becomes(.master, peerIsReady: false)
        #expect(rig.turn { rig.service.failover.holdsAddresses })

        try say(rig, 77, 11, 1)
        #expect(
            rig.turn { rig.markerText.contains("outcome 1 no other node is known to be ready") })
        // The thread gives way as soon as it hears of one.
        #expect(fake.isInMaintenance)
        #expect(!fake.calls.contains("yield"))
    }

    @Test("Addresses are given away on demand, and clients are welcome again")
    func yield() throws {
        let (rig, fake) = try Self.serving()
        try say(rig, 78, 1, 0)
        #expect(rig.turn { rig.markerText.contains("outcome 1 this node does not hold") })
        fake.becomes(.master, peerIsReady: false)
        #expect(rig.turn { rig.service.failover.holdsAddresses })
        try say(rig, 78, 2, 0)
        #expect(rig.turn { rig.markerText.contains("outcome 1 no other node is known") })
        #expect(!fake.calls.contains("yield"))

        try say(rig, 78, 3, 1)
        #expect(rig.turn { rig.markerText.contains("outcome 8") })
        #expect(fake.calls.last == "yield by force")

        fake.outcome = .notMoved
        fake.becomes(.master)
        #expect(rig.turn { rig.service.failover.isPeerReady })
        try say(rig, 78, 4, 0)
        #expect(rig.turn { rig.markerText.contains("outcome 1 vip: nobody has taken") })
        #expect(rig.turn { text(rig, ".dismiss").hasSuffix("10") })
        #expect(!fake.isInMaintenance)
    }

    @Test("A reload gives the thread other settings, last, and only then")
    func reload() throws {
        let (rig, fake) = try Self.serving()
        rig.source.configuration = GuardianRig.configuration(
            socket: rig.folder + "/admin.sock",
            failover: Self.failover(interval: .milliseconds(50)))

        rig.service.deliver(.hangUp)
        #expect(rig.turn { fake.calls.contains { $0.hasPrefix("apply") } })
        #expect(fake.settings.instances[0].interval == .milliseconds(50))

        rig.source.configuration = GuardianRig.configuration(socket: rig.folder + "/admin.sock")
        rig.service.deliver(.hangUp)
        #expect(rig.turn { fake.calls.last == "stop" })
        #expect(rig.service.vip == nil)
    }

    @Test("A reload that the proxy refuses does not reach it")
    func refused() throws {
        let (rig, fake) = try Self.serving(mode: "refuse")
        rig.source.configuration = GuardianRig.configuration(
            socket: rig.folder + "/admin.sock",
            failover: Self.failover(interval: .milliseconds(50)))

        rig.service.deliver(.hangUp)
        #expect(rig.turn { rig.log().contains("what ran before keeps running") })

        #expect(fake.settings.instances[0].interval == .milliseconds(20))
    }

    @Test("A move is in the book and in the operator's program")
    func moved() throws {
        let folder = try OwnFolder()
        let hook = try folder.write(
            "#!/bin/sh\necho \"$@\" >> \(folder.path)/calls\n", to: "hook")
        let (rig, fake) = try Self.serving(failover: Self.failover(hook: hook))

        fake.say(
            .transition(
                FailoverTransition(
                    instance: "vip", routerID: 7,
                    transition: Transition(
                        from: .backup, to: .master, cause: .masterSilent, at: .now()),
                    wallClock: 1_790_000_000_500_000_000)))
        fake.becomes(.master)

        #expect(rig.turn { folder.text("calls") == "vip master the master is silent\n" })
        #expect(rig.turn { news(rig)?.vip?.instances.first?.state == .master })
        let told = news(rig)?.incidents.first { $0.kind == .failover }
        // Another piece of news may have been told since.
        if let told {
            #expect(told.begun == 1_790_000_000)
            #expect(told.text == "backup → master: the master is silent")
        }
    }

    @Test("While no proxy serves, the guardian says who has the addresses")
    func answers() throws {
        let (rig, fake) = try Self.serving(mode: "mute")
        fake.becomes(.master)
        #expect(rig.turn { rig.service.failover.holdsAddresses })
        kill(try #require(rig.service.proxyProcessID), SIGKILL)
        #expect(rig.turn { !rig.isServing })

        let reply = rig.ask("GET /vip HTTP/1.1\r\n\r\n")
        #expect(reply.hasPrefix("HTTP/1.1 200 OK"))
        #expect(reply.contains("\"state\":\"master\""))
        #expect(rig.ask("GET /status HTTP/1.1\r\n\r\n").contains("\"node\":\"lb-01\""))
    }
}
