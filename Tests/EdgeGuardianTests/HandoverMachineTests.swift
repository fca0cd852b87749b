import EdgeCore
import Testing

@testable import EdgeGuardian

@Suite("A planned way out")
struct HandoverMachineTests {
    private static let start = Instant(nanoseconds: 1_000_000_000)

    private static func at(_ milliseconds: Int) -> Instant {
        start.advanced(by: .milliseconds(milliseconds))
    }

    @Test("Clients leave, nobody new is let in for a moment, then the addresses go")
    func way() {
        var machine = HandoverMachine()

        #expect(
            machine.begin(.move, drain: .seconds(30), now: Self.at(0)) == [.dismissClients(true)])
        #expect(machine.counted(3, now: Self.at(10)) == [])
        #expect(machine.counted(0, now: Self.at(20)) == [.closeDoor])
        // Handshakes that had begun come to their end.
        #expect(machine.counted(0, now: Self.at(30)) == [])
        #expect(machine.counted(1, now: Self.at(130)) == [])
        #expect(machine.counted(0, now: Self.at(140)) == [.yield(isForced: false)])
        #expect(
            machine.yielded(.moved) == [
                .openDoor, .dismissClients(false), .finished(.move, .moved),
            ])
        #expect(!machine.isActive && machine.deadline == .never)
    }

    @Test("Who does not leave is waited for as long as was said, and a moment more")
    func late() {
        var machine = HandoverMachine()
        _ = machine.begin(.stop, drain: .seconds(1), now: Self.at(0))

        #expect(machine.deadline == Self.at(1000))
        #expect(machine.tick(now: Self.at(999)) == [])
        #expect(machine.tick(now: Self.at(1000)) == [.closeDoor])
        #expect(machine.deadline == Self.at(3000))
        #expect(machine.tick(now: Self.at(3000)) == [.yield(isForced: false)])
        #expect(machine.deadline == Self.at(8000))
        #expect(
            machine.tick(now: Self.at(8000)) == [
                .openDoor,
                .finished(.stop, .stayed("nobody has taken the addresses in time")),
            ])
    }

    @Test("Clients of a node that is drained, or that ends, are not welcome again")
    func dismissed() {
        for purpose in [HandoverMachine.Purpose.maintenance, .stop] {
            var machine = HandoverMachine()
            _ = machine.begin(purpose, drain: .zero, now: Self.at(0))
            _ = machine.counted(0, now: Self.at(0))
            _ = machine.counted(0, now: Self.at(100))

            #expect(machine.yielded(.moved) == [.openDoor, .finished(purpose, .moved)])
        }
    }

    @Test("By force they go at once; before an end, clients are told first all the same")
    func forced() {
        var machine = HandoverMachine()
        #expect(
            machine.begin(.move, drain: .seconds(9), isForced: true, now: Self.at(0)) == [
                .yield(isForced: true)
            ])
        machine = HandoverMachine()
        #expect(
            machine.begin(.stop, drain: .seconds(9), isForced: true, now: Self.at(0)) == [
                .dismissClients(true)
            ])
        _ = machine.counted(0, now: Self.at(1))
        #expect(machine.counted(0, now: Self.at(101)) == [.yield(isForced: true)])
    }

    @Test("It can be broken off at any time, and the door is open then")
    func cancelled() {
        for steps in 0..<4 {
            var machine = HandoverMachine()
            if steps > 0 { _ = machine.begin(.move, drain: .seconds(9), now: Self.at(0)) }
            if steps > 1 { _ = machine.counted(0, now: Self.at(0)) }
            if steps > 2 { _ = machine.counted(0, now: Self.at(100)) }

            let actions = machine.cancel("enough")

            #expect(actions.contains(.openDoor) == (steps > 1))
            #expect(actions.contains(.finished(.move, .stayed("enough"))) == (steps > 0))
            #expect(!machine.isActive)
        }
    }

    @Test("What comes at the wrong time changes nothing")
    func wrong() {
        var machine = HandoverMachine()
        #expect(machine.yielded(.moved) == [])
        #expect(machine.counted(0, now: Self.at(0)) == [])
        #expect(machine.tick(now: .never) == [])
        _ = machine.begin(.move, drain: .seconds(9), now: Self.at(0))
        #expect(machine.begin(.stop, drain: .seconds(9), now: Self.at(0)) == [])
        #expect(machine.yielded(.moved) == [])
        #expect(machine.purpose == .move)
    }
}
