import EdgeCore
import EdgeSystem
import Testing

@Suite("Guardian messages")
struct GuardianMessageTests {
    static let commands: [ProxyCommand] = [
        .hello(.init(workers: 4, socketsPerListener: 4, listenerAddresses: 3, flags: [])),
        .hello(
            .init(
                workers: 256, socketsPerListener: 256, listenerAddresses: 0,
                flags: [.adminSocket, .restarted, .successor, .drained, .limitMemory], bank: 3)),
        .listener(.init(listener: 2, address: 1, group: 5, firstSocket: 16, count: 16)),
        .place(.init(listener: 2, address: 1, group: 5)), .leaveGroup(255),
        .stop(deadlineMilliseconds: 1, isReplaced: true),
        .start, .serve, .reload(id: 7), .reloadCommit(id: .max), .reloadAbort(id: 0),
        .reloadResult(requestID: 9, outcome: .needsRestart), .stop(deadlineMilliseconds: 25_000),
        .stopNow, .reopenLogs, .news, .dismissClients(true), .dismissClients(false),
        .reloadResult(requestID: 9, outcome: .done),
    ]
    static let reports: [ProxyReport] = [
        .prepared, .serving, .reloadPrepared(id: 1), .reloadRefused(id: 2, reason: .max),
        .reloadCommitted(id: 3), .reloadPlease(requestID: 4), .drained, .finished,
        .reloadPlease(requestID: 4, mode: .plan), .confirmPlease(requestID: 8),
        .reloadPlease(requestID: 4, mode: .confirm(milliseconds: 60_000)),
        .upgradePlease(requestID: 9), .groupLeft(3), .fitness(troubles: 0),
        .fitness(troubles: .max), .nodePlease(requestID: 1, drains: true),
        .nodePlease(requestID: 2, drains: false), .yieldPlease(requestID: 3, isForced: true),
        .yieldPlease(requestID: 4, isForced: false),
    ]

    @Test("A command survives the wire", arguments: commands)
    func command(_ message: ProxyCommand) throws {
        let bytes = message.wire.bytes

        #expect(bytes.count == 64)
        #expect(try ProxyCommand(wire: GuardianWire(bytes: bytes)) == message)
    }

    @Test("A report survives the wire", arguments: reports)
    func report(_ message: ProxyReport) throws {
        #expect(try ProxyReport(wire: GuardianWire(bytes: message.wire.bytes)) == message)
    }

    @Test("The layout is the documented one")
    func layout() {
        let bytes = ProxyReport.reloadRefused(id: 0x0102, reason: 3).wire.bytes

        #expect(
            Array(bytes[..<24]) == [1, 0, 68, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 3]
                + [UInt8](repeating: 0, count: 7))
    }

    @Test("A message of another size is refused", arguments: [0, 1, 63, 65, 4096])
    func size(_ count: Int) {
        #expect(throws: GuardianMessageError.wrongSize(count)) {
            try GuardianWire(bytes: [UInt8](repeating: 1, count: count))
        }
    }

    @Test("Another version, reserved bits, unknown types and unused fields are refused")
    func refused() {
        func decode(_ change: (inout [UInt8]) -> Void) -> GuardianMessageError? {
            var bytes = ProxyReport.serving.wire.bytes
            change(&bytes)
            do throws(GuardianMessageError) {
                _ = try ProxyReport(wire: GuardianWire(bytes: bytes))
                return nil
            } catch { return error }
        }

        #expect(decode { $0[0] = 2 } == .wrongVersion(2))
        #expect(decode { $0[4] = 1 } == .reservedBitsSet)
        #expect(decode { $0[2] = 99 } == .unknownType(99))
        // A command is no report.
        #expect(decode { $0[2] = 4 } == .unknownType(4))
        #expect(decode { $0[63] = 1 } == .unusedFieldSet)
    }

    @Test("Fields out of range are refused")
    func ranges() {
        let wires = [
            GuardianWire(1, 0, 1, 1, 0), GuardianWire(1, 1, 257, 1, 0),
            GuardianWire(1, 1, 1, 1, 32), GuardianWire(1, .max, 1, 1, 0),
            GuardianWire(1, 1, 1, 1, 0, 16), GuardianWire(9, 1, 2), GuardianWire(13, 257),
            GuardianWire(2, 0, 0, 0, 17), GuardianWire(2, 0, 0, 0, 0),
            GuardianWire(8, 1, 9), GuardianWire(9, 86_400_001), GuardianWire(15, 2),
        ]
        for wire in wires {
            #expect(throws: GuardianMessageError.fieldOutOfRange) { try ProxyCommand(wire: wire) }
        }
        #expect(throws: GuardianMessageError.fieldOutOfRange) {
            try ProxyReport(wire: GuardianWire(68, 1, 1 << 32))
        }
        for wire in [
            GuardianWire(70, 1, 3), GuardianWire(70, 1, 0, 5), GuardianWire(70, 1, 2, 0),
            GuardianWire(70, 1, 2, 3_600_001), GuardianWire(73, 300),
            GuardianWire(76, 1 << 32), GuardianWire(77, 1, 2), GuardianWire(78, 1, 2),
        ] {
            #expect(throws: GuardianMessageError.fieldOutOfRange) { try ProxyReport(wire: wire) }
        }
    }

    @Test("Any 64 bytes are a message or an error, and a message is its bytes")
    func fuzz() {
        var random = SystemRandomNumberGenerator()
        var accepted = 0
        for round in 0..<30_000 {
            var bytes = (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) }
            // Mostly plausible ones, so that the fields are reached.
            if round % 4 != 0 {
                bytes[0] = 1
                bytes[1] = 0
                bytes[2] = UInt8.random(in: 0...16, using: &random) + (round % 2 == 0 ? 0 : 64)
                bytes[3] = 0
                for index in 4..<64 where round % 8 != 1 || index % 8 != 0 { bytes[index] = 0 }
            }
            guard let wire = try? GuardianWire(bytes: bytes) else { continue }
            if let command = try? ProxyCommand(wire: wire) {
                accepted += 1
                #expect(command.wire.bytes == bytes)
            }
            if let report = try? ProxyReport(wire: wire) {
                accepted += 1
                #expect(report.wire.bytes == bytes)
            }
        }
        #expect(accepted > 300)
    }
}
