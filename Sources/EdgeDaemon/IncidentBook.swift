internal import EdgeControlAPI

/// What was not as it should be, from when to when: the newest `incidentsMax`. Pure; times are Unix
/// seconds. What lasts is told as often as one likes by `observe`, which finds the beginnings and
/// ends; what takes no time by `note`; what others have seen by `take`.
struct IncidentBook: Equatable {
    /// More than a bad night has. The oldest that is over goes first.
    static let incidentsMax = 256
    /// Noted again within so many seconds it is the same.
    private static let repeatSpan: Int64 = 2

    /// What clients have seen since the daemon began.
    struct Totals: Equatable {
        var requests: Int64
        /// Answered with 5xx, whoever said it.
        var failures: Int64
    }

    /// What is kept of it over a restart.
    struct Kept: Sendable, Equatable {
        var since: Int64
        var dropped: Int64
        var incidents: [Incident]
        /// When it was kept last.
        var alive: Int64
        /// The proxy was told to end.
        var isEnded: Bool
    }

    private(set) var incidents: [Incident] = []
    private(set) var dropped: Int64 = 0
    /// Since when there has been a book; nil: since this process began.
    private(set) var since: Int64?
    /// As of now: looked at when something begins or ends. Nil: not known.
    var totals: Totals?
    /// Those that go on, with their scope.
    private var open: [Key: Scope] = [:]

    private struct Scope: Equatable {
        let name: String
        /// When it began.
        let totals: Totals?
    }

    private struct Key: Hashable {
        let kind: Incident.Kind
        let subject: String
    }

    struct Condition: Equatable {
        let subject: String
        let text: String
    }

    init() {}

    /// Goes on with what was kept. What went on then has an end that nobody saw.
    ///
    /// - Parameter isDaemonNew: the guardian has begun as well.
    init(_ kept: Kept, at now: Int64, isDaemonNew: Bool) {
        since = kept.since
        dropped = kept.dropped
        incidents = kept.incidents.suffix(Self.incidentsMax).map { incident in
            var incident = incident
            incident.ended = incident.ended ?? max(kept.alive, incident.begun)
            return incident
        }
        guard isDaemonNew, !kept.isEnded else { return }
        add(
            Incident(
                kind: .daemonDown, subject: "", text: "it ended without being told to",
                begun: min(kept.alive, now), ended: now))
    }

    /// What is to be kept now.
    func kept(since: Int64, at now: Int64, isEnded: Bool) -> Kept {
        Kept(
            since: since, dropped: dropped, incidents: incidents, alive: now, isEnded: isEnded)
    }

    /// As they are now, with what clients have seen of those that go on.
    var rows: [Incident] {
        guard let totals, !open.isEmpty else { return incidents }
        return incidents.map { incident in
            guard incident.ended == nil,
                let begun = open[Key(kind: incident.kind, subject: incident.subject)]?.totals
            else { return incident }
            return incident.with(totals, since: begun)
        }
    }

    /// Whether something of this kind is so now.
    func goesOn(_ kind: Incident.Kind) -> Bool { open.keys.contains { $0.kind == kind } }

    /// What somebody else has seen.
    mutating func take(_ incident: Incident) { add(incident) }

    /// Something happened.
    mutating func note(_ kind: Incident.Kind, _ subject: String, _ text: String, at now: Int64) {
        let isKnown = incidents.contains {
            $0.kind == kind && $0.subject == subject && $0.text == text
                && now - $0.begun <= Self.repeatSpan
        }
        guard !isKnown else { return }
        add(Incident(kind: kind, subject: subject, text: text, begun: now, ended: now))
    }

    /// All that is so now of this kind and scope; what was and is not in it has ended.
    ///
    /// - Parameter scope: what was looked at, such as one upstream; others' incidents go on.
    mutating func observe(
        _ kind: Incident.Kind, scope: String, _ conditions: [Condition], at now: Int64
    ) {
        let subjects = Set(conditions.map(\.subject))
        for (key, own) in open
        where key.kind == kind && own.name == scope && !subjects.contains(key.subject) {
            end(key, at: now)
        }
        for condition in conditions {
            let key = Key(kind: kind, subject: condition.subject)
            guard open[key] == nil else { continue }
            open[key] = Scope(name: scope, totals: totals)
            add(
                Incident(
                    kind: kind, subject: condition.subject, text: condition.text, begun: now))
        }
    }

    /// Nothing but these scopes is looked at any more.
    mutating func keepScopes(_ scopes: Set<String>, of kind: Incident.Kind, at now: Int64) {
        for (key, own) in open where key.kind == kind && !scopes.contains(own.name) {
            end(key, at: now)
        }
    }

    private mutating func end(_ key: Key, at now: Int64) {
        let begun = open.removeValue(forKey: key)?.totals
        let index = incidents.lastIndex {
            $0.kind == key.kind && $0.subject == key.subject && $0.ended == nil
        }
        guard let index else { return }
        incidents[index].ended = now
        if let totals, let begun { incidents[index] = incidents[index].with(totals, since: begun) }
    }

    private mutating func add(_ incident: Incident) {
        if incidents.count >= Self.incidentsMax {
            dropped += 1
            // With nothing but what goes on, the oldest of it.
            incidents.remove(at: incidents.firstIndex { $0.ended != nil } ?? 0)
        }
        incidents.append(incident)
    }
}

extension Incident {
    fileprivate func with(
        _ totals: IncidentBook.Totals, since begun: IncidentBook.Totals
    ) -> Incident {
        var incident = self
        incident.requests = max(totals.requests - begun.requests, 0)
        incident.failures = max(totals.failures - begun.failures, 0)
        return incident
    }
}
