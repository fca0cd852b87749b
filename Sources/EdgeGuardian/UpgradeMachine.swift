package import EdgeCore
package import EdgeSystem

/// One binary follows another. Pure.
///
///     idle → checking → starting → awaitingServing → succeeding → idle (or: another program)
///
/// Until the new proxy serves, nothing has changed: whatever goes wrong, the old one goes on. Then
/// the old one finishes what it has, and the guardian becomes the new program, which it asks first
/// whether it understands what it is given.
package struct UpgradeMachine {
    package enum State: Equatable, Sendable {
        case idle
        /// The new program checks the configuration.
        case checking(until: Instant)
        /// Its proxy prepares.
        case starting(until: Instant)
        case awaitingServing(until: Instant)
        /// The new program looks at the guardian's state.
        case succeeding(until: Instant)
    }

    package enum Action: Equatable, Sendable {
        case check
        case startNext
        case serveNext
        /// The new proxy is the proxy from now on, the old one finishes what it has.
        case handOver
        case askSuccessor
        case become
        /// End what was started for this, whatever it is.
        case drop
        case finished(ReloadOutcome, requests: [UInt64], reason: String)
        case refuse(String)
    }

    package static let checkTimeout = Duration.seconds(60)
    package static let startTimeout = Duration.seconds(30)
    package static let serveTimeout = Duration.seconds(5)

    package private(set) var state = State.idle
    private var requests: [UInt64] = []

    package init() {}

    package var isActive: Bool { state != .idle }

    /// - Parameter obstacle: why it cannot begin now; nil: it can.
    package mutating func requested(
        _ request: UInt64?, obstacle: String?, now: Instant
    ) -> [Action] {
        let mine = request.map { [$0] } ?? []
        if isActive {
            return [.finished(.failed, requests: mine, reason: "an upgrade is under way already")]
        }
        if let obstacle { return [.finished(.failed, requests: mine, reason: obstacle)] }
        requests = mine
        state = .checking(until: now.advanced(by: Self.checkTimeout))
        return [.check]
    }

    /// - Parameter fault: why the new program does not start here; nil: it does.
    package mutating func checked(fault: String?, now: Instant) -> [Action] {
        guard case .checking = state else { return [.refuse("checked what nobody asked for")] }
        if let fault { return abandon("the new program refuses: \(fault)") }
        state = .starting(until: now.advanced(by: Self.startTimeout))
        return [.startNext]
    }

    package mutating func nextPrepared(now: Instant) -> [Action] {
        guard case .starting = state else { return [.refuse("prepared at the wrong time")] }
        state = .awaitingServing(until: now.advanced(by: Self.serveTimeout))
        return [.serveNext]
    }

    package mutating func nextServing(now: Instant) -> [Action] {
        guard case .awaitingServing = state else { return [.refuse("serves too early")] }
        state = .succeeding(until: now.advanced(by: Self.checkTimeout))
        defer { requests = [] }
        return [.finished(.upgraded, requests: requests, reason: ""), .handOver, .askSuccessor]
    }

    /// The new proxy ended, or could not be started.
    package mutating func nextEnded(_ why: String) -> [Action] {
        switch state {
        case .starting, .awaitingServing: abandon("the new proxy \(why)")
        case .idle, .checking, .succeeding: []
        }
    }

    /// The proxy that serves is gone: it is replaced as ever.
    package mutating func proxyLost() -> [Action] {
        switch state {
        case .idle: []
        case .checking, .starting, .awaitingServing: abandon("the proxy died meanwhile")
        case .succeeding:
            // A new one is being started: its guardian is not to change in the middle of that.
            leave()
        }
    }

    /// - Parameter fault: why the new program cannot take over the guardian's part; nil: it can.
    package mutating func successorAnswered(fault: String?) -> [Action] {
        guard case .succeeding = state else { return [.refuse("no successor was asked")] }
        state = .idle
        return [.drop] + (fault == nil ? [.become] : [])
    }

    /// The service stops.
    package mutating func stop() -> [Action] { isActive ? abandon("the service stops") : [] }

    package var deadline: Instant {
        switch state {
        case .idle: .never
        case .checking(let until), .starting(let until), .awaitingServing(let until),
            .succeeding(let until):
            until
        }
    }

    package mutating func tick(now: Instant) -> [Action] {
        guard now >= deadline else { return [] }
        switch state {
        case .idle: return []
        case .checking: return abandon("the new program did not check in time")
        case .starting, .awaitingServing: return abandon("the new proxy did not serve in time")
        case .succeeding: return leave()
        }
    }

    private mutating func leave() -> [Action] {
        state = .idle
        return [.drop]
    }

    private mutating func abandon(_ reason: String) -> [Action] {
        state = .idle
        defer { requests = [] }
        return [.drop, .finished(.failed, requests: requests, reason: reason)]
    }
}
