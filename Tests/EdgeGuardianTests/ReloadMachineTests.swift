import EdgeCore
import EdgeGuardian
import Testing

@Suite("Reload machine")
struct ReloadMachineTests {
    var machine = ReloadMachine()
    let now = Instant(nanoseconds: 1)

    @Test("Prepare, commit, adopt")
    mutating func commits() {
        #expect(machine.requested(7, now: now) == [.read])
        let id = machine.offered(now: now)
        #expect(machine.prepared(id: id, now: now) == [.commit(id: id)])
        #expect(
            machine.committed(id: id, now: now) == [
                .adopt, .finished(.committed, requests: [7], reason: ""),
            ])
        #expect(!machine.isActive)
    }

    @Test("What is wrong is told to who asked and changes nothing")
    mutating func rejects() {
        _ = machine.requested(1, now: now)
        #expect(
            machine.rejected(.refused, reason: "edged.yaml:3:1: no")
                == [.finished(.refused, requests: [1], reason: "edged.yaml:3:1: no")])

        _ = machine.requested(2, now: now)
        let id = machine.offered(now: now)
        #expect(machine.refused(id: id, reason: 4).first == .discard)
    }

    @Test("Requests during a reload become one more, and each is answered")
    mutating func coalesces() {
        _ = machine.requested(nil, now: now)
        let id = machine.offered(now: now)
        #expect(machine.requested(1, now: now) == [])
        #expect(machine.requested(2, now: now) == [])
        #expect(machine.requested(nil, now: now) == [])
        _ = machine.prepared(id: id, now: now)

        #expect(machine.committed(id: id, now: now).last == .read)
        #expect(
            machine.rejected(.refused, reason: "x")
                == [.finished(.refused, requests: [1, 2], reason: "x")])
    }

    @Test("Time: a slow preparation is aborted, a missing commit replaces the proxy")
    mutating func timeouts() {
        _ = machine.requested(nil, now: now)
        var id = machine.offered(now: now)
        #expect(machine.tick(now: now) == [])
        #expect(machine.tick(now: machine.deadline).first == .sendAbort(id: id))

        _ = machine.requested(nil, now: now)
        id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)
        #expect(machine.tick(now: machine.deadline).contains(.replaceProxy))
        #expect(machine.deadline == .never)
    }

    @Test("A proxy that dies in either phase leaves the old configuration")
    mutating func dies() {
        #expect(machine.proxyDied() == [])
        _ = machine.requested(3, now: now)
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
        #expect(isRefused(machine.committed(id: 1, now: now)))
        _ = machine.requested(nil, now: now)
        let id = machine.offered(now: now)
        #expect(isRefused(machine.prepared(id: id + 1, now: now)))
        #expect(isRefused(machine.refused(id: id + 1, reason: 0)))
        #expect(isRefused(machine.committed(id: id, now: now)))
        _ = machine.prepared(id: id, now: now)
        #expect(isRefused(machine.prepared(id: id, now: now)))
        #expect(isRefused(machine.refused(id: id, reason: 0)))
    }

    @Test("A plan is prepared and never committed, and goes beside a reload on trial")
    mutating func plans() {
        #expect(machine.requested(1, .plan, now: now) == [.read])
        let id = machine.offered(now: now)
        #expect(
            machine.prepared(id: id, now: now) == [
                .sendAbort(id: id), .discard,
                .finished(.planned, requests: [1], reason: ""),
            ])
        #expect(!machine.isActive)
    }

    @Test("Different wishes are different reloads, in the order they came in")
    mutating func order() {
        _ = machine.requested(1, now: now)
        _ = machine.requested(2, .plan, now: now)
        _ = machine.requested(3, now: now)
        _ = machine.requested(4, now: now)
        let id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)

        #expect(
            machine.committed(id: id, now: now) == [
                .adopt, .finished(.committed, requests: [1], reason: ""), .read,
            ])
        #expect(
            machine.rejected(.refused, reason: "x") == [
                .finished(.refused, requests: [2], reason: "x"), .read,
            ])
        #expect(
            machine.rejected(.refused, reason: "y")
                == [.finished(.refused, requests: [3, 4], reason: "y")])
    }

    @Test("Those beyond the queue are told that they have failed")
    mutating func full() {
        _ = machine.requested(0, now: now)
        for request in 0..<UInt64(ReloadMachine.requestsMax) {
            #expect(machine.requested(request + 1, now: now) == [])
        }
        guard case .finished(.failed, [1000], _)? = machine.requested(1000, now: now).first else {
            Issue.record("one more than the queue holds was taken")
            return
        }
    }

    /// A reload that waits for its confirmation.
    private mutating func trial() {
        _ = machine.requested(1, .confirm(milliseconds: 60_000), now: now)
        let id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)
        #expect(machine.committed(id: id, now: now).first == .adoptOnTrial)
    }

    @Test("A reload on trial stays when it is confirmed")
    mutating func confirmed() {
        trial()
        #expect(machine.deadline == now.advanced(by: .seconds(60)))
        #expect(
            machine.confirmed(2)
                == [.forgetPrevious, .finished(.confirmed, requests: [2], reason: "")])
        #expect(machine.deadline == .never)
        guard case .finished(.refused, [3], _)? = machine.confirmed(3).first else {
            Issue.record("confirmed what nobody put on trial")
            return
        }
    }

    @Test("A reload on trial is taken back at its time, and refuses others until then")
    mutating func takenBack() {
        trial()
        guard case .finished(.refused, [2], _)? = machine.requested(2, now: now).first else {
            Issue.record("another reload was begun on top of one on trial")
            return
        }

        #expect(machine.tick(now: now.advanced(by: .seconds(59))) == [])
        #expect(machine.tick(now: now.advanced(by: .seconds(60))) == [.readPrevious])
        let id = machine.offered(now: now)
        #expect(machine.prepared(id: id, now: now) == [.commit(id: id)])
        #expect(machine.committed(id: id, now: now).first == .adopt)
        #expect(machine.confirmationDue == nil)
    }

    @Test("A burst of errors takes a reload on trial back at once")
    mutating func burst() {
        #expect(machine.goesWrong(now: now) == [])
        trial()
        #expect(machine.goesWrong(now: now) == [.readPrevious])
        #expect(machine.goesWrong(now: now) == [])
    }

    @Test("Sockets that cannot listen end a reload before it is committed")
    mutating func notListening() {
        _ = machine.requested(1, now: now)
        let id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)
        #expect(
            machine.notListening(id: id, reason: "taken") == [
                .sendAbort(id: id), .discard,
                .finished(.refused, requests: [1], reason: "taken"),
            ])
    }

    @Test("A reload on trial that kills its proxy is taken back for the next one")
    mutating func killed() {
        trial()
        #expect(machine.proxyDied() == [.adoptPrevious])
        #expect(machine.deadline == .never)

        trial()
        _ = machine.goesWrong(now: now)
        _ = machine.offered(now: now)
        let actions = machine.proxyDied()
        #expect(actions.first == .adoptPrevious)
        #expect(!machine.isActive)
    }

    @Test("What is to be taken back is tried again until it has been")
    mutating func retries() {
        trial()
        _ = machine.goesWrong(now: now)
        _ = machine.rejected(.refused, reason: "the port is taken")
        #expect(machine.retryReturn() == [.readPrevious])
        #expect(machine.retryReturn() == [])
        let id = machine.offered(now: now)
        _ = machine.prepared(id: id, now: now)
        #expect(machine.committed(id: id, now: now).prefix(2) == [.adopt, .forgetPrevious])
    }
}
