internal import Testing

@testable internal import EdgePair

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

    @Test("Both can: the standby first; then the other one; then both are confirmed, this one last")
    func standbyThere() {
        for standby in [PairReload.Side.there, nil] {
            var (reload, next) = Self.planned(standby, .done, .done)
            #expect(next == [.reload(.there)])
            next = reload.answered(.there, .done, lines: [])
            #expect(next == [.reload(.here)])
            next = reload.answered(.here, .done, lines: ["warning: w"])
            #expect(next == [.confirm(.there)])
            next = reload.answered(.there, .done, lines: [])
            #expect(next == [.confirm(.here)])
            next = reload.answered(.here, .done, lines: [])
            #expect(next == [.finish(.done, lines: ["warning: w"])])
        }
    }

    @Test("The standby is this node: it goes first, and is confirmed last all the same")
    func standbyHere() {
        var (reload, next) = Self.planned(.here, .done, .done)
        #expect(next == [.reload(.here)])
        next = reload.answered(.here, .done, lines: [])
        #expect(next == [.reload(.there)])
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
        #expect(next == [.reload(.there)])
        #expect(reload.answered(.there, .done, lines: []) == [.confirm(.there)])
        (reload, next) = Self.planned(nil, .done, .unchanged)
        #expect(next == [.reload(.here)])
        #expect(reload.answered(.here, .done, lines: []) == [.confirm(.here)])
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

    /// What nodes do with what they are told: on trial until confirmed, then back.
    private struct Nodes {
        var kept: Set<PairReload.Side> = []
        var onTrial: Set<PairReload.Side> = []

        mutating func does(_ action: Action) {
            switch action {
            case .reload(let side): onTrial.insert(side)
            case .confirm(let side): if onTrial.remove(side) != nil { kept.insert(side) }
            case .plan, .finish: break
            }
        }
    }

    private static func text(_ actions: [Action]) -> String? {
        guard actions.count == 1, case .finish(.failed, let lines)? = actions.first else {
            return nil
        }
        return lines.first
    }

    @Test("It fails at any step: until the other node is to confirm nobody keeps it; the text says")
    func lost() {
        let begun = "silence; whoever has begun goes back by itself"
        let there =
            "silence; lb-02 may keep it or go back, this node goes back by itself: "
            + "see edgectl check --peer"
        let here =
            "silence; this node may keep it or go back; lb-02 keeps it: see edgectl check --peer"
        for standby in [PairReload.Side.here, .there] {
            let reload = Asked(PairReload(standby: standby, peerName: "lb-02"))
            var nodes = Nodes()
            var texts: [String?] = []
            var kept: [Set<PairReload.Side>] = []
            var next = reload.begin()
            while texts.count < 9 {
                for action in next { nodes.does(action) }
                if case .finish? = next.first { break }
                let broken = reload.copy()
                texts.append(Self.text(broken.failed("silence")))
                kept.append(nodes.kept)
                #expect(broken.failed("again").isEmpty)
                #expect(broken.answered(.here, .done, lines: []).isEmpty)
                #expect(broken.answered(.there, .done, lines: []).isEmpty)
                switch next.first {
                case .plan?:
                    _ = reload.answered(.here, .done, lines: [])
                    next = reload.answered(.there, .done, lines: [])
                case .reload(let side)?, .confirm(let side)?:
                    next = reload.answered(side, .done, lines: [])
                case .finish?, nil: break
                }
            }
            #expect(texts == ["silence; nothing has changed", begun, begun, there, here])
            // What was sent has arrived, and nobody heard of it.
            #expect(kept == [[], [], [], [.there], [.here, .there]])
            #expect(nodes.onTrial.isEmpty)
        }
    }

    @Test("A confirmation that is refused: it is said who goes back, and who keeps it")
    func notConfirmed() {
        func confirming() -> Asked {
            let (reload, _) = Self.planned(.there, .done, .done)
            _ = reload.answered(.there, .done, lines: [])
            _ = reload.answered(.here, .done, lines: [])
            return reload
        }
        var reload = confirming()
        #expect(
            Self.text(reload.answered(.there, .failed, lines: []))
                == "not confirmed; both go back by themselves")
        reload = confirming()
        _ = reload.answered(.there, .done, lines: [])
        #expect(
            Self.text(reload.answered(.here, .failed, lines: []))
                == "not confirmed; this node goes back by itself; lb-02 keeps it")
    }
}

@Suite("Pair: orders of the other node") struct PairOrderDeskTests {
    private static func order(_ number: UInt64, _ kind: PairOrder.Kind) -> PairOrder {
        PairOrder(number: number, kind: kind)
    }

    @Test("One order at a time")
    func one() {
        var desk = PairOrderDesk()
        let (first, second) = (Self.order(1, .plan), Self.order(2, .reload(confirmWithin: 1)))
        var refusal = desk.begin(first)
        #expect(refusal == nil)
        refusal = desk.begin(second)
        #expect(refusal == "the order before is still being carried out")
        desk.ended(second)
        refusal = desk.begin(second)
        #expect(refusal != nil, "what did not begin does not end anything")
        desk.ended(first)
        refusal = desk.begin(second)
        #expect(refusal == nil)
    }

    @Test("Only the reload that was ordered is confirmed, and only while it is in use")
    func confirm() {
        var desk = PairOrderDesk()
        func answer(_ reload: UInt64) -> String? {
            let confirm = Self.order(9, .confirm(reload: reload))
            let refusal = desk.begin(confirm)
            desk.ended(confirm)
            return refusal
        }
        // An administrator's own is on trial, or nothing is.
        #expect(answer(7) != nil)
        desk.reloaded(7)
        #expect(answer(6) != nil)
        #expect(answer(7) == nil)
        desk.configurationChanged()
        #expect(answer(7) == "that reload is not in use any more")
    }
}
