package import EdgeCore

/// All names in use, each with its machine. Sans-IO; one thread. The number of names is bounded
/// by the configuration, the number asked at once by the caller's `room`.
package struct NameCache: Sendable {
    package let timing: NameTiming
    private var machines: [String: NameMachine] = [:]
    private var random: SplitMix64

    package init(timing: NameTiming = NameTiming(), seed: UInt64) {
        self.timing = timing
        random = SplitMix64(seed: seed)
    }

    // MARK: - Events

    /// Replaces the set of names: new ones are due at once, those not in it are forgotten, the
    /// others keep what they know.
    package mutating func track(_ names: Set<String>, now: Instant) {
        machines = machines.filter { names.contains($0.key) }
        for name in names where machines[name] == nil {
            machines[name] = NameMachine(name: name, now: now)
        }
    }

    /// Takes up to `room` names whose time has come, the longest overdue first. The caller asks
    /// for each and tells `answered`.
    package mutating func takeDue(now: Instant, room: Int) -> [String] {
        guard room > 0 else { return [] }
        let due = machines.values.filter { $0.due <= now }
            .sorted { ($0.due, $0.name) < ($1.due, $1.name) }
            .prefix(room).map(\.name)
        for name in due { machines[name]?.asked(now: now) }
        return due
    }

    /// - Returns: the new addresses if the set has changed; nil if not, and for forgotten names.
    package mutating func answered(
        _ name: String, _ answer: NameAnswer, now: Instant
    ) -> [SocketAddress]? {
        guard var machine = machines[name] else { return nil }
        let changed = machine.answered(answer, now: now, timing: timing, random: &random)
        machines[name] = machine
        return changed ? machine.addresses : nil
    }

    package mutating func hurry(_ name: String, now: Instant) {
        machines[name]?.hurry(now: now, timing: timing)
    }

    // MARK: - Queries

    /// When `takeDue` has something next; `.never` if nothing waits.
    package var nextDue: Instant { machines.values.map(\.due).min() ?? .never }

    package var names: [String] { machines.keys.sorted() }

    package subscript(_ name: String) -> NameMachine? { machines[name] }
}
