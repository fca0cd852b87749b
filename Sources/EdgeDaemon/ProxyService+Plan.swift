internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem

/// What a reload would do, of what has been prepared for it.
extension ProxyService {
    /// Nil: the files of either could not be compared, although they have been read.
    func makePlan(from old: Preparation, to new: Preparation) -> ReloadPlanReply? {
        do throws(ConfigError) {
            let plan = try ReloadPlan(from: old, to: new) { [self] kind, name in
                liveConnections(kind, name, in: old)
            }
            return plan.reply(
                epoch: Int64(snapshot?.epoch ?? 0),
                drainSeconds: old.configuration.process.drainDeadline.components.seconds)
        } catch {
            for line in error.diagnostics { Log.error("plan: \(line)") }
            return nil
        }
    }

    /// What is open of a listener or a view, or under way with an upstream or for a site.
    private func liveConnections(
        _ kind: PlannedKind, _ name: String, in preparation: Preparation
    ) -> Int64? {
        switch kind {
        case .listener:
            let listeners = preparation.configuration.listeners
            guard let index = listeners.firstIndex(where: { $0.name == name }) else { return nil }
            return Int64(connections(listener: snapshot?.listenerNumbers[index] ?? index))
        case .view:
            return viewConnections().first { $0.view == name }.map { Int64($0.connections) }
        case .upstream: return Int64(requestsActive(upstream: name))
        case .site:
            guard operation.requestCounts.count == hello?.workers else { return nil }
            let rows = builder.traffic.rows(ofHost: name)
            return operation.requestCounts.values.reduce(0) { sum, counts in
                rows.reduce(sum) { $0 + Int64(counts[$1] ?? 0) }
            }
        case .resolver, .certificate, .file, .setting: return nil
        }
    }

    /// What the guardian has said of a plan.
    ///
    /// - Parameter lines: what is wrong.
    func planAnswer(
        _ outcome: EdgeSystem.ReloadOutcome, _ lines: [String]
    ) -> Result<ReloadPlanReply, OrderRefusal> {
        let epoch = Int64(snapshot?.epoch ?? 0)
        switch outcome {
        case .planned:
            if let lastPlan { return .success(lastPlan) }
        case .unchanged: return .success(ReloadPlanReply(outcome: .unchanged, epoch: epoch))
        case .refused, .needsRestart:
            return .success(
                ReloadPlanReply(outcome: .refused, diagnostics: lines, epoch: epoch))
        case .committed, .failed, .confirmed, .upgraded, .done: break
        }
        return .failure(
            OrderRefusal(
                lines.isEmpty ? "no plan was made" : lines.joined(separator: "\n"),
                isUnavailable: true))
    }
}
