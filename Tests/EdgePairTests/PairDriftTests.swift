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

/// A reload that may be asked within an expectation.
private final class Asked {
    private var reload: PairReload

    init(_ reload: PairReload) { self.reload = reload }

    func begin() -> [PairReload.Action] { reload.begin() }
    func failed(_ reason: String) -> [PairReload.Action] { reload.failed(reason) }
    func copy() -> Asked { Asked(reload) }

    func answered(
        _ side: PairReload.Side, _ outcome: PairReload.Outcome, lines: [String]
    ) -> [PairReload.Action] {
        reload.answered(side, outcome, lines: lines)
    }
}

@Suite("Pair: reload of both nodes") struct PairReloadTests {
    private typealias Action = PairReload.Action

    private static func planned(
        _ standby: PairReload.Side?, _ here: PairReload.Outcome, _ there: PairReload.Outcome
    ) -> (Asked, [Action]) {
        let reload = Asked(PairReload(standby: standby, peerName: "lb-02"))
        _ = reload.begin()
        _ = reload.answered(.here, here, lines: here == .refused ? ["x.yaml:1: bad"] : [])
        let next = reload.answered(.there, there, lines: there == .refused ? ["no key"] : [])
        return (reload, next)
    }

    @Test("Both can: the standby first, on trial; then the other one; then it is confirmed")
    func standbyThere() {
        for standby in [PairReload.Side.there, nil] {
            var (reload, next) = Self.planned(standby, .done, .done)
            #expect(next == [.reload(.there, onTrial: true)])
            next = reload.answered(.there, .done, lines: [])
            #expect(next == [.reload(.here, onTrial: false)])
            next = reload.answered(.here, .done, lines: ["warning: w"])
            #expect(next == [.confirm(.there)])
            next = reload.answered(.there, .done, lines: [])
            #expect(next == [.finish(.done, lines: ["warning: w"])])
        }
    }

    @Test("The standby is this node: it goes first, on trial, and both are confirmed")
    func standbyHere() {
        var (reload, next) = Self.planned(.here, .done, .done)
        #expect(next == [.reload(.here, onTrial: true)])
        next = reload.answered(.here, .done, lines: [])
        #expect(next == [.reload(.there, onTrial: true)])
        next = reload.answered(.there, .done, lines: [])
        #expect(next == [.confirm(.there)])
        next = reload.answered(.there, .done, lines: [])
        #expect(next == [.confirm(.here)])
        next = reload.answered(.here, .done, lines: [])
        #expect(next == [.finish(.done, lines: [])])
    }

    @Test("Refused by one: nobody changes anything, and it is said who and why")
    func refused() {
        #expect(
            Self.planned(nil, .done, .refused).1 == [
                .finish(
                    .refused, lines: ["refused by lb-02; nothing has changed", "lb-02: no key"])
            ])
        #expect(
            Self.planned(nil, .refused, .done).1 == [
                .finish(
                    .refused,
                    lines: ["refused by this node; nothing has changed", "x.yaml:1: bad"])
            ])
        #expect(
            Self.planned(nil, .refused, .refused).1 == [
                .finish(
                    .refused,
                    lines: [
                        "refused by lb-02 and this node; nothing has changed", "x.yaml:1: bad",
                        "lb-02: no key",
                    ])
            ])
    }

    @Test("What nobody has changed is not reloaded; only one has changed: only that one is")
    func unchanged() {
        #expect(Self.planned(nil, .unchanged, .unchanged).1 == [.finish(.unchanged, lines: [])])
        var (reload, next) = Self.planned(nil, .unchanged, .done)
        #expect(next == [.reload(.there, onTrial: true)])
        #expect(reload.answered(.there, .done, lines: []) == [.confirm(.there)])
        (reload, next) = Self.planned(nil, .done, .unchanged)
        #expect(next == [.reload(.here, onTrial: false)])
        #expect(reload.answered(.here, .done, lines: []) == [.finish(.done, lines: [])])
    }

    @Test("The standby refuses after all: the active node is never asked")
    func standbyRefuses() {
        let (reload, _) = Self.planned(nil, .done, .done)

        let next = reload.answered(.there, .refused, lines: ["late"])

        #expect(
            next == [
                .finish(.refused, lines: ["refused by lb-02; nothing has changed", "lb-02: late"])
            ])
        #expect(reload.answered(.here, .done, lines: []).isEmpty)
    }

    @Test("The active node refuses after all: the standby goes back by itself")
    func activeRefuses() {
        let (reload, _) = Self.planned(nil, .done, .done)
        _ = reload.answered(.there, .done, lines: [])

        let next = reload.answered(.here, .refused, lines: [])

        #expect(
            next == [.finish(.refused, lines: ["refused by this node; lb-02 goes back by itself"])])
    }

    @Test("The link fails at any step: it ends, and nobody is confirmed who should not be")
    func lost() {
        for standby in [PairReload.Side.here, .there] {
            let reload = Asked(PairReload(standby: standby, peerName: "lb-02"))
            var next = reload.begin()
            var steps = 0
            while true {
                let broken = reload.copy()
                let end = broken.failed("the other node is silent")
                #expect(end.count == 1)
                if case .finish(.failed, _)? = end.first {} else { Issue.record("\(end)") }
                #expect(broken.failed("again").isEmpty)
                #expect(broken.answered(.here, .done, lines: []).isEmpty)
                guard let action = next.first else { break }
                var more: [Action] = []
                switch action {
                case .plan:
                    _ = reload.answered(.here, .done, lines: [])
                    more = reload.answered(.there, .done, lines: [])
                case .reload(let side, _), .confirm(let side):
                    more = reload.answered(side, .done, lines: [])
                case .finish: break
                }
                if case .finish? = more.first { break }
                next = more
                steps += 1
                #expect(steps < 9)
            }
            #expect(steps >= 3)
        }
    }
}
