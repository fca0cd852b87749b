internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgeHTTP1
internal import EdgeProxy
internal import EdgeSystem
internal import EdgeUpstream
internal import Glibc

/// What the admin socket shows and does.
extension ProxyService: ControlTarget {
    func status() -> StatusReply {
        var reply = StatusReply(
            version: EdgedVersion.text, state: nodeState, since: phaseSince, why: phase.rawValue,
            now: Int64(time(nil)), pid: Int64(getpid()), started: startedTime,
            epoch: Int64(snapshot?.epoch ?? 0), configPath: current?.path ?? "",
            configFingerprint: current.map { hex($0.fingerprint) } ?? "")
        reply.confirmUntil = confirmUntil.flatMap { $0 >= reply.now ? $0 : nil }
        guard let board, let current else { return reply }
        reply.drainedSince = operation.drainedSince
        reply.overloadedSince = overloadedSince(board, now: reply.now)
        reply.pair = pair?.status
        reply.vip = vip()
        reply.workers = (1...board.workers).map { worker($0, board.block($0)) }
        reply.listeners = current.configuration.listeners.enumerated().map { index, listener in
            ListenerStatus(
                name: listener.name,
                address: listener.addresses.map(\.description).joined(separator: ", "),
                protocol: listener.kind.rawValue,
                connections: Int64(connections(listener: snapshot?.listenerNumbers[index] ?? index))
            )
        }
        reply.upstreams = current.configuration.upstreams.map(upstreamStatus)
        reply.resolvers = resolverStatus
        reply.names = (resolver?.report ?? []).map { name in
            NameStatus(
                name: name.name, state: name.state.rawValue,
                addresses: name.addresses.map(\.addressText),
                age: name.age.map { Int64($0.components.seconds) }, lastError: name.lastError,
                resolver: name.resolver)
        }
        reply.certificates = certificateStatus(current.certificateEntries)
        reply.certificateCount = Int64(current.certificateEntries.count)
        reply.clock = certificateKeeper.clockText
        reply.quarantinedCount = Int64(certificateKeeper.quarantined.count)
        let blocks = board.allBlocks
        reply.counters = Counter.allCases.map { counter in
            NamedCount(
                counter.label,
                Int64(truncatingIfNeeded: blocks.reduce(0) { $0 &+ $1.value(counter) }))
        }
        reply.reasons = reasons(blocks)
        reply.log = board.lastLogLines(20)
        return reply
    }

    /// The worker that has been for the longest time says; in Unix seconds.
    private func overloadedSince(_ board: SharedBoard, now: Int64) -> Int64? {
        let since = board.workerBlocks.map(\.overloadedSince).filter { $0 > 0 }.min()
        return since.map {
            let passed = Instant.now().nanoseconds(since: Instant(nanoseconds: $0))
            return now - Int64(passed / 1_000_000_000)
        }
    }

    private func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private var nodeState: NodeState {
        switch phase {
        case .awaitingStart, .starting, .prepared: .starting
        case .serving: .serving
        case .draining: .draining
        }
    }

    func worker(_ index: Int, _ block: SharedBoard.Block) -> WorkerStatus {
        let heartbeat = block.heartbeat
        return WorkerStatus(
            index: Int64(index), epoch: Int64(block.epoch),
            connections: Int64(truncatingIfNeeded: block.value(.connectionsOpen)),
            requests: Int64(truncatingIfNeeded: block.value(.requests)),
            idleMilliseconds: Int64(
                Instant.now().nanoseconds(since: heartbeat.at) / 1_000_000),
            busy: heartbeat.busy)
    }

    private func reasons(_ blocks: [SharedBoard.Block]) -> [NamedCount] {
        var result: [NamedCount] = []
        for reason in ReasonCode.allCases where reason != .none {
            let count = blocks.reduce(0) { $0 &+ $1.value(reason) }
            if count > 0 {
                result.append(NamedCount(reason.label, Int64(truncatingIfNeeded: count)))
            }
        }
        for violation in HTTP1Violation.allCases {
            let count = blocks.reduce(0) { $0 &+ $1.violations(violation.rawValue) }
            if count > 0 {
                result.append(NamedCount(violation.label, Int64(truncatingIfNeeded: count)))
            }
        }
        return result
    }

    func metrics(into text: inout String) {
        guard let board else { return }
        countCertificates()
        var metrics = MetricsText()
        metrics.board(
            board,
            info: .init(
                version: EdgedVersion.text, started: UInt64(startedTime),
                epoch: snapshot?.epoch ?? 0,
                violationLabel: { HTTP1Violation(rawValue: $0)?.label }))
        metrics.upstreams(status())
        if let vip = vip() { metrics.failover(vip) }
        limitMetrics(into: &metrics)
        certificateMetrics(into: &metrics)
        if let pair { metrics.pair(pair.status, drifts: pair.driftKinds) }
        text += metrics.text
    }

    func dnsRecords(view: String?) -> Result<DNSRecordsReply, DNSRecordsRefusal> {
        current.map { $0.configuration.dnsRecords(view: view) }
            ?? .failure(.unknown("no configuration is in use yet"))
    }

    func effectiveConfiguration() -> ConfigurationReply? {
        guard let current else { return nil }
        do throws(ConfigError) {
            return ConfigurationReply(
                path: current.path, text: try EffectiveText.render(current.bundle))
        } catch {
            // It has been read before.
            return nil
        }
    }

    func explain(_ question: ExplainQuestion) -> Result<ExplainReply, ExplainRefusal> {
        guard let current, let snapshot else {
            return .failure(.notServing("no configuration is in use yet"))
        }
        let explainer = Explainer(
            preparation: current, snapshot: snapshot, now: Int64(time(nil)),
            members: { [self] in members(of: $0) })
        do throws(ExplainRefusal) {
            return .success(try explainer.explain(question))
        } catch {
            return .failure(error)
        }
    }

    // MARK: - Reload over the socket

    /// The guardian reads the files, so it is asked; the answer comes with `reloadResult`.
    func reload(
        by peer: PeerCredentials, options: ReloadOptions,
        completion: @escaping (ReloadReply) -> Void
    ) {
        let begun = Instant.now()
        lastRefusal = []
        let span = options.confirmWithin.map {
            min(max(Int($0.nanoseconds / 1_000_000), 1), ReloadMode.confirmMax)
        }
        ask({
            .reloadPlease(requestID: $0, mode: span.map { .confirm(milliseconds: $0) } ?? .apply)
        }) {
            [self] outcome, said in
            var lines = said
            let answer: EdgeControlAPI.ReloadOutcome
            switch outcome {
            case .committed: answer = .reloaded
            case .unchanged: answer = .unchanged
            case .refused, .needsRestart, .failed, .planned, .confirmed, .upgraded, .done:
                answer = .refused
            }
            if answer == .refused { lines += lastRefusal.filter { !lines.contains($0) } }
            if answer != .refused { lines += reloadWarnings }
            if outcome == .failed, lines.isEmpty {
                lines = ["the proxy did not take the configuration in time; nothing has changed"]
            }
            if answer == .refused { note(.reloadRefused, lines.first ?? "") }
            if answer == .reloaded {
                confirmUntil = span.map { Int64(time(nil)) + Int64($0 / 1000) }
            }
            completion(
                ReloadReply(
                    outcome: answer, diagnostics: lines, epoch: Int64(snapshot?.epoch ?? 0),
                    milliseconds: Int64(Instant.now().nanoseconds(since: begun) / 1_000_000),
                    confirmUntil: answer == .reloaded ? confirmUntil : nil))
        }
    }
}
