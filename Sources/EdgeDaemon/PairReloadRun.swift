internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgePair
internal import EdgeSystem

/// A reload of both nodes under way: carries out what `PairReload` wants, here over the guardian
/// and there over the link, each step within `stepMax`.
final class PairReloadRun {
    private unowned let service: ProxyService
    private let peer: PeerCredentials
    private var machine: PairReload
    private let completion: (Result<ReloadReply, OrderRefusal>) -> Void
    private let begun = Instant.now()
    private var timer: TimerID?
    /// What was asked of the other node last.
    private var number: UInt64 = 0
    /// By which each node knows what it has on trial.
    private var reloadNumbers: [PairReload.Side: UInt64] = [:]
    private var isDone = false

    /// Shorter than the trial, so that who is on trial is confirmed in time or not at all.
    private static let stepMax = Duration.seconds(20)

    /// - Parameters:
    ///   - peer: who wants it, here.
    ///   - completion: called once, not within `init`.
    init(
        _ service: ProxyService, by peer: PeerCredentials, standby: PairReload.Side?,
        peerName: String, completion: @escaping (Result<ReloadReply, OrderRefusal>) -> Void
    ) {
        self.service = service
        self.peer = peer
        self.completion = completion
        machine = PairReload(standby: standby, peerName: peerName)
    }

    deinit { if let timer { service.loop.cancel(timer) } }

    func begin() { perform(machine.begin()) }

    /// The other node has done, or not done, what it was told.
    func answered(_ result: PairOrderResult) {
        guard result.number == number else { return }
        perform(machine.answered(.there, result.outcome, lines: result.lines))
    }

    func failed(_ reason: String) { perform(machine.failed(reason)) }

    private func perform(_ actions: [PairReload.Action]) {
        guard !isDone else { return }
        if !actions.isEmpty { restartTimer() }
        for action in actions {
            switch action {
            case .plan(.here): service.planForPair(hereAnswered)
            case .plan(.there): order(.plan)
            case .reload(.here):
                let number = UInt64.random(in: 1 ... .max)
                reloadNumbers[.here] = number
                service.reloadForPair(
                    number, by: peer, trialMilliseconds: PairReload.trialMilliseconds,
                    hereAnswered)
            case .reload(.there):
                order(.reload(confirmWithin: PairReload.trialMilliseconds))
                reloadNumbers[.there] = number
            case .confirm(.here):
                service.confirmForPair(reloadNumbers[.here] ?? 0, by: peer, hereAnswered)
            case .confirm(.there): order(.confirm(reload: reloadNumbers[.there] ?? 0))
            case .finish(let outcome, let lines): finish(outcome, lines)
            }
        }
    }

    private var hereAnswered: (PairOrderResult.Outcome, [String]) -> Void {
        { [weak self] outcome, lines in
            guard let self else { return }
            perform(machine.answered(.here, outcome, lines: lines))
        }
    }

    private func order(_ kind: PairOrder.Kind) {
        number = UInt64.random(in: 1 ... .max)
        // Without a link its loss is told, or has been.
        service.pair?.link?.send(.order(PairOrder(number: number, kind: kind)))
    }

    private func restartTimer() {
        if let timer { service.loop.cancel(timer) }
        timer = service.loop.schedule(after: Self.stepMax) { [weak self] in
            guard let self else { return }
            timer = nil
            failed("no answer within \(Self.stepMax.components.seconds) s")
        }
    }

    private func finish(_ outcome: PairReload.Outcome, _ lines: [String]) {
        isDone = true
        if let timer { service.loop.cancel(timer) }
        timer = nil
        let answer: EdgeControlAPI.ReloadOutcome
        switch outcome {
        case .done: answer = .reloaded
        case .unchanged: answer = .unchanged
        case .refused: answer = .refused
        case .failed:
            return completion(
                .failure(
                    OrderRefusal(lines.joined(separator: "\n"), isUnavailable: true)))
        }
        completion(
            .success(
                ReloadReply(
                    outcome: answer, diagnostics: lines,
                    epoch: Int64(service.snapshot?.epoch ?? 0),
                    milliseconds: Int64(Instant.now().nanoseconds(since: begun) / 1_000_000))))
    }
}
