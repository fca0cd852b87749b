import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Outliers among members") struct OutlierDetectorTests {
    private static func totals(
        _ requests: Int, failures: Int = 0, milliseconds: UInt64 = 10
    ) -> TrafficWindow.Totals {
        TrafficWindow.Totals(
            requests: requests, failures: failures,
            latencySum: UInt64(requests) * milliseconds * 1_000_000)
    }

    @Test("Half of the requests is the limit by default, and reaching it is enough")
    func rate() {
        let findings = OutlierDetector.findings(
            [Self.totals(100, failures: 49), Self.totals(100, failures: 50), Self.totals(19)],
            policy: EjectionPolicy())

        #expect(findings == [nil, .failures(percent: 50), nil])
    }

    @Test("A rate of zero percent is not looked at")
    func rateOff() {
        let findings = OutlierDetector.findings(
            [Self.totals(100, failures: 100)], policy: EjectionPolicy(failurePercent: 0))

        #expect(findings == [nil])
    }

    @Test("No requests at all say nothing, whatever the policy")
    func nothing() {
        let findings = OutlierDetector.findings(
            [Self.totals(0), Self.totals(0)],
            policy: EjectionPolicy(failurePercent: 1, requestsMin: 0, latencyFactor: 1))

        #expect(findings == [nil, nil])
    }

    @Test("Of two members the slower one stands out, alone nobody does")
    func two() {
        let policy = EjectionPolicy(latencyFactor: 3)

        let pair = OutlierDetector.findings(
            [Self.totals(50, milliseconds: 10), Self.totals(50, milliseconds: 40)],
            policy: policy)
        let alone = OutlierDetector.findings(
            [Self.totals(50, milliseconds: 4000), Self.totals(2, milliseconds: 1)],
            policy: policy)

        #expect(pair == [nil, .latency(times: 4)])
        #expect(alone == [nil, nil])
    }

    @Test("Fast answers are never too slow")
    func fast() {
        let findings = OutlierDetector.findings(
            [Self.totals(50, milliseconds: 0), Self.totals(50, milliseconds: 4)],
            policy: EjectionPolicy(latencyFactor: 3))

        #expect(findings == [nil, nil])
    }

    @Test("A window holds ten seconds, in steps of one")
    func window() {
        var window = TrafficWindow()
        let summary = MemberSummary(
            address: HealthPool.address(1), requests: 1, failures: 1, latencySum: 5)
        var counts: [Int] = []

        for second in 0..<25 as Range<UInt64> {
            let now = Instant(nanoseconds: second * 1_000_000_000)
            window.add(summary, now: now)
            counts.append(window.totals(now: now).requests)
        }

        #expect(counts.prefix(10).elementsEqual(1...10))
        #expect(counts.suffix(15).allSatisfy { $0 == 10 })
        #expect(window.totals(now: Instant(nanoseconds: 30_000_000_000)).failures == 4)
        #expect(window.totals(now: Instant(nanoseconds: .max)).requests == 0)
    }
}
