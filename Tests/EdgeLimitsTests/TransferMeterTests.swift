import EdgeLimits
import Testing

@Suite("Transfers that are charged") struct TransferMeterTests {
    private func expectTake(
        _ meter: inout TransferMeter, _ total: UInt64, _ amount: UInt32,
        _ location: SourceLocation = #_sourceLocation
    ) {
        let taken = meter.take(of: total)
        #expect(taken == amount, sourceLocation: location)
    }

    private func expectPause(
        _ meter: inout TransferMeter, after amount: UInt32, wait: UInt64, _ isExpected: Bool,
        _ location: SourceLocation = #_sourceLocation
    ) {
        let pauses = meter.pauses(after: amount, wait: wait)
        #expect(pauses == isExpected, sourceLocation: location)
    }

    @Test("Each byte is charged once, whatever was moved before")
    func once() {
        var meter = TransferMeter(turn: 100, least: 1, moved: 50)
        expectTake(&meter, 50, 0)
        expectTake(&meter, 75, 25)
        // What has been taken back is not charged again when it is repeated.
        expectTake(&meter, 0, 0)
        expectTake(&meter, 80, 5)
        expectTake(&meter, 80 + UInt64(UInt32.max) + 7, .max)
        expectTake(&meter, 80 + UInt64(UInt32.max) + 7, 7)
    }

    @Test("A debt counts when the turn is used up, and there is a turn behind each pause")
    func turns() {
        var meter = TransferMeter(turn: 100, least: 1)
        expectPause(&meter, after: 1_000, wait: 0, false)
        expectPause(&meter, after: 10, wait: 5, true)
        meter.resume()
        #expect(meter.round == 100)
        expectPause(&meter, after: 60, wait: 5, false)
        #expect(meter.round == 40)
        expectPause(&meter, after: 60, wait: 5, true)
        #expect(meter.round == 100)
    }

    @Test("A turn is at least what is read at a time; none is none")
    func least() {
        #expect(TransferMeter(turn: 5, least: 16).round == 16)
        #expect(!TransferMeter(turn: 0, least: 16).isOn)
    }
}
