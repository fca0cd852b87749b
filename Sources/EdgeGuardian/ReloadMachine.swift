package import EdgeCore
package import EdgeSystem

/// The two phases of a reload as the guardian sees them. Pure. One runs at a time; what is asked
/// for meanwhile is one more reload after it, however often it was asked for.
///
///     idle → preparing → committing → idle
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
        case sendCommit(id: UInt64)
        case sendAbort(id: UInt64)
        /// The new configuration is in use: keep it for the next proxy.
        case adopt
        /// The new configuration is dropped.
        case discard
        /// The end of one reload, told to everybody who asked for it.
        case finished(ReloadOutcome, requests: [UInt64], reason: String)
        /// The proxy said it would commit and did not: its state is unknown.
        case replaceProxy
        case refuse(String)
    }

    package static let timeout = Duration.seconds(30)
    /// Requests that wait for an answer; more are answered with the next one's outcome.
    package static let requestsMax = 64

    package private(set) var state = State.idle
    private var lastID: UInt64 = 0
    /// Who waits for the reload that runs, and for the one after it.
    private var requests: [UInt64] = []
    private var nextRequests: [UInt64] = []
    private var isAskedAgain = false
    private var isReading = false

    package init() {}

    package var isActive: Bool { isReading || state != .idle }

    /// - Parameter request: the proxy's number for it; nil: SIGHUP.
    package mutating func requested(_ request: UInt64?) -> [Action] {
        guard !isActive else {
            isAskedAgain = true
            if let request, nextRequests.count < Self.requestsMax { nextRequests.append(request) }
            return []
        }
        requests = request.map { [$0] } ?? []
        isReading = true
        return [.read]
    }

    /// Our part is valid: the proxy is offered the configuration under the id returned.
    package mutating func offered(now: Instant) -> UInt64 {
        lastID += 1
        isReading = false
        state = .preparing(id: lastID, until: now.advanced(by: Self.timeout))
        return lastID
    }

    /// Our part is not valid, cannot be applied, or is what we have.
    package mutating func rejected(_ outcome: ReloadOutcome, reason: String) -> [Action] {
        end(outcome, reason)
    }

    package mutating func prepared(id: UInt64, now: Instant) -> [Action] {
        guard case .preparing(id, _) = state else { return [.refuse("prepared no such reload")] }
        state = .committing(id: id, until: now.advanced(by: Self.timeout))
        return [.sendCommit(id: id)]
    }

    package mutating func refused(id: UInt64, reason: UInt32) -> [Action] {
        guard case .preparing(id, _) = state else { return [.refuse("refused no such reload")] }
        return [.discard] + end(.refused, "the proxy refused it, reason \(reason)")
    }

    package mutating func committed(id: UInt64) -> [Action] {
        guard case .committing(id, _) = state else {
            return [.refuse("committed no such reload")]
        }
        return [.adopt] + end(.committed, "")
    }

    package mutating func proxyDied() -> [Action] {
        guard state != .idle else { return [] }
        return [.discard] + end(.failed, "the proxy died meanwhile")
    }

    package var deadline: Instant {
        switch state {
        case .idle: .never
        case .preparing(_, let until), .committing(_, let until): until
        }
    }

    package mutating func tick(now: Instant) -> [Action] {
        guard now >= deadline else { return [] }
        switch state {
        case .idle: return []
        case .preparing(let id, _):
            return [.sendAbort(id: id), .discard] + end(.failed, "the proxy took too long")
        case .committing:
            return [.discard, .replaceProxy] + end(.failed, "the proxy did not commit in time")
        }
    }

    private mutating func end(_ outcome: ReloadOutcome, _ reason: String) -> [Action] {
        state = .idle
        isReading = false
        var actions: [Action] = [.finished(outcome, requests: requests, reason: reason)]
        requests = []
        if isAskedAgain {
            isAskedAgain = false
            requests = nextRequests
            nextRequests = []
            isReading = true
            actions.append(.read)
        }
        return actions
    }
}
