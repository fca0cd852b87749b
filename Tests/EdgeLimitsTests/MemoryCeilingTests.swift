import Testing

@testable import EdgeLimits

@Suite("Ceiling of memory") struct MemoryCeilingTests {
    private static let mebibyte: UInt64 = 1 << 20

    @Test("Levels begin at their marks and end a sixteenth below")
    func levels() {
        var ceiling = MemoryCeiling(1600 * Self.mebibyte)
        let steps: [(UInt64, MemoryLevel)] = [
            (0, .enough), (1399, .enough), (1400, .scarce), (1301, .scarce), (1299, .enough),
            (1399, .enough), (1600, .exhausted), (1501, .exhausted), (1499, .scarce),
            (1200, .enough), (9999, .exhausted), (0, .enough),
        ]
        for (resident, level) in steps {
            let before = ceiling.level
            let isChanged = ceiling.update(resident: resident * Self.mebibyte)
            #expect(ceiling.level == level, "\(resident)")
            #expect(isChanged == (before != level), "\(resident)")
        }
    }

    @Test("Without a ceiling there is always enough")
    func none() {
        var ceiling = MemoryCeiling(0)
        let isChanged = ceiling.update(resident: .max)
        #expect(!isChanged)
        #expect(ceiling.level == .enough)
    }

    @Test("The largest ceiling does not overflow")
    func largest() {
        var ceiling = MemoryCeiling(.max)
        let isChanged = ceiling.update(resident: .max)
        #expect(isChanged)
        #expect(ceiling.level == .exhausted)
    }
}
