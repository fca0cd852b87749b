internal import EdgeControlAPI

/// What was not as it should be, from when to when: the newest `incidentsMax`. Pure; times are Unix
/// seconds. What lasts is told as often as one likes by `observe`, which finds the beginnings and
/// ends; what takes no time by `note`.
struct IncidentBook {
    /// More than a bad night has. The oldest that is over goes first.
    static let incidentsMax = 256
    /// Noted again within so many seconds it is the same.
    private static let repeatSpan: Int64 = 2

    private(set) var incidents: [Incident] = []
    private(set) var dropped: Int64 = 0
    /// Those that go on, with their scope.
    private var open: [Key: String] = [:]

    private struct Key: Hashable {
        let kind: Incident.Kind
        let subject: String
    }

    struct Condition: Equatable {
        let subject: String
        let text: String
    }

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
        where key.kind == kind && own == scope && !subjects.contains(key.subject) {
            end(key, at: now)
        }
        for condition in conditions {
            let key = Key(kind: kind, subject: condition.subject)
            guard open[key] == nil else { continue }
            open[key] = scope
            add(
                Incident(
                    kind: kind, subject: condition.subject, text: condition.text, begun: now))
        }
    }

    /// Nothing but these scopes is looked at any more.
    mutating func keepScopes(_ scopes: Set<String>, of kind: Incident.Kind, at now: Int64) {
        for (key, own) in open where key.kind == kind && !scopes.contains(own) {
            end(key, at: now)
        }
    }

    private mutating func end(_ key: Key, at now: Int64) {
        open[key] = nil
        let index = incidents.lastIndex {
            $0.kind == key.kind && $0.subject == key.subject && $0.ended == nil
        }
        if let index { incidents[index].ended = now }
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
