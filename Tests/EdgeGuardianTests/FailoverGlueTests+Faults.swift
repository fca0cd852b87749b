import EdgeConfig
import EdgeControlAPI
import EdgeCore
import EdgeFailover
import EdgeSystem
import Glibc
import Testing

@testable import EdgeGuardian
@testable import EdgeVRRP

extension FailoverGlueTests {
    private static let denied = SystemError("socket", code: EPERM)

    private func becomeMaster(_ rig: GuardianRig, _ fake: FakeFailover) {
        fake.becomes(.master)
        #expect(rig.turn { rig.service.failover.holdsAddresses })
    }

    private func move(_ from: ElectionState, _ to: ElectionState) -> FailoverTransition {
        FailoverTransition(
            instance: "vip", routerID: 7,
            transition: Transition(from: from, to: to, cause: .masterSilent, at: .now()),
            wallClock: 1_790_000_000_500_000_000)
    }

    // MARK: - The end

    @Test("A stop goes on though the proxy has died while the addresses were given away")
    func diedWhileLeaving() throws {
        let (rig, fake) = try Self.serving(mode: "mute")
        fake.outcome = nil
        becomeMaster(rig, fake)

        rig.service.deliver(.terminate)
        #expect(rig.turn { fake.calls.contains("yield") })
        kill(try #require(rig.service.proxyProcessID), SIGKILL)
        #expect(rig.turn { !rig.isServing })
        fake.answer(.moved)

        let begun = Instant.now()
        #expect(rig.turn { rig.service.exitCode != nil })
        #expect(Instant.now().nanoseconds(since: begun) < 3_000_000_000)
        #expect(rig.service.exitCode == 0)
    }

    @Test("The operator's program hears of the end before the daemon has ended")
    func hookAtTheEnd() throws {
        let folder = try OwnFolder()
        let hook = try folder.write(
            "#!/bin/sh\nsleep 0.3\necho \"$2\" >> \(folder.path)/calls\n", to: "hook")
        let (rig, fake) = try Self.serving(failover: Self.failover(hook: hook))
        fake.lastMove = move(.master, .initialize)

        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect(folder.text("calls") == "initialize\n")
    }

    @Test("A program of the operator's that takes its time keeps the daemon for 2 s at most")
    func slowHookAtTheEnd() throws {
        let folder = try OwnFolder()
        let hook = try folder.write("#!/bin/sh\nsleep 60\n", to: "hook")
        let (rig, fake) = try Self.serving(failover: Self.failover(hook: hook))
        fake.lastMove = move(.master, .initialize)

        let begun = Instant.now()
        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })

        #expect((2_000_000_000..<5_000_000_000).contains(Instant.now().nanoseconds(since: begun)))
    }

    // MARK: - Orders

    @Test("A node that is drained during a move is drained for the other nodes as well")
    func drainDuringMove() throws {
        let (rig, fake) = try Self.serving()
        fake.outcome = nil
        becomeMaster(rig, fake)
        try say(rig, 78, 3, 1)
        #expect(rig.turn { fake.calls.contains("yield by force") })

        try say(rig, 77, 4, 1)
        #expect(rig.turn { rig.service.failover.isDrained })
        // The question about it has been asked and answered.
        try say(rig, 78, 5, 1)
        #expect(rig.turn { rig.markerText.contains("outcome") })
        fake.answer(.moved)

        #expect(rig.turn { rig.markerText.components(of: "outcome 8") == 2 })
        #expect(fake.isInMaintenance)
        #expect(text(rig, ".dismiss").hasSuffix("1"))
    }

    @Test("What a proxy has ordered that is dead by now is not answered to the next one")
    func deadAsker() throws {
        let (rig, fake) = try Self.serving()
        fake.outcome = nil
        becomeMaster(rig, fake)
        try say(rig, 78, 1, 1)
        #expect(rig.turn { fake.calls.contains("yield by force") })
        let first = try #require(rig.service.proxyProcessID)
        kill(first, SIGKILL)
        #expect(rig.turn { rig.isServing && rig.service.proxyProcessID != first })

        fake.answer(.moved)
        #expect(rig.turn { rig.service.failover.handoverText.isEmpty })
        fake.outcome = .notMoved
        try say(rig, 78, 1, 1)

        #expect(rig.turn { rig.markerText.contains("outcome") })
        #expect(rig.markerText.hasPrefix("outcome 1 vip: nobody has taken"), "\(rig.markerText)")
    }

    @Test("A proxy has one order of a kind under way; another one fails at once")
    func oneOrder() throws {
        let (rig, fake) = try Self.serving()
        fake.outcome = nil
        becomeMaster(rig, fake)
        try say(rig, 78, 1, 1)
        #expect(rig.turn { fake.calls.contains("yield by force") })

        try say(rig, 78, 2, 1)
        #expect(rig.turn { rig.markerText.contains("the same has been ordered") })
        fake.answer(.moved)
        #expect(rig.turn { rig.markerText.contains("outcome 8") })
        try say(rig, 78, 3, 1)
        #expect(rig.turn { fake.calls.filter { $0 == "yield by force" }.count == 2 })
    }

    @Test(
        "A proxy that says all the time how it is does not reach the thread; unknown bits neither")
    func manyTroubles() throws {
        let (rig, fake) = try Self.serving()
        let before = fake.fitnessCount

        let begun = Instant.now()
        try say(rig, 76, 0x8000_0001, 0, 401)
        #expect(rig.turn { fake.fitness == .degraded([.upstreams]) })
        #expect(rig.turn { Instant.now() > begun.advanced(by: .milliseconds(700)) })

        let tenths = Int(Instant.now().nanoseconds(since: begun) / 100_000_000)
        #expect(fake.fitnessCount - before <= 2 * tenths + 2)
        #expect(fake.fitnessCount - before < 40)
        #expect(fake.fitness == .degraded([.upstreams]))
    }

    // MARK: - Begin and end of the thread

    @Test("A thread that does not start at a reload is tried again, and operators see why")
    func startFails() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        rig.fakes.failure = Self.denied
        rig.source.configuration = GuardianRig.configuration(
            socket: rig.folder + "/admin.sock", failover: Self.failover())

        rig.service.deliver(.hangUp)
        #expect(rig.turn { rig.service.failover.failure != nil })
        #expect(
            rig.turn { news(rig)?.vip?.fitness.hasPrefix("failover does not run: ") == true })
        #expect(!rig.service.failover.isActive)

        rig.fakes.failure = nil
        #expect(rig.turn { rig.failover != nil })
        #expect(rig.service.failover.failure == nil)
        #expect(rig.failover?.fitness == .fit)
        #expect(rig.failover?.readiness == .all)
    }

    @Test("A new thread waits for the one that leaves: two would fight for the addresses")
    func removedAndAdded() throws {
        let (rig, fake) = try Self.serving()
        fake.stops = false
        let with = rig.source.configuration
        rig.source.configuration = GuardianRig.configuration(socket: rig.folder + "/admin.sock")
        rig.service.deliver(.hangUp)
        #expect(rig.turn { fake.calls.contains("stop") })
        #expect(rig.service.failover.isActive)
        rig.source.configuration = with
        rig.service.deliver(.hangUp)
        #expect(rig.turn { rig.service.current.configuration.failover != nil })
        #expect(rig.turn { text(rig, ".news").contains("vip") })
        #expect(rig.fakes.count == 1)

        fake.answerStop()

        #expect(rig.turn { rig.fakes.count == 2 })
        #expect(rig.failover !== fake)
    }

    @Test("A stop waits for the addresses of a thread that is not wanted any more")
    func stopWhileLeaving() throws {
        let (rig, fake) = try Self.serving()
        fake.stops = false
        rig.source.configuration = GuardianRig.configuration(socket: rig.folder + "/admin.sock")
        rig.service.deliver(.hangUp)
        #expect(rig.turn { fake.calls.contains("stop") })

        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.proxyProcessID == nil })
        let proxyEnd = Instant.now()
        #expect(rig.turn { Instant.now() > proxyEnd.advanced(by: .milliseconds(100)) })
        #expect(rig.service.exitCode == nil)
        fake.answerStop()
        #expect(rig.turn { rig.service.exitCode == 0 })
    }

    // MARK: - Another program

    @Test("After an upgrade a node is as fit as it was, and a thread that does not start is no end")
    func resumed() throws {
        let loop = try PollLoop()
        let fakes = GuardianRig.Fakes()
        fakes.failure = Self.denied
        let keeper = FailoverKeeper(
            loop: loop,
            factory: { beginning, poster, handler throws(SystemError) in
                if let failure = fakes.failure { throw failure }
                let fake = FakeFailover(beginning, poster, handler)
                fakes.last = fake
                return fake
            },
            hands: .init(
                dismissClients: { _ in }, closeDoor: {}, openDoor: {}, openConnections: { 0 },
                drainTime: { .zero }, changed: {}, note: { _ in }))
        var succession = SuccessionTests.whole
        succession.troubles = Fitness.Troubles.names.rawValue
        let socket = try MemoryFile.makeSealed(name: "socket", []).release()
        var handover = SuccessionTests.handover
        handover.sockets[0].descriptor = socket

        keeper.resume(succession)
        do throws(SystemError) {
            try keeper.use(Self.failover(), FailoverOptions(), resuming: handover)
            Issue.record("it has started")
        } catch { #expect(error == Self.denied) }
        #expect(fcntl(socket, F_GETFD) == -1)
        fakes.failure = nil
        let end = Instant.now().advanced(by: .seconds(10))
        while fakes.last == nil, Instant.now() < end { loop.runOnce(maxWait: .milliseconds(20)) }

        #expect(fakes.last?.fitness == .degraded([.names]))
        #expect(fakes.last?.readiness == .all)
        // A start: it takes off what the thread before has left.
        #expect(fakes.last?.resumed == nil)
    }

    @Test("Both secrets reach the thread, and are read anew at a reload")
    func secrets() throws {
        let folder = try OwnFolder()
        let own = try folder.write("0123456789abcdef", to: "own", mode: 0o600)
        let next = try folder.write("fedcba9876543210", to: "next", mode: 0o600)
        let failover = Configuration.Failover(
            settings: Self.failover().settings, secret: own, acceptedSecret: next)
        let (rig, fake) = try Self.serving(failover: failover)
        #expect(fake.options.secret == Array("0123456789abcdef".utf8))
        #expect(fake.options.acceptedSecrets == [Array("fedcba9876543210".utf8)])

        try folder.write("another one of both", to: "next", mode: 0o600)
        rig.service.deliver(.hangUp)

        #expect(
            rig.turn {
                fake.options.acceptedSecrets == [Array("another one of both".utf8)]
            })
        #expect(fake.options.secret == Array("0123456789abcdef".utf8))
    }

    @Test("The secret is the one that was in use, whatever has become of its file")
    func carriedSecret() throws {
        let bytes = Array("0123456789abcdef".utf8)
        var succession = SuccessionTests.whole
        let settings = FailoverSettings(nodeName: "a", instances: [])
        let failover = Configuration.Failover(settings: settings, secret: "/nowhere/secret")
        succession.secret = try MemoryFile.makeSealed(name: "secret", bytes).release()
        #expect(Guardian.secret(from: succession, failover) == bytes)

        succession.secret = nil
        let unknown = try #require(Guardian.secret(from: succession, failover))
        #expect(unknown.count == 32)
        #expect(unknown != Guardian.secret(from: succession, failover))
        #expect(Guardian.secret(from: succession, .init(settings: settings)) == nil)
    }

    @Test("A program without the rights does not go on for one that moves addresses")
    func successorWithoutRights() throws {
        var succession = SuccessionTests.whole
        func check(_ canMoveAddresses: Bool) throws(Guardian.StartFailure) {
            let bytes = Array(succession.json.text.utf8)
            guard let file = try? MemoryFile.makeSealed(name: "succession", bytes) else {
                Issue.record("no file")
                return
            }
            try Guardian.checkSuccession(file.raw, canMoveAddresses: canMoveAddresses)
        }

        try check(true)
        #expect(throws: Guardian.StartFailure.self) { try check(false) }
        succession.failover = nil
        try check(false)
    }

    @Test("A thread that does not answer before an exec is no reason to wait for ever")
    func silentThread() throws {
        let (rig, fake) = try Self.serving()
        fake.prepares = false
        var isSilent = false

        rig.service.failover.prepareForExec { preparation in
            if case .silent = preparation { isSilent = true }
        }

        #expect(rig.turn { isSilent })
    }
}

extension String {
    /// How often `part` occurs.
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let place = rest.firstRange(of: part) {
            count += 1
            rest = rest[place.upperBound...]
        }
        return count
    }
}
