import EdgeCore
import EdgeGuardian
import Testing

@Suite("Upgrade machine")
struct UpgradeMachineTests {
    var machine = UpgradeMachine()
    let now = Instant(nanoseconds: 1)

    private static func outcome(_ actions: [UpgradeMachine.Action]) -> String {
        for case .finished(let outcome, let requests, let reason) in actions {
            return "\(outcome) \(requests) \(reason)"
        }
        return "none"
    }

    /// Up to the state in which the new proxy prepares.
    private mutating func start() {
        #expect(machine.requested(7, obstacle: nil, now: now) == [.check])
        #expect(machine.checked(fault: nil, now: now) == [.startNext])
    }

    @Test("Checked, started, serving: only then the old one is told to finish")
    mutating func upgrades() {
        start()
        #expect(machine.nextPrepared(now: now) == [.serveNext])
        #expect(
            machine.nextServing(now: now) == [
                .finished(.upgraded, requests: [7], reason: ""), .handOver, .askSuccessor,
            ])
        #expect(machine.successorAnswered(fault: nil) == [.drop, .become])
        #expect(!machine.isActive)
    }

    @Test("A guardian that the new program does not understand stays what it is")
    mutating func guardianStays() {
        start()
        _ = machine.nextPrepared(now: now)
        _ = machine.nextServing(now: now)
        #expect(machine.successorAnswered(fault: "exit code 1") == [.drop])
    }

    @Test("What cannot begin now is refused with the reason; so is a second one")
    mutating func refused() {
        let refused = machine.requested(1, obstacle: "a reload is under way", now: now)
        #expect(Self.outcome(refused) == "failed [1] a reload is under way")
        start()
        #expect(
            Self.outcome(machine.requested(2, obstacle: nil, now: now))
                == "failed [2] an upgrade is under way already")
    }

    @Test("Whatever goes wrong before the new proxy serves ends it, and nothing else")
    mutating func abandoned() {
        _ = machine.requested(7, obstacle: nil, now: now)
        let refused = machine.checked(fault: "exit code 78", now: now)
        #expect(refused.first == .drop)
        #expect(Self.outcome(refused) == "failed [7] the new program refuses: exit code 78")

        start()
        #expect(
            Self.outcome(machine.nextEnded("ended with exit code 71"))
                == "failed [7] the new proxy ended with exit code 71")
        start()
        _ = machine.nextPrepared(now: now)
        #expect(machine.proxyLost().first == .drop)
        start()
        #expect(machine.stop().first == .drop)
        #expect(!machine.isActive)
    }

    @Test("Each step has its time")
    mutating func time() {
        _ = machine.requested(nil, obstacle: nil, now: now)
        #expect(machine.tick(now: now) == [])
        #expect(machine.tick(now: machine.deadline).first == .drop)
        start()
        #expect(machine.tick(now: machine.deadline).first == .drop)
        start()
        _ = machine.nextPrepared(now: now)
        #expect(machine.tick(now: machine.deadline).first == .drop)
        start()
        _ = machine.nextPrepared(now: now)
        _ = machine.nextServing(now: now)
        // The new proxy serves: only the guardian's own part is given up.
        #expect(machine.tick(now: machine.deadline) == [.drop])
        #expect(machine.deadline == .never)
    }

    @Test("Reports at the wrong time change nothing")
    mutating func illegal() {
        func isRefused(_ actions: [UpgradeMachine.Action]) -> Bool {
            if case .refuse = actions.first { actions.count == 1 } else { false }
        }
        #expect(isRefused(machine.nextPrepared(now: now)))
        #expect(isRefused(machine.nextServing(now: now)))
        #expect(isRefused(machine.checked(fault: nil, now: now)))
        #expect(isRefused(machine.successorAnswered(fault: nil)))
        start()
        #expect(isRefused(machine.nextServing(now: now)))
        #expect(machine.isActive)
    }
}
