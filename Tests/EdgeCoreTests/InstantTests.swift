internal import EdgeCore
internal import Testing

@Suite("Instant and spans")
struct InstantTests {
    private let second = Instant(nanoseconds: 1_000_000_000)

    @Test("advances, and compares by time")
    func advance() {
        let later = second.advanced(by: .milliseconds(1500))

        #expect(later.nanoseconds == 2_500_000_000)
        #expect(second < later)
        #expect(later.nanoseconds(since: second) == 1_500_000_000)
    }

    @Test("an earlier instant is zero nanoseconds after a later one")
    func backwards() { #expect(second.nanoseconds(since: .never) == 0) }

    @Test("saturates at never")
    func saturation() {
        #expect(second.advanced(byNanoseconds: .max) == .never)
        #expect(Instant.never.advanced(by: .nanoseconds(1)) == .never)
        #expect(second.advanced(by: .seconds(Int64.max)) == .never)
    }

    private static let spanCases: [(Duration, UInt64)] = [
        (.zero, 0), (.nanoseconds(1), 1), (.milliseconds(1), 1_000_000),
        (.seconds(2) + .nanoseconds(5), 2_000_000_005), (.seconds(-1), 0), (.nanoseconds(-1), 0),
        (.seconds(Int64.max), .max),
        (Duration(secondsComponent: 0, attosecondsComponent: 999_999_999), 0),
    ]

    @Test("spans in nanoseconds: whole, saturating, never negative", arguments: spanCases)
    func spans(span: Duration, expected: UInt64) { #expect(span.nanoseconds == expected) }

    @Test(
        "nanoseconds become a span and come back",
        arguments: [0, 1, 999_999_999, 1 << 60] as [UInt64])
    func roundTrip(count: UInt64) { #expect(Duration(nanoseconds: count).nanoseconds == count) }

    @Test("the clock does not go back")
    func monotonic() {
        var last = Instant.now()
        for _ in 0..<1000 {
            let now = Instant.now()
            #expect(now >= last)
            last = now
        }
    }
}
