internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgePair
internal import EdgeSystem
internal import EdgeUpstream

/// What the other node is told of this one, and what it may order.
extension ProxyService {
    /// Nil: no configuration is in use.
    var pairFingerprints: PairFingerprints? {
        guard let current else { return nil }
        var sum: UInt64 = 0
        var labels: [PairFingerprints.Label] = []
        let entries = current.certificateEntries
        for entry in entries {
            let fingerprint = entry.fingerprint
            // In any order, and the same one twice is not none.
            sum &+= fingerprint &* 0x9E37_79B9_7F4A_7C15
            labels.append(
                PairFingerprints.Label(
                    name: entry.names.first ?? entry.name, fingerprint: fingerprint))
        }
        labels.sort { ($0.name, $0.fingerprint) < ($1.name, $1.fingerprint) }
        return PairFingerprints(
            configuration: current.fingerprint, epoch: snapshot?.epoch ?? 0, certificates: sum,
            certificateCount: UInt32(clamping: entries.count),
            labels: Array(labels.prefix(PairMessage.labelsMax)))
    }

    /// Members that checks or traffic find down here, and that no administrator has taken out.
    var troubledMembers: Set<PairMember> {
        var result: Set<PairMember> = []
        for upstream in current?.configuration.upstreams ?? [] {
            for member in health?.members(of: upstream.name) ?? [] {
                switch member.state {
                case .down, .ejected:
                    result.insert(PairMember(upstream: upstream.name, address: member.address))
                case .unknown, .up, .standby, .draining, .maintenance, .stale, .unresolved: break
                }
            }
        }
        return result
    }

    // MARK: - Orders

    /// Does what the other node's administrator wants here, one thing at a time; `completion` is
    /// called once.
    func carryOut(_ order: PairOrder, completion: @escaping (PairOrderResult) -> Void) {
        let words =
            switch order.kind {
            case .plan: "check of the configuration"
            case .reload: "reload on trial"
            case .confirm: "confirm"
            }
        let name = pair?.peerName ?? ""
        let peer = PeerCredentials(node: name.isEmpty ? "the other node" : name)
        Log.notice("audit: \(words) by \(peer)")
        let end = { (outcome: PairOrderResult.Outcome, lines: [String]) in
            Log.notice("audit: \(words) by \(peer): \(outcome)")
            completion(PairOrderResult(number: order.number, outcome: outcome, lines: lines))
        }
        // Two runs at once would each have the other's half.
        guard pairReload == nil else { return end(.failed, ["it is reloading both nodes itself"]) }
        if let refusal = pairDesk.begin(order) { return end(.failed, [refusal]) }
        perform(order, by: peer) { [weak self] outcome, lines in
            self?.pairDesk.ended(order)
            end(outcome, lines)
        }
    }

    private func perform(
        _ order: PairOrder, by peer: PeerCredentials,
        completion: @escaping (PairOrderResult.Outcome, [String]) -> Void
    ) {
        guard phase == .serving else { return completion(.failed, ["it does not serve"]) }
        switch order.kind {
        case .plan: planForPair(completion)
        case .reload(let milliseconds):
            reloadForPair(order.number, by: peer, trialMilliseconds: milliseconds, completion)
        case .confirm(let reload): confirmForPair(reload, by: peer, completion)
        }
    }

    func planForPair(_ completion: @escaping (PairOrderResult.Outcome, [String]) -> Void) {
        plan { [self] result in
            // Only now: a reload before this plan may have had its end meanwhile.
            let answer = PairPlan(
                result: result, facts: lastPlanFacts, isOnTrial: confirmUntil != nil
            ).answer
            completion(answer.outcome, answer.lines)
        }
    }

    /// - Parameters:
    ///   - number: by which it is confirmed.
    ///   - trialMilliseconds: it goes back after that unless it is.
    func reloadForPair(
        _ number: UInt64, by peer: PeerCredentials, trialMilliseconds: UInt32,
        _ completion: @escaping (PairOrderResult.Outcome, [String]) -> Void
    ) {
        let span = Duration.milliseconds(Int64(trialMilliseconds))
        reload(by: peer, options: ReloadOptions(confirmWithin: span)) { [weak self] reply in
            switch reply.outcome {
            case .reloaded:
                self?.pairDesk.reloaded(number)
                completion(.done, reply.diagnostics)
            case .unchanged: completion(.unchanged, reply.diagnostics)
            case .refused: completion(.refused, reply.diagnostics)
            }
        }
    }

    /// Confirms that reload and no other.
    func confirmForPair(
        _ reload: UInt64, by peer: PeerCredentials,
        _ completion: @escaping (PairOrderResult.Outcome, [String]) -> Void
    ) {
        if let refusal = pairDesk.refusal(confirming: reload) {
            return completion(.failed, [refusal])
        }
        // Somebody here may have said so already.
        guard confirmUntil != nil else { return completion(.done, []) }
        confirm(by: peer) { result in
            switch result {
            case .success: completion(.done, [])
            case .failure(let refusal): completion(.failed, [refusal.reason])
            }
        }
    }

    // MARK: - Reload of both

    func reloadPair(
        by peer: PeerCredentials,
        completion: @escaping (Result<ReloadReply, OrderRefusal>) -> Void
    ) {
        guard let pair else {
            return completion(
                .failure(OrderRefusal("there is no other node (`pair` in the configuration)")))
        }
        guard let link = pair.link, link.isOpen else {
            let why = pair.status.why
            return completion(
                .failure(
                    OrderRefusal(
                        "no link to \(pair.peerName)\(why.isEmpty ? "" : ": \(why)"); "
                            + "without --pair this node alone is reloaded",
                        isUnavailable: true)))
        }
        guard pairReload == nil else {
            return completion(
                .failure(OrderRefusal("both nodes are being reloaded", isUnavailable: true)))
        }
        let run = PairReloadRun(
            self, by: peer, standby: vip()?.standby, peerName: pair.peerName
        ) { [weak self] result in
            self?.pairReload = nil
            completion(result)
        }
        pairReload = run
        run.begin()
    }

    func pairAnswered(_ result: PairOrderResult) { pairReload?.answered(result) }

    func pairLost(_ reason: String) { pairReload?.failed(reason) }
}

extension VIPReply {
    /// Who goes first when both nodes reload: who has none of the addresses that move; nil: there
    /// are none.
    var standby: PairReload.Side? {
        guard !instances.isEmpty else { return nil }
        return instances.contains { $0.state == .master } ? .there : .here
    }
}
