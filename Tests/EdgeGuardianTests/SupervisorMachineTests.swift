import EdgeCore
import EdgeGuardian
import Testing

@Suite("Supervisor machine")
struct SupervisorMachineTests {
    typealias Machine = SupervisorMachine
    static let configuration = Machine.Configuration(
        serveDeadline: .seconds(2), hangTimeout: .milliseconds(500), drainDeadline: .seconds(30))

    static func at(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    var machine = Machine(configuration)

    private func at(_ milliseconds: UInt64) -> Instant { Self.at(milliseconds) }

    /// Serving since 0 ms.
    static func serving() -> Machine {
        var machine = Machine(configuration)
        _ = machine.start(now: at(0))
        _ = machine.proxyPrepared(now: at(0))
        _ = machine.proxyServing(now: at(0))
        return machine
    }

    @Test("Another proxy in its place ends whatever was to become of the one before")
    func replaced() {
        for isSuspended in [true, false] {
            var machine = SupervisorMachine(
                .init(
                    serveDeadline: .seconds(2), hangTimeout: .milliseconds(500),
                    drainDeadline: .seconds(5)))
            let start = Instant(nanoseconds: 1)
            _ = machine.start(now: start)
            _ = machine.proxyPrepared(now: start)
            _ = machine.proxyServing(now: start)
            if isSuspended {
                _ = machine.proxyStopped(now: start)
            } else {
                _ = machine.proxyHung(now: start)
                _ = machine.tick(now: start.advanced(by: .milliseconds(250)))
            }

            #expect(machine.proxyReplaced(now: start) == [.notify(.ready)])
            #expect(machine.deadline == .never)
            #expect(machine.tick(now: start.advanced(by: .seconds(60))) == [])
            guard case .serving = machine.state else {
                Issue.record("it does not serve")
                continue
            }
        }
    }

    @Test("Start: spawn, then listen and serve, then ready")
    mutating func start() {
        #expect(machine.start(now: at(0)) == [.spawn])
        #expect(!machine.isListening)
        #expect(machine.proxyPrepared(now: at(10)) == [.listen, .sendServe])
        #expect(machine.proxyServing(now: at(20)) == [.notify(.ready)])
        #expect(machine.state == .serving(since: at(20)))
        #expect(machine.notServingSince == nil)
        #expect(machine.deadline == .never)
    }

    @Test(
        "A first start that fails gives its code to the guardian",
        arguments: [
            (Machine.Exit.code(78), Int32(78)), (.code(0), 70), (.signal(9), 70),
            (.notSpawned(2), 71),
        ])
    func firstStartFails(_ exit: Machine.Exit, _ code: Int32) {
        var machine = Machine(Self.configuration)
        _ = machine.start(now: at(0))

        #expect(machine.proxyDied(exit, now: at(5)) == [.exit(code: code)])
        #expect(machine.state == .stopped(code: code))
    }

    @Test("Later deaths: at once, then 100 ms doubling to 5 s; steady serving starts over")
    func backOff() {
        #expect(Self.delays(serves: true) == [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
        #expect(
            Self.delays(serves: false) == [
                0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000,
            ])
    }

    /// Of eleven deaths, in milliseconds.
    private static func delays(serves: Bool) -> [UInt64] {
        var machine = Self.serving()
        var now: UInt64 = 1000
        var delays: [UInt64] = []
        for _ in 0..<11 {
            let actions = machine.proxyDied(.signal(9), now: at(now))
            if case .backingOff(let until) = machine.state {
                // Listening stops meanwhile if none of them serves.
                #expect(!machine.tick(now: at(now)).contains(.spawn))
                let delay = until.nanoseconds(since: at(now)) / 1_000_000
                delays.append(delay)
                now += delay
                #expect(machine.tick(now: at(now)).contains(.spawn))
            } else {
                #expect(actions.contains(.spawn))
                delays.append(0)
            }
            _ = machine.proxyPrepared(now: at(now))
            if serves { _ = machine.proxyServing(now: at(now)) }
        }
        #expect(machine.restarts == 11)
        if serves {
            #expect(machine.proxyDied(.code(1), now: at(now + 10_001)).contains(.spawn))
        }
        return delays
    }

    @Test("Without a serving proxy for 2 s listening stops; the next proxy finds it again")
    func serveDeadline() {
        var machine = Self.serving()
        _ = machine.proxyDied(.signal(11), now: at(1000))
        #expect(machine.deadline == at(3000))
        #expect(machine.tick(now: at(2999)) == [])
        #expect(machine.tick(now: at(3000)) == [.stopListening])
        #expect(machine.tick(now: at(3001)) == [])
        #expect(machine.proxyPrepared(now: at(4000)) == [.listen, .sendServe])
    }

    @Test("A proxy that was told to serve keeps its sockets, and is replaced if it does not")
    func serveTimeout() {
        var machine = Self.serving()
        _ = machine.proxyDied(.signal(11), now: at(1000))
        _ = machine.proxyPrepared(now: at(2900))
        #expect(machine.tick(now: at(3100)) == [])
        #expect(machine.deadline == at(4900))
        #expect(machine.tick(now: at(4900)) == [])
        #expect(machine.state == .aborting(killAt: at(5100)))
        #expect(machine.tick(now: at(5000)) == [.stopListening])
    }

    @Test("A start that takes too long is aborted, then killed")
    mutating func startTimeout() {
        _ = machine.start(now: at(0))
        #expect(machine.deadline == at(30_000))
        _ = machine.tick(now: at(30_000))
        #expect(machine.state == .aborting(killAt: at(30_200)))
        #expect(machine.tick(now: at(30_200)) == [.kill(.kill)])
        #expect(machine.state == .killed)
        #expect(machine.proxyDied(.signal(9), now: at(30_201)) == [.exit(code: 70)])
    }

    @Test("A hung proxy is killed after its stack and replaced at once, still listening")
    func hung() {
        var machine = Self.serving()
        _ = machine.proxyHung(now: at(1000))
        #expect(machine.deadline == at(1200))
        #expect(machine.tick(now: at(1200)) == [.kill(.kill)])
        #expect(machine.proxyDied(.signal(9), now: at(1201)) == [.spawn])
        #expect(machine.isListening)
    }

    @Test("A stopped proxy is resumed once and killed if that did not help")
    func suspended() {
        var machine = Self.serving()
        #expect(machine.proxyStopped(now: at(100)).last == .kill(.resume))
        #expect(machine.notServingSince == at(100))
        #expect(machine.proxyStopped(now: at(101)) == [])
        #expect(machine.tick(now: at(599)) == [])
        #expect(machine.tick(now: at(600)) == [.kill(.kill)])

        machine = Self.serving()
        _ = machine.proxyStopped(now: at(100))
        #expect(machine.proxyContinued(now: at(110)) == [.notify(.ready)])
        #expect(machine.state == .serving(since: at(0)))
    }

    @Test("TERM lets requests finish; the deadline and a second TERM end the patience")
    func terminate() {
        var machine = Self.serving()
        #expect(
            machine.terminate(now: at(0)) == [
                .notify(.stopping), .sendStop(deadline: .seconds(30)),
            ])
        #expect(machine.proxyDrained(now: at(5)) == [.leaveListeners])
        #expect(machine.proxyDied(.code(0), now: at(900)) == [.exit(code: 0)])

        machine = Self.serving()
        _ = machine.terminate(now: at(0))
        #expect(machine.tick(now: at(30_999)) == [])
        #expect(machine.tick(now: at(31_000)) == [.leaveListeners, .kill(.kill)])

        machine = Self.serving()
        _ = machine.terminate(now: at(0))
        #expect(machine.terminate(now: at(100)) == [.leaveListeners, .sendStopNow])
        #expect(machine.tick(now: at(350)) == [.kill(.kill)])
        #expect(machine.proxyDied(.signal(9), now: at(351)) == [.exit(code: 0)])
    }

    @Test("Sockets of a former guardian are listened on anew, or stop at the serve deadline")
    func takenOver() {
        var machine = Machine(Self.configuration)
        #expect(machine.start(now: at(0), isListening: true) == [.spawn])
        #expect(machine.isListening)
        #expect(machine.deadline == at(2000))
        // Some may be new, and not listen yet.
        #expect(machine.proxyPrepared(now: at(10)) == [.listen, .sendServe])

        machine = Machine(Self.configuration)
        _ = machine.start(now: at(0), isListening: true)
        #expect(machine.tick(now: at(2000)) == [.stopListening])
        #expect(machine.proxyPrepared(now: at(2500)) == [.listen, .sendServe])

        machine = Machine(Self.configuration)
        _ = machine.start(now: at(0), isListening: true)
        #expect(machine.proxyDied(.code(78), now: at(5)) == [.stopListening, .exit(code: 78)])

        machine = Machine(Self.configuration)
        _ = machine.start(now: at(0), isListening: true)
        #expect(
            machine.terminate(now: at(5)) == [
                .notify(.stopping), .leaveListeners, .kill(.kill),
            ])
    }

    @Test("INT stops at once; during a back-off there is nothing to wait for")
    func interrupt() {
        var machine = Self.serving()
        #expect(
            machine.interrupt(now: at(0)) == [.notify(.stopping), .leaveListeners, .sendStopNow])

        machine = Self.serving()
        _ = machine.proxyDied(.signal(9), now: at(1))
        _ = machine.proxyDied(.signal(9), now: at(2))
        #expect(
            machine.terminate(now: at(3)) == [
                .notify(.stopping), .leaveListeners, .exit(code: 0),
            ])
    }

    @Test("HUP: now while serving, later during a start, for the next proxy in a back-off")
    mutating func hangUp() {
        var serving = Self.serving()
        #expect(serving.hangUp(now: at(1)) == [.beginReload])

        _ = machine.start(now: at(0))
        #expect(machine.hangUp(now: at(1)) == [])
        _ = machine.proxyPrepared(now: at(2))
        #expect(machine.proxyServing(now: at(3)) == [.notify(.ready), .beginReload])

        _ = serving.proxyDied(.code(1), now: at(10))
        _ = serving.proxyDied(.code(1), now: at(20))
        #expect(serving.hangUp(now: at(30)) == [.reloadForNextStart])
    }

    @Test("Events that cannot happen are refused and change nothing")
    func illegal() {
        let now = Self.at(1)
        var starting = Machine(Self.configuration)
        _ = starting.start(now: now)
        var stopped = Machine(Self.configuration)
        _ = stopped.start(now: now)
        _ = stopped.proxyDied(.code(78), now: now)
        let table: [(Machine, (inout Machine) -> [Machine.Action])] = [
            (Machine(Self.configuration), { $0.proxyPrepared(now: now) }),
            (Machine(Self.configuration), { $0.proxyServing(now: now) }),
            (Machine(Self.configuration), { $0.proxyDied(.code(0), now: now) }),
            (Machine(Self.configuration), { $0.proxyHung(now: now) }),
            (Machine(Self.configuration), { $0.proxyStopped(now: now) }),
            (starting, { $0.start(now: now) }),
            (starting, { $0.proxyServing(now: now) }),
            (starting, { $0.proxyDrained(now: now) }),
            (Self.serving(), { $0.proxyPrepared(now: now) }),
            (Self.serving(), { $0.proxyServing(now: now) }),
            (Self.serving(), { $0.proxyDrained(now: now) }),
            (stopped, { $0.proxyPrepared(now: now) }),
            (stopped, { $0.proxyServing(now: now) }),
            (stopped, { $0.proxyDied(.code(0), now: now) }),
        ]
        for (index, (before, event)) in table.enumerated() {
            var machine = before
            let actions = event(&machine)
            #expect(machine.state == before.state, "row \(index)")
            guard case .refuse = actions.first, actions.count == 1 else {
                Issue.record("row \(index): \(actions)")
                continue
            }
        }
    }

    @Test("Seeded random walks keep the invariants", arguments: 0..<40)
    func walk(_ seed: UInt64) {
        var walk = SupervisorWalk(seed: seed)
        for step in 0..<2000 where !walk.step() {
            Issue.record("seed \(seed), step \(step): \(walk.broken), \(walk.machine.state)")
            return
        }
    }
}

/// A machine, a model of the world it acts on, and what must hold after each step.
struct SupervisorWalk {
    var machine = SupervisorMachine(SupervisorMachineTests.configuration)
    var broken = ""
    private var random: SplitMix
    private var now: UInt64 = 0
    private var isAlive = false
    private var isListening = false
    private var isStopping = false
    private var exits = 0

    init(seed: UInt64) {
        random = SplitMix(state: seed)
        observe(machine.start(now: SupervisorMachineTests.at(0)))
    }

    /// False when an invariant is broken; `broken` says which.
    mutating func step() -> Bool {
        now += [0, 1, 7, 90, 600, 2100, 11_000][Int.random(in: 0..<7, using: &random)]
        let instant = SupervisorMachineTests.at(now)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20: observe(machine.proxyPrepared(now: instant))
        case 20..<45: observe(machine.proxyServing(now: instant))
        case 45..<60:
            guard isAlive else { break }
            isAlive = false
            observe(machine.proxyDied(.signal(9), now: instant))
        case 60..<65: observe(machine.proxyHung(now: instant))
        case 65..<70: observe(machine.proxyStopped(now: instant))
        case 70..<75: observe(machine.proxyContinued(now: instant))
        case 75..<80: observe(machine.hangUp(now: instant))
        case 80: stop { $0.terminate(now: instant) }
        case 81:
            if Int.random(in: 0..<4, using: &random) == 0 { stop { $0.interrupt(now: instant) } }
        case 82: observe(machine.proxyDrained(now: instant))
        default: observe(machine.tick(now: instant))
        }
        check(instant)
        return broken.isEmpty
    }

    private mutating func stop(_ event: (inout SupervisorMachine) -> [SupervisorMachine.Action]) {
        isStopping = true
        observe(event(&machine))
    }

    private mutating func observe(_ actions: [SupervisorMachine.Action]) {
        for action in actions {
            switch action {
            case .spawn:
                if isAlive { broken = "two proxies" }
                if isStopping { broken = "spawned while stopping" }
                isAlive = true
            case .kill(.kill): if !isAlive { broken = "killed nobody" }
            case .sendServe: if !isListening { broken = "served without listening" }
            case .listen:
                if isListening { broken = "listened twice" }
                isListening = true
            case .stopListening, .leaveListeners:
                if action == .leaveListeners, !isStopping { broken = "left before its end" }
                if !isListening { broken = "stopped listening twice" }
                isListening = false
            case .exit:
                exits += 1
                if exits > 1 { broken = "exited twice" }
                if isAlive { broken = "left a proxy behind" }
                if isListening { broken = "left sockets listening" }
            case .kill(.resume), .sendStop, .sendStopNow, .beginReload, .reloadForNextStart,
                .notify, .refuse:
                break
            }
        }
    }

    private mutating func check(_ instant: Instant) {
        if isListening != machine.isListening { broken = "listening differs" }
        switch machine.state {
        case .idle: broken = "idle again"
        case .serving:
            if machine.notServingSince != nil || !isListening || !isAlive {
                broken = "serving in name only"
            }
        case .backingOff(let until):
            if isAlive { broken = "backing off beside a proxy" }
            if until.nanoseconds(since: instant) > 5_000_000_000 { broken = "back-off too long" }
        case .starting, .awaitingServing, .suspended, .aborting, .killed, .stopping:
            if !isAlive { broken = "waits for a proxy that is not there" }
        case .stopped: if exits != 1 { broken = "stopped without exit" }
        }
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
