internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// What the admin socket orders of the node as a whole.
extension ProxyService {
    /// The guardian reads the files and has them prepared, as for a reload; nothing is committed.
    func plan(completion: @escaping (Result<ReloadPlanReply, OrderRefusal>) -> Void) {
        plansWanted += 1
        lastPlan = nil
        lastPlanFacts = PairPlan.Facts()
        lastRefusal = []
        countRequests { [self] in
            ask({ .reloadPlease(requestID: $0, mode: .plan) }) { [self] outcome, said in
                plansWanted -= 1
                let lines = said + lastRefusal.filter { !said.contains($0) }
                completion(planAnswer(outcome, lines))
            }
        }
    }

    /// Has the workers count what they have under way.
    ///
    /// - Parameter body: called when all of them have, or one takes too long.
    private func countRequests(then body: @escaping () -> Void) {
        operation.requestCounts = [:]
        operation.awaitingCounts.append(body)
        workers?.post(.countRequests)
        loop.schedule(after: .milliseconds(200)) { [weak self] in self?.endCounting() }
    }

    func counted(_ worker: Int, _ counts: [Int32: Int]) {
        operation.requestCounts[worker] = counts
        if operation.requestCounts.count == hello?.workers { endCounting() }
    }

    private func endCounting() {
        let waiting = operation.awaitingCounts
        operation.awaitingCounts = []
        for body in waiting { body() }
    }

    /// What is prepared, beside what is in use.
    func notePlan(_ prepared: Preparation) {
        guard plansWanted > 0, let current else { return }
        lastPlan = makePlan(from: current, to: prepared)
        lastPlanFacts = PairPlan.Facts(from: current, to: prepared)
    }

    func confirm(
        by peer: PeerCredentials,
        completion: @escaping (Result<ConfirmReply, OrderRefusal>) -> Void
    ) {
        ask({ .confirmPlease(requestID: $0) }) { [self] outcome, said in
            guard outcome == .confirmed else {
                return completion(.failure(OrderRefusal(said.first ?? "no answer")))
            }
            confirmUntil = nil
            completion(.success(ConfirmReply(epoch: Int64(snapshot?.epoch ?? 0))))
        }
    }

    func upgrade(
        by peer: PeerCredentials,
        completion: @escaping (Result<UpgradeReply, OrderRefusal>) -> Void
    ) {
        let begun = Instant.now()
        ask({ .upgradePlease(requestID: $0) }) { outcome, said in
            completion(
                .success(
                    UpgradeReply(
                        outcome: outcome == .upgraded ? .upgraded : .abandoned, diagnostics: said,
                        version: EdgedVersion.text,
                        milliseconds: Int64(Instant.now().nanoseconds(since: begun) / 1_000_000))))
        }
    }

    // MARK: - The guardian's answers

    /// Asks the guardian; `completion` is called once, with how it ended and what was said.
    func ask(
        _ report: (UInt64) -> ProxyReport,
        completion: @escaping (EdgeSystem.ReloadOutcome, [String]) -> Void
    ) {
        let number = nextRequest
        nextRequest += 1
        requests[number] = completion
        guard let channel, channel.send(report(number)) else {
            answered(number, .failed, OwnedDescriptors())
            return
        }
    }

    func answered(
        _ number: UInt64, _ outcome: EdgeSystem.ReloadOutcome, _ descriptors: OwnedDescriptors
    ) {
        guard let completion = requests.removeValue(forKey: number) else { return }
        var lines: [String] = []
        if let descriptor = descriptors.borrowed.first,
            let bytes = try? Descriptor.readAll(descriptor, byteCountMax: 1 << 20)
        {
            lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        }
        completion(outcome, lines)
    }

    /// Another proxy serves by now: it answers administrators, and keeps what is kept.
    func yieldToSuccessor() {
        stopKeepers()
        server?.stopListening()
        // Who asked for the upgrade is still to be told.
        loop.schedule(after: .milliseconds(250)) { [weak self] in self?.closeServer() }
    }

    func setNode(
        _ order: NodeOrder, completion: @escaping (Result<NodeReply, OrderRefusal>) -> Void
    ) {
        guard phase == .serving else {
            return completion(
                .failure(OrderRefusal("the node does not serve", isUnavailable: true)))
        }
        switch order {
        case .drain: operation.drainedSince = operation.drainedSince ?? Int64(time(nil))
        case .undrain: operation.drainedSince = nil
        }
        dismissClients(order == .drain)
        let answer = { [self] (addresses: String?) in
            completion(
                .success(
                    NodeReply(
                        order: order, drainedSince: operation.drainedSince,
                        connections: openConnections, addresses: addresses)))
        }
        // Nobody to ask, or nothing to ask for.
        guard operation.news != nil else { return answer(nil) }
        let hasAddresses = operation.news?.vip != nil
        ask({ .nodePlease(requestID: $0, drains: order == .drain) }) { outcome, said in
            answer(hasAddresses && order == .drain ? said.first ?? "\(outcome)" : nil)
        }
    }

    /// Clients are told to go, or are welcome, by an administrator here or by the guardian.
    func dismissClients(_ dismisses: Bool) {
        operation.isDismissing = dismisses
        workers?.post(.dismissClients(dismisses))
        observeNode()
    }

    /// Clients' connections that are open.
    private var openConnections: Int64 {
        guard let board else { return 0 }
        return (1...board.workers).reduce(0) {
            $0 + Int64(truncatingIfNeeded: board.block($1).value(Counter.connectionsOpen))
        }
    }

    // MARK: - Figures

    func figures() -> FiguresReply {
        let bounds = (0..<Timing.bucketCount).compactMap { Timing.bound(of: $0) }
        var reply = FiguresReply(
            nowMilliseconds: Int64(WallClock.now() / 1_000_000), started: startedTime,
            connections: openConnections, bounds: bounds.map { Int64($0 / 1000) },
            node: FigureRow(name: "", requests: 0))
        guard let board else { return reply }
        let blocks = board.workerBlocks
        func total(_ counter: Counter) -> Int64 {
            Int64(truncatingIfNeeded: blocks.reduce(0) { $0 &+ $1.value(counter) })
        }
        reply.node.requests = total(.requests)
        reply.node.active = total(.requestsActive)
        reply.node.results = [
            NamedCount("2xx", total(.responses2xx)), NamedCount("3xx", total(.responses3xx)),
            NamedCount("4xx", total(.responses4xx)), NamedCount("5xx", total(.responses5xx)),
        ]
        reply.node.durations = (0..<Timing.bucketCount).map { bucket in
            blocks.reduce(0) {
                $0 &+ Int64(truncatingIfNeeded: $1.value(.requestDuration, bucket: bucket))
            }
        }
        reply.workers = (1...board.workers).map { worker($0, board.block($0)) }
        reply.sites = siteFigures()
        reply.upstreams = upstreamFigures()
        return reply
    }
}
