package import EdgeCore
package import EdgeSystem

/// The two phases of a reload as the guardian sees them. Pure. One runs at a time, the others wait
/// in the order they came in; what is asked for alike, one after the other, is one reload.
///
///     idle → preparing → committing → idle
///              └ plan: idle        └ awaiting a confirmation: confirmed, or back as it was
package struct ReloadMachine {
    package enum State: Equatable, Sendable {
        case idle
        /// The proxy reads and prepares; nothing has changed yet.
        case preparing(id: UInt64, until: Instant)
        /// The proxy switches over.
        case committing(id: UInt64, until: Instant)
    }

    package enum Action: Equatable, Sendable {
        /// Read the file and check our part, then call `offered` or `rejected`.
        case read
        /// Offer what was in use before, then call `offered` or `rejected`.
        case readPrevious
        /// Let the new sockets listen and send the commit, or call `notListening`.
        case commit(id: UInt64)
        case sendAbort(id: UInt64)
        /// The new configuration is in use: keep it for the next proxy.
        case adopt
        /// Adopt it, and keep what was in use until it is confirmed.
        case adoptOnTrial
        /// The one before is needed no more.
        case forgetPrevious
        /// No proxy runs: the next one gets what was in use before.
        case adoptPrevious
        /// The new configuration is dropped.
        case discard
        /// The end of one reload, told to everybody who asked for it.
        case finished(ReloadOutcome, requests: [UInt64], reason: String)
        /// The proxy said it would commit and did not: its state is unknown.
        case replaceProxy
        case refuse(String)
    }

    package static let timeout = Duration.seconds(30)
    /// Requests that wait for an answer; one more is told that it has failed.
    package static let requestsMax = 64

    /// What somebody wants, and who.
    private struct Job {
        var mode: ReloadMode
        /// Back to what was in use before.
        var isReturn = false
        var requests: [UInt64]
    }

    package private(set) var state = State.idle
    /// When the last reload is taken back unless it is confirmed; nil: none waits for that.
    package private(set) var confirmationDue: Instant?
    private var lastID: UInt64 = 0
    private var running: Job?
    private var waiting: [Job] = []

    package init() {}

    package var isActive: Bool { running != nil }
    private var waitingCount: Int { waiting.reduce(0) { $0 + $1.requests.count } }

    /// - Parameter request: the proxy's number for it; nil: SIGHUP.
    package mutating func requested(
        _ request: UInt64?, _ mode: ReloadMode = .apply, now: Instant
    ) -> [Action] {
        let requests = request.map { [$0] } ?? []
        guard waitingCount < Self.requestsMax else {
            return [.finished(.failed, requests: requests, reason: "too many reloads wait")]
        }
        guard isActive else {
            return begin(Job(mode: mode, requests: requests))
        }
        if let last = waiting.last, last.mode == mode, !last.isReturn {
            waiting[waiting.count - 1].requests += requests
        } else {
            waiting.append(Job(mode: mode, requests: requests))
        }
        return []
    }

    private mutating func begin(_ job: Job) -> [Action] {
        running = job
        guard !job.isReturn else { return [.readPrevious] }
        if confirmationDue != nil, job.mode != .plan {
            return end(
                .refused,
                "the reload before waits for its confirmation: edgectl confirm, or wait until it "
                    + "is taken back")
        }
        return [.read]
    }

    /// Our part is valid: the proxy is offered the configuration under the id returned.
    package mutating func offered(now: Instant) -> UInt64 {
        lastID += 1
        state = .preparing(id: lastID, until: now.advanced(by: Self.timeout))
        return lastID
    }

    /// Our part is not valid, cannot be applied, or is what we have.
    package mutating func rejected(_ outcome: ReloadOutcome, reason: String) -> [Action] {
        end(outcome, reason)
    }

    package mutating func prepared(id: UInt64, now: Instant) -> [Action] {
        guard case .preparing(id, _) = state else { return [.refuse("prepared no such reload")] }
        if running?.mode == .plan {
            return [.sendAbort(id: id), .discard] + end(.planned, "")
        }
        state = .committing(id: id, until: now.advanced(by: Self.timeout))
        return [.commit(id: id)]
    }

    /// A new socket cannot listen: nothing was told to commit.
    package mutating func notListening(id: UInt64, reason: String) -> [Action] {
        [.sendAbort(id: id), .discard] + end(.refused, reason)
    }

    package mutating func refused(id: UInt64, reason: UInt32) -> [Action] {
        guard case .preparing(id, _) = state else { return [.refuse("refused no such reload")] }
        return [.discard] + end(.refused, "the proxy refused it, reason \(reason)")
    }

    package mutating func committed(id: UInt64, now: Instant) -> [Action] {
        guard case .committing(id, _) = state, let job = running else {
            return [.refuse("committed no such reload")]
        }
        if case .confirm(let milliseconds) = job.mode {
            confirmationDue = now.advanced(by: .milliseconds(milliseconds))
            return [.adoptOnTrial] + end(.committed, "")
        }
        guard job.isReturn else { return [.adopt] + end(.committed, "") }
        return [.adopt, .forgetPrevious] + end(.committed, "taken back")
    }

    /// A reload on trial that its proxy does not survive has failed: the next proxy gets what was
    /// in use before.
    package mutating func proxyDied() -> [Action] {
        let isOnTrial =
            confirmationDue != nil || running?.isReturn == true
            || waiting.contains { $0.isReturn }
        confirmationDue = nil
        waiting.removeAll { $0.isReturn }
        let ended = running != nil ? [.discard] + end(.failed, "the proxy died meanwhile") : []
        return (isOnTrial ? [.adoptPrevious] : []) + ended
    }

    /// What the next proxy gets has been read anew: nothing is on trial any more.
    package mutating func forgetTrial() -> [Action] {
        confirmationDue = nil
        waiting.removeAll { $0.isReturn }
        return [.forgetPrevious]
    }

    /// What was to be taken back could not be: once more.
    package mutating func retryReturn() -> [Action] {
        guard running?.isReturn != true, !waiting.contains(where: { $0.isReturn }) else {
            return []
        }
        return takeBack()
    }

    // MARK: - Confirmation

    /// Somebody says that the last reload is right.
    package mutating func confirmed(_ request: UInt64) -> [Action] {
        guard confirmationDue != nil else {
            return [
                .finished(.refused, requests: [request], reason: "no reload waits for confirmation")
            ]
        }
        confirmationDue = nil
        return [.forgetPrevious, .finished(.confirmed, requests: [request], reason: "")]
    }

    /// Errors burst since the reload that waits for confirmation.
    package mutating func goesWrong(now: Instant) -> [Action] {
        guard confirmationDue != nil else { return [] }
        return takeBack()
    }

    private mutating func takeBack() -> [Action] {
        confirmationDue = nil
        let job = Job(mode: .apply, isReturn: true, requests: [])
        guard isActive else { return begin(job) }
        waiting.insert(job, at: 0)
        return []
    }

    // MARK: - Time

    package var deadline: Instant {
        let own: Instant =
            switch state {
            case .idle: .never
            case .preparing(_, let until), .committing(_, let until): until
            }
        return min(own, confirmationDue ?? .never)
    }

    package mutating func tick(now: Instant) -> [Action] {
        var actions: [Action] = []
        if let due = confirmationDue, now >= due { actions += takeBack() }
        switch state {
        case .preparing(let id, let until) where now >= until:
            actions +=
                [.sendAbort(id: id), .discard] + end(.failed, "the proxy took too long")
        case .committing(_, let until) where now >= until:
            actions +=
                [.discard, .replaceProxy] + end(.failed, "the proxy did not commit in time")
        case .idle, .preparing, .committing: break
        }
        return actions
    }

    private mutating func end(_ outcome: ReloadOutcome, _ reason: String) -> [Action] {
        state = .idle
        let requests = running?.requests ?? []
        running = nil
        let told = Action.finished(outcome, requests: requests, reason: reason)
        guard !waiting.isEmpty else { return [told] }
        return [told] + begin(waiting.removeFirst())
    }
}
