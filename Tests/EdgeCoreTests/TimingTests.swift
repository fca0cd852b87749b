internal import EdgeCore
internal import Testing

@Suite("Histograms of times")
struct TimingTests {
    @Test("a span falls into the first bucket whose bound it does not exceed")
    func buckets() {
        for bucket in 0..<Timing.bucketCount - 1 {
            guard let bound = Timing.bound(of: bucket) else {
                Issue.record("bucket \(bucket) has no bound")
                continue
            }
            #expect(Timing.bucket(of: bound) == bucket)
            #expect(Timing.bucket(of: bound - 1) == bucket)
            #expect(Timing.bucket(of: bound + 1) == bucket + 1)
        }
    }

    @Test("the smallest and the largest spans have a bucket")
    func ends() {
        #expect(Timing.bucket(of: 0) == 0)
        #expect(Timing.bucket(of: 1) == 0)
        #expect(Timing.bucket(of: .max) == Timing.bucketCount - 1)
        #expect(Timing.bound(of: 0) == 250_000)
        #expect(Timing.bound(of: Timing.bucketCount - 1) == nil)
    }

    @Test("labels become names of metrics")
    func labels() {
        #expect(Timing.requestDuration.label == "request_duration")
        #expect(Timing.upstreamResponse.label == "upstream_response")
    }
}

@Suite("Civil time")
struct WallClockTests {
    @Test(
        "seconds since 1970 become dates, leap years included",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"), (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_077_926_400, "2004-02-28T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] as [(UInt64, String)])
    func dates(second: UInt64, text: String) {
        #expect(WallClock.text(second * 1_000_000_000) == text)
    }

    @Test("milliseconds have three digits and are cut, not rounded")
    func fraction() {
        #expect(WallClock.text(7_999_999) == "1970-01-01T00:00:00.007Z")
        #expect(WallClock.text(999_999_999) == "1970-01-01T00:00:00.999Z")
    }
}
