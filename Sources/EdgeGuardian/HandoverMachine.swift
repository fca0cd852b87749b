package import EdgeCore

/// A planned way out: clients are told to go while the addresses are still here and everybody is
/// served; then nobody new is let in for a moment, what is under way comes to its end, and the
/// addresses go to the peer. Nobody is cut who ends within the drain time. Who asks for a
/// connection in that moment is not heard, asks again within a second, and is answered by the other
/// node. Pure: events and a time in, actions out.
///
///     idle ─ begin ─▶ draining ─ empty, late ─▶ settling ─ empty, late ─▶ yielding
///       ├─ begin by force ───────────────────────────────────────────────▶ │
///       └◀─────────────────────── cancel; yielded, late ───────────────────┘
package struct HandoverMachine {
    /// What it is for.
    package enum Purpose: Equatable, Sendable {
        /// The guardian ends: nobody is welcome again.
        case stop
        /// An administrator wants the node to be left until he says otherwise.
        case maintenance
        /// The addresses are wanted elsewhere; the node stays as good as it is.
        case move
    }

    package enum State: Equatable, Sendable {
        case idle
        /// Clients are told to go; those that come are served.
        case draining(until: Instant)
        /// Nobody new is let in, from `since` on.
        case settling(since: Instant, until: Instant)
        /// The failover thread has been asked.
        case yielding(until: Instant)
    }

    package enum Action: Equatable, Sendable {
        /// Clients are told to go, or are welcome.
        case dismissClients(Bool)
        case closeDoor
        case openDoor
        case yield(isForced: Bool)
        /// It is over.
        case finished(Purpose, Outcome)
    }

    package enum Outcome: Equatable, Sendable {
        case moved
        /// They are still here, for the reason.
        case stayed(String)
    }

    package private(set) var state = State.idle
    package private(set) var purpose = Purpose.move
    private var isForced = false
    private var isDoorClosed = false

    package var isActive: Bool { state != .idle }

    /// The door is closed for so long at least: handshakes that have begun come to their end.
    package static let settleMin = Duration.milliseconds(100)
    /// And for so long at most: what is under way then is cut.
    package static let settleMax = Duration.seconds(2)
    /// In this time the peer has the addresses, or nobody takes them.
    package static let yieldMax = Duration.seconds(5)
    /// How often connections are counted while they are waited for.
    package static let sampleInterval = Duration.milliseconds(10)

    package init() {}

    /// - Parameters:
    ///   - drain: how long clients have to leave.
    ///   - isForced: the addresses are given up whether or not anybody is known to take them. If
    ///     they only move, at once.
    package mutating func begin(
        _ purpose: Purpose, drain: Duration, isForced: Bool = false, now: Instant
    ) -> [Action] {
        guard state == .idle else { return [] }
        self.purpose = purpose
        self.isForced = isForced
        if isForced, purpose == .move { return yield(now) }
        state = .draining(until: now.advanced(by: drain))
        return [.dismissClients(true)]
    }

    /// - Parameter open: clients' connections.
    package mutating func counted(_ open: Int, now: Instant) -> [Action] {
        switch state {
        case .idle, .yielding: return []
        case .draining: return open == 0 ? settle(now) : []
        case .settling(let since, _):
            let isOver = now >= since.advanced(by: Self.settleMin)
            return open == 0 && isOver ? yield(now) : []
        }
    }

    package mutating func yielded(_ outcome: Outcome) -> [Action] {
        guard case .yielding = state else { return [] }
        return finish(outcome)
    }

    /// What made it possible, or wanted, is no more.
    package mutating func cancel(_ why: String) -> [Action] {
        guard state != .idle else { return [] }
        return finish(.stayed(why))
    }

    package mutating func tick(now: Instant) -> [Action] {
        guard now >= deadline else { return [] }
        switch state {
        case .idle: return []
        case .draining: return settle(now)
        case .settling: return yield(now)
        case .yielding: return finish(.stayed("nobody has taken the addresses in time"))
        }
    }

    package var deadline: Instant {
        switch state {
        case .idle: .never
        case .draining(let until), .settling(_, let until), .yielding(let until): until
        }
    }

    /// Whether connections are waited for, and so to be counted.
    package var waitsForClients: Bool {
        switch state {
        case .draining, .settling: true
        case .idle, .yielding: false
        }
    }

    private mutating func settle(_ now: Instant) -> [Action] {
        state = .settling(since: now, until: now.advanced(by: Self.settleMax))
        isDoorClosed = true
        return [.closeDoor]
    }

    private mutating func yield(_ now: Instant) -> [Action] {
        state = .yielding(until: now.advanced(by: Self.yieldMax))
        return [.yield(isForced: isForced)]
    }

    private mutating func finish(_ outcome: Outcome) -> [Action] {
        state = .idle
        // Who comes to another address of this node is served to the end.
        var actions: [Action] = isDoorClosed ? [.openDoor] : []
        if purpose == .move { actions.append(.dismissClients(false)) }
        isDoorClosed = false
        return actions + [.finished(purpose, outcome)]
    }
}
