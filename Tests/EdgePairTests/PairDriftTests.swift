internal import EdgeTesting
internal import Testing

@testable internal import EdgePair

@Suite("Pair: drift") struct PairDriftTests {
    private static func texts(
        _ ours: PairFingerprints, _ theirs: PairFingerprints, clock: Int64? = nil,
        theirSoftware: String = "1.0"
    ) -> [String] {
        PairDrift.compare(ours, theirs, clock: clock, software: ("1.0", theirSoftware))
            .map(\.text)
    }

    @Test("Two nodes that are the same have nothing to say")
    func same() {
        #expect(Self.texts(Sample.prints, Sample.prints, clock: 2_000_000_000).isEmpty)
        #expect(
            PairDrift.compare(nil, Sample.prints, clock: nil, software: ("1", "1")).isEmpty)
    }

    @Test("Configuration, clock and version are told with both values")
    func plain() {
        var other = Sample.prints
        other.configuration = 0xAB

        #expect(
            Self.texts(Sample.prints, other, clock: -3_250_000_000, theirSoftware: "1.1") == [
                "configuration: 0000000000000001 here, 00000000000000ab there",
                "clock: the other node's is 3.2 s behind", "version: 1.0 here, 1.1 there",
            ])
    }

    @Test("Certificates are told by name: only here, only there, another one")
    func certificates() {
        var other = Sample.prints
        other.certificates = 9
        other.labels = [
            .init(name: "a.example", fingerprint: 40), .init(name: "c.example", fingerprint: 5),
        ]

        #expect(
            Self.texts(Sample.prints, other) == [
                "certificate a.example: another one", "certificate b.example: only here",
                "certificate c.example: only there",
            ])
    }

    @Test("A list that is not complete says nothing of names behind its last")
    func partial() {
        var ours = Sample.prints
        var theirs = Sample.prints
        theirs.certificates = 9
        theirs.certificateCount = 3
        ours.labels.append(.init(name: "c.example", fingerprint: 6))
        ours.certificateCount = 3

        #expect(Self.texts(ours, theirs) == ["certificates: not the same (3 here, 3 there)"])
    }

    @Test("Many differences are counted")
    func many() {
        var ours = Sample.prints
        ours.certificateCount = 20
        ours.labels = (10..<30).map { .init(name: "n\($0).example", fingerprint: $0) }
        var theirs = ours
        theirs.certificates = 4
        theirs.labels = ours.labels.map { .init(name: $0.name, fingerprint: 1) }

        let texts = Self.texts(ours, theirs)

        #expect(texts.count == 9)
        #expect(texts.last == "certificates: 12 more differ")
    }
}
