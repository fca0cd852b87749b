package import EdgeCore

/// All names and services in use, each with its machine. Sans-IO; one thread. Their number is
/// bounded by the configuration (and `ServiceMachine.recordsMax` per service), the number asked at
/// once by the caller's `room`.
package struct NameCache: Sendable {
    package private(set) var timing: NameTiming
    private var machines: [String: NameMachine] = [:]
    private var services: [String: ServiceMachine] = [:]
    /// Names that are tracked for themselves, not as the target of a service.
    private var wanted: Set<String> = []
    private var remembered: NameRecords
    /// How old what is remembered was at `rememberedAt`, by wall-clock seconds.
    private let rememberedAt: (wallSeconds: Int64, instant: Instant)
    private var random: SplitMix64
    /// Grows whenever the set of names changes.
    package private(set) var version: UInt64 = 0

    /// - Parameters:
    ///   - remembered: from disk, used for names before their first answer.
    ///   - wallSeconds: since 1970, at the same moment as `now`.
    package init(
        timing: NameTiming = NameTiming(), seed: UInt64, remembered: NameRecords = NameRecords(),
        wallSeconds: Int64 = 0, now: Instant = Instant(nanoseconds: 0)
    ) {
        self.timing = timing
        self.remembered = remembered
        rememberedAt = (wallSeconds, now)
        random = SplitMix64(seed: seed)
    }

    // MARK: - Events

    /// Replaces the set of names: new ones are due at once, those not in it are forgotten, the
    /// others keep what they know.
    package mutating func track(
        _ names: Set<String>, services new: Set<String> = [], now: Instant
    ) {
        wanted = names
        services = services.filter { new.contains($0.key) }
        for name in new where services[name] == nil {
            var service = ServiceMachine(name: name, now: now)
            if let entry = remembered.services[name] {
                service.restore(entry.records, age: age(entry.seconds, now), now: now)
                service.advance(now: now, timing: timing)
            }
            services[name] = service
        }
        trackTargets(now: now)
    }

    private mutating func trackTargets(now: Instant) {
        let names = services.values.reduce(into: wanted) { $0.formUnion($1.targets) }
        guard names != Set(machines.keys) else { return }
        version += 1
        machines = machines.filter { names.contains($0.key) }
        for name in names where machines[name] == nil {
            var machine = NameMachine(name: name, now: now)
            if let entry = remembered.names[name] {
                machine.restore(entry.addresses, age: age(entry.seconds, now), now: now)
                machine.advance(now: now, timing: timing)
            }
            machines[name] = machine
        }
    }

    private func age(_ seconds: Int64, _ now: Instant) -> Duration {
        let before = max(rememberedAt.wallSeconds.subtractingReportingOverflow(seconds).0, 0)
        let since = Duration(nanoseconds: now.nanoseconds(since: rememberedAt.instant))
        return .seconds(min(before, 1 << 40)) + since
    }

    /// Other knobs: nothing waits longer than they allow.
    package mutating func configure(_ timing: NameTiming, now: Instant) {
        self.timing = timing
        advance(now: now)
    }

    /// Lets go of what DNS has not confirmed for too long.
    package mutating func advance(now: Instant) {
        for name in machines.keys { machines[name]?.advance(now: now, timing: timing) }
        for name in services.keys { services[name]?.advance(now: now, timing: timing) }
        settleServices(now: now)
    }

    /// Takes up to `room` names whose time has come, the longest overdue first. The caller asks
    /// for each and tells `answered`.
    package mutating func takeDue(
        now: Instant, room: Int, where isMeant: (String) -> Bool = { _ in true }
    ) -> [String] {
        guard room > 0 else { return [] }
        let due = machines.values.filter { $0.due <= now && isMeant($0.name) }
            .sorted { ($0.due, $0.name) < ($1.due, $1.name) }
            .prefix(room).map(\.name)
        for name in due { machines[name]?.asked(now: now) }
        return due
    }

    /// The same for services.
    package mutating func takeDueServices(
        now: Instant, room: Int, where isMeant: (String) -> Bool = { _ in true }
    ) -> [String] {
        guard room > 0 else { return [] }
        let due = services.values.filter { $0.schedule.due <= now && isMeant($0.name) }
            .sorted { ($0.schedule.due, $0.name) < ($1.schedule.due, $1.name) }
            .prefix(room).map(\.name)
        for name in due { services[name]?.asked(now: now) }
        return due
    }

    /// - Returns: the new addresses if the set has changed; nil if not, and for forgotten names.
    package mutating func answered(
        _ name: String, _ answer: NameAnswer, isSuspicious: Bool = false, now: Instant
    ) -> [SocketAddress]? {
        guard var machine = machines[name] else { return nil }
        let changed = machine.answered(
            answer, isSuspicious: isSuspicious, now: now, timing: timing, random: &random)
        machines[name] = machine
        settleServices(now: now)
        return changed ? machine.addresses : nil
    }

    /// Its targets are due from now on.
    package mutating func answered(service name: String, _ answer: ServiceAnswer, now: Instant) {
        guard var service = services[name] else { return }
        service.answered(answer, now: now, timing: timing, random: &random)
        services[name] = service
        trackTargets(now: now)
        settleServices(now: now)
    }

    private mutating func settleServices(now: Instant) {
        var isChanged = false
        for name in services.keys where services[name]?.candidates.isEmpty == false {
            services[name]?.settle(
                now: now,
                isAsked: { machines[$0]?.isAnswered ?? false },
                hasAddress: {
                    machines[$0].map { !$0.addresses.isEmpty || !$0.suspects.isEmpty } ?? false
                })
            isChanged = isChanged || services[name]?.candidates.isEmpty == true
        }
        if isChanged { trackTargets(now: now) }
    }

    /// A service's targets are hurried too.
    package mutating func hurry(_ name: String, now: Instant) {
        if let targets = services[name]?.targets {
            services[name]?.hurry(now: now, timing: timing)
            for target in targets { machines[target]?.hurry(now: now, timing: timing) }
        }
        machines[name]?.hurry(now: now, timing: timing)
    }

    /// What somebody else remembers. Where nobody has answered here, it is proposed; names that are
    /// not in use are remembered in case they will be, up to `suggestionsMax`.
    ///
    /// - Parameter wallSeconds: since 1970 by the other one's clock, at the same moment as `now`.
    /// - Returns: names whose addresses have changed.
    package mutating func suggest(
        _ records: NameRecords, wallSeconds: Int64, now: Instant
    ) -> Set<String> {
        var changed: Set<String> = []
        func age(_ seconds: Int64) -> Duration {
            .seconds(min(max(wallSeconds.subtractingReportingOverflow(seconds).0, 0), 1 << 40))
        }
        func remember(_ seconds: Int64) -> Int64 {
            let since = Int64(now.nanoseconds(since: rememberedAt.instant) / 1_000_000_000)
            return rememberedAt.wallSeconds + since - age(seconds).components.seconds
        }
        for (name, entry) in records.services {
            if var service = services[name] {
                guard service.records.isEmpty else { continue }
                service.restore(entry.records, age: age(entry.seconds), now: now)
                service.advance(now: now, timing: timing)
                services[name] = service
                changed.insert(name)
            } else if remembered.services[name] == nil, hasRoom {
                remembered.services[name] = .init(
                    records: entry.records, seconds: remember(entry.seconds))
            }
        }
        if !changed.isEmpty { trackTargets(now: now) }
        for (name, entry) in records.names {
            if machines[name] != nil {
                let isNew = machines[name]?.suggest(
                    entry.addresses, age: age(entry.seconds), now: now)
                machines[name]?.advance(now: now, timing: timing)
                if isNew == true { changed.insert(name) }
            } else if remembered.names[name] == nil, hasRoom {
                remembered.names[name] = .init(
                    addresses: entry.addresses, seconds: remember(entry.seconds))
            }
        }
        return changed
    }

    private var hasRoom: Bool {
        remembered.names.count + remembered.services.count < Self.suggestionsMax
    }

    /// Names that are remembered without being in use.
    package static let suggestionsMax = 10_000

    // MARK: - Queries

    /// When `takeDue` or `takeDueServices` has something next; `.never` if nothing waits.
    package var nextDue: Instant { nextDue { _ in true } }

    /// The same, of the names for which `isMeant` holds.
    package func nextDue(where isMeant: (String) -> Bool) -> Instant {
        var due = Instant.never
        for machine in machines.values where isMeant(machine.name) { due = min(due, machine.due) }
        for service in services.values where isMeant(service.name) {
            due = min(due, service.schedule.due)
        }
        return due
    }

    /// When `advance` has waited long enough for a service's new targets; `.never` if it waits for
    /// none.
    package var nextSettlement: Instant {
        services.values.lazy.map(\.patienceEnd).min() ?? .never
    }

    /// When `advance` has something to let go of next; `.never` if nothing.
    package var nextExpiry: Instant {
        guard timing.stale != nil else { return .never }
        let all = machines.values.map(\.confirmation) + services.values.map(\.confirmation)
        return all.lazy.filter { !$0.isExpired }.map { $0.expiry(timing: timing) }.min() ?? .never
    }

    package var names: [String] { machines.keys.sorted() }

    package var serviceNames: [String] { services.keys.sorted() }

    /// What is believed of the names for which `isMeant` holds; those of literal addresses are not
    /// among them.
    package func known(where isMeant: (String) -> Bool) -> [String: [SocketAddress]] {
        machines.filter { !$0.value.schedule.isLiteral && isMeant($0.key) }
            .mapValues(\.addresses)
    }

    package subscript(_ name: String) -> NameMachine? { machines[name] }

    package subscript(service name: String) -> ServiceMachine? { services[name] }

    /// - Parameter own: never proposed.
    package func proposal(for name: String, without own: Set<SocketAddress>) -> NameProposal {
        if let service = services[name] {
            return NameProposal(service, isAsked: { machines[$0]?.isAnswered ?? false }) { target in
                machines[target].map { NameProposal($0, without: own) } ?? NameProposal()
            }
        }
        return machines[name].map { NameProposal($0, without: own) } ?? NameProposal()
    }

    /// What is to be remembered: all that was ever believed and is still tracked.
    ///
    /// - Parameter wallSeconds: since 1970, at the same moment as `now`.
    package func records(now: Instant, wallSeconds: Int64) -> NameRecords {
        var records = NameRecords()
        for machine in machines.values where !machine.schedule.isLiteral {
            guard let age = machine.confirmation.age(now: now), !machine.addresses.isEmpty else {
                continue
            }
            records.names[machine.name] = .init(
                addresses: machine.addresses, seconds: wallSeconds - age.components.seconds)
        }
        for service in services.values {
            guard let age = service.confirmation.age(now: now), !service.records.isEmpty else {
                continue
            }
            records.services[service.name] = .init(
                records: service.records, seconds: wallSeconds - age.components.seconds)
        }
        return records
    }
}
