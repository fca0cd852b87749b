import EdgeCore
import EdgeGuardian
import Testing

@Suite("Reload machine")
struct ReloadMachineTests {
    var machine = ReloadMachine()
    let now = Instant(nanoseconds: 1)

    @Test("Prepare, commit, adopt")
    mutating func commits() {
        #expect(machine.requested(7) == [.read])
        let id = machine.offered(now: now)
        #expect(machine.prepared(id: id, now: now) == [.sendCommit(id: id)])
        #expect(
            machine.committed(id: id) == [
                .adopt, .finished(.committed, requests: [7], reason: ""),
            ])
        #expect(!machine.isActive)
    }

    @Test("What is wrong is told to who asked and changes nothing")
    mutating func rejects() {
        _ = machine.requested(1)
        #expect(
            machine.rejected(.refused, reason: "edged.yaml:3:1: no")
                == [.finished(.refused, requests: [1], reason: "edged.yaml:3:1: no")])

        _ = machine.requested(2)
        let id = machine.offered(now: now)
        #expect(machine.refused(id: id, reason: 4).first == .discard)
    }

    @Test("Requests during a reload become one more, and each is answered")
    mutating func coalesces() {
        _ = machine.requested(nil)
        let id = machine.offered(now: now)
        #expect(machine.requested(1) == [])
        #expect(machine.requested(2) == [])
        #expect(machine.requested(nil) == [])
        _ = machine.prepared(id: id, now: now)

        #expect(machine.committed(id: id).last == .read)
        #expect(
            machine.rejected(.refused, reason: "x")
                == [.finished(.refused, requests: [1, 2], reason: "x")])
    }

    @Test("Time: a slow preparation is aborted, a missing commit replaces the proxy")
    mutating func timeouts() {
        _ = machine.requested(nil)
        var id = machine.offered(now: now)
        #expect(machine.tick(now: now) == [])
        #expect(machine.tick(now: machine.deadline).first == .sendAbort(id: id))

        _ = machine.requested(nil)
        id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)
        #expect(machine.tick(now: machine.deadline).contains(.replaceProxy))
        #expect(machine.deadline == .never)
    }

    @Test("A proxy that dies in either phase leaves the old configuration")
    mutating func dies() {
        #expect(machine.proxyDied() == [])
        _ = machine.requested(3)
        let id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)
        let actions = machine.proxyDied()
        #expect(actions.first == .discard)
        #expect(!actions.contains(.adopt))
    }

    @Test("Answers to another reload are refused")
    mutating func illegal() {
        func isRefused(_ actions: [ReloadMachine.Action]) -> Bool {
            if case .refuse = actions.first { actions.count == 1 } else { false }
        }
        #expect(isRefused(machine.prepared(id: 1, now: now)))
        #expect(isRefused(machine.committed(id: 1)))
        _ = machine.requested(nil)
        let id = machine.offered(now: now)
        #expect(isRefused(machine.prepared(id: id + 1, now: now)))
        #expect(isRefused(machine.refused(id: id + 1, reason: 0)))
        #expect(isRefused(machine.committed(id: id)))
        _ = machine.prepared(id: id, now: now)
        #expect(isRefused(machine.prepared(id: id, now: now)))
        #expect(isRefused(machine.refused(id: id, reason: 0)))
    }
}
