import EdgeCore
import EdgeSystem
import Glibc
import Testing

@Suite("Guardian channel")
struct GuardianChannelTests {
    /// A guardian's end on a loop, the proxy's end as a bare socket, and what the guardian heard.
    private final class Rig {
        let loop: PollLoop
        let peer: Int32
        var channel: ProxyChannel!
        var reports: [ProxyReport] = []
        var violations: [ChannelViolation] = []
        var closed = 0

        init() throws {
            loop = try PollLoop()
            let (left, right) = try Descriptor.socketPair()
            peer = right
            channel = try ProxyChannel(
                loop: loop, socket: FileDescriptor(owning: left),
                handlers: .init(
                    received: { [unowned self] report, _ in reports.append(report) },
                    violated: { [unowned self] in violations.append($0) },
                    closed: { [unowned self] in closed += 1 }))
        }

        deinit { Glibc.close(peer) }

        func turn() { loop.runOnce(maxWait: .milliseconds(50)) }

        func receive() throws -> DescriptorPassing.Received {
            try DescriptorPassing.receive(peer, byteCountMax: 64)
        }
    }

    @Test("Descriptors arrive with their message, close-on-exec, and are the same file")
    func descriptors() throws {
        let rig = try Rig()
        let file = try MemoryFile.makeSealed(name: "test", Array("hello".utf8))

        #expect(rig.channel.send(.reload(id: 5), descriptors: [file.raw]))

        guard case .message(let bytes, let owned) = try rig.receive() else {
            Issue.record("no message")
            return
        }
        let fd = try #require(owned.borrowed.first)
        #expect(try ProxyCommand(wire: GuardianWire(bytes: bytes)) == .reload(id: 5))
        #expect(fcntl(fd, F_GETFD) == FD_CLOEXEC)
        #expect(try Descriptor.readAll(fd, byteCountMax: 100) == Array("hello".utf8))
        #expect(MemoryFile.isSealed(fd))
    }

    @Test("What was sent is received in order; the end is told once")
    func order() throws {
        let rig = try Rig()
        for report in GuardianMessageTests.reports {
            _ = try DescriptorPassing.send(rig.peer, bytes: report.wire.bytes)
        }
        shutdown(rig.peer, Int32(SHUT_RDWR))

        rig.turn()
        rig.turn()

        #expect(rig.reports == GuardianMessageTests.reports)
        #expect(rig.closed == 1)
        #expect(!rig.channel.send(.serve))
    }

    @Test("Garbage, long messages and unasked-for descriptors are refused and counted")
    func garbage() throws {
        let rig = try Rig()
        let before = openDescriptors()
        _ = try DescriptorPassing.send(rig.peer, bytes: [1, 2, 3])
        _ = try DescriptorPassing.send(rig.peer, bytes: [UInt8](repeating: 1, count: 65))
        let surplus = [Int32](repeating: 2, count: 3)
        _ = try DescriptorPassing.send(
            rig.peer, bytes: ProxyReport.serving.wire.bytes, descriptors: surplus)
        _ = try DescriptorPassing.send(rig.peer, bytes: ProxyReport.prepared.wire.bytes)

        rig.turn()

        #expect(rig.reports == [.prepared])
        #expect(
            rig.violations == [
                .message(.wrongSize(3)), .oversized, .message(.wrongDescriptorCount(3)),
            ])
        #expect(rig.channel.violations == 3)
        #expect(rig.closed == 0)
        #expect(openDescriptors() <= before + 8, "other suites run beside us")
    }

    @Test("A peer that does not read gets a bounded queue, then everything in order")
    func backPressure() throws {
        let rig = try Rig()
        var accepted = 0
        while rig.channel.send(.reloadAbort(id: UInt64(accepted))) { accepted += 1 }
        #expect(accepted > ProxyChannel.queuedMax)

        var received = 0
        while received < accepted {
            switch try rig.receive() {
            case .message(let bytes, _):
                let message = try ProxyCommand(wire: GuardianWire(bytes: bytes))
                #expect(message == .reloadAbort(id: UInt64(received)))
                received += 1
            case .wouldBlock: rig.turn()
            case .refused, .closed:
                Issue.record("channel ended")
                return
            }
        }
        #expect(rig.channel.send(.serve))
    }

    @Test("A flood is read no faster than the bound and costs no turns meanwhile")
    func flood() throws {
        let rig = try Rig()
        let bytes = ProxyReport.reloadPlease(requestID: 1).wire.bytes
        var sent = 0
        for _ in 0..<20 {
            while sent < 600, try DescriptorPassing.send(rig.peer, bytes: bytes) == .sent {
                sent += 1
            }
            rig.loop.runOnce(maxWait: .zero)
        }

        #expect(rig.reports.count == ProxyChannel.messagesPerSecondMax)
        #expect(rig.violations == [.flood])

        for _ in 0..<30 where rig.reports.count < sent { rig.turn() }
        #expect(rig.reports.count == sent)
    }

    private func openDescriptors() -> Int {
        (0..<1024).count { fcntl($0, F_GETFD) >= 0 }
    }
}
