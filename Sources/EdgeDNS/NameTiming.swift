internal import EdgeCore

/// How often names are asked for, and how long what they said is kept.
package struct NameTiming: Sendable, Equatable {
    /// Bounds of a TTL.
    package var floor: Duration = .seconds(1)
    package var ceiling: Duration = .seconds(60)
    /// After a failure: doubled from the first to the last.
    package var retryMin: Duration = .seconds(1)
    package var retryMax: Duration = .seconds(30)
    /// Between two queries for one name, however urgent (`hurry`).
    package var hurryInterval: Duration = .milliseconds(500)
    /// Before a server is asked again; c-ares doubles it on the second round.
    package var tryTimeout: Duration = .seconds(1)
    /// From sending until the name counts as timed out, however many servers and tries.
    package var queryDeadline: Duration = .seconds(3)
    /// How long one address family's answer waits for the other's, and an answer that says nothing
    /// new to somebody in a hurry for those of other servers.
    package var patience: Duration = .milliseconds(500)
    /// How long an address that DNS does not confirm is kept; nil: for ever.
    package var stale: Duration?
    /// How old the system's list of servers may be before the next query.
    package var systemAge: Duration = .seconds(30)
    /// How long an answer that looked wrong has to stand before it is believed.
    package var believedAfter: Duration = .seconds(86_400)

    package init() {}

    package init(floor: Duration, ceiling: Duration) {
        self.floor = floor
        self.ceiling = max(floor, ceiling)
    }

    /// As the two knobs of the configuration say. A name is asked again after at most nine tenths
    /// of `refresh`, whatever its TTL or failures: the rest is for the answer, so that a change is
    /// known within `refresh`.
    package init(refresh: Duration, stale: Duration?) {
        let ceiling = Duration(nanoseconds: refresh.nanoseconds / 10 * 9)
        self.ceiling = ceiling
        floor = min(floor, ceiling)
        retryMin = min(retryMin, ceiling)
        retryMax = min(retryMax, ceiling)
        self.stale = stale
    }
}
