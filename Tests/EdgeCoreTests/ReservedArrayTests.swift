import Testing

@testable import EdgeCore

@Suite("Reserved memory and numbers") struct ReservedArrayTests {
    @Test("Fresh memory is zero, keeps its place and costs nothing until touched")
    func fresh() {
        // 64 GiB of address space: only possible if nothing is touched.
        guard let array = ReservedArray<UInt64>(capacity: 8 << 30) else {
            Issue.record("no address space")
            return
        }
        let (first, second, last) = (array[0], array[1], array[(8 << 30) - 1])
        #expect(last.pointee == 0)

        last.pointee = 7
        first.pointee = 5
        let again = array[(8 << 30) - 1]

        #expect(again == last)
        #expect(again.pointee == 7)
        #expect(second.pointee == 0)
        #expect(last - first == (8 << 30) - 1)
        let capacity = array.capacity
        #expect(capacity == 8 << 30)
    }

    @Test("Elements are a stride apart")
    func stride() {
        guard let array = ReservedArray<InlineArray<3, UInt32>>(capacity: 100) else {
            Issue.record("no address space")
            return
        }

        for index in 0..<100 { array[index].pointee = .init(repeating: UInt32(index)) }
        var isKept = true
        for index in 0..<100 where array[index].pointee[2] != UInt32(index) { isKept = false }

        #expect(isKept)
    }

    @Test("No address space is nil, not a crash")
    func tooMuch() {
        if ReservedArray<UInt8>(capacity: 1 << 60) != nil { Issue.record("made") }
    }

    @Test("SplitMix64 gives the published sequence")
    func reference() {
        var random = SplitMix64(seed: 1_234_567)

        let words = (0..<5).map { _ in random.next() }

        #expect(
            words == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973,
                9_817_491_932_198_370_423, 4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ])
        var zero = SplitMix64(seed: 0)
        let first = zero.next()
        #expect(first == 0xE220_A839_7B1D_CDAF)
    }
}
