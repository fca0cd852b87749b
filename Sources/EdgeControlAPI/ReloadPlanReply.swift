/// What kind of thing a planned change is about.
package enum PlannedKind: String, Sendable, CaseIterable {
    case listener, view, site, upstream, resolver
    /// A file of the certificate folder, by its name.
    case certificate
    /// Certificates that are believed, of upstreams and of clients, or shown to upstreams; error
    /// pages: a file or folder by its path.
    case file
    /// A key of the configuration that belongs to none of the others, by its path.
    case setting
}

/// What becomes of the connections and requests that a change is about.
package enum PlannedFate: String, Sendable, CaseIterable {
    /// They go on as if nothing had happened; what is new is for new ones.
    case untouched
    /// They may go on to their end, at most for the drain deadline.
    case drained
    /// They are closed at once.
    case closed
}

/// One key of a changed thing: what it held and what it will hold. A list has an entry each.
package struct PlannedValue: WireValue {
    /// By its path below the thing, such as `timeouts.response`.
    package var key: String
    package var before: [String]
    package var after: [String]

    package init(key: String, before: [String], after: [String]) {
        self.key = key
        self.before = before
        self.after = after
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        key = try reader.string("key")
        before = try reader.strings("before")
        after = try reader.strings("after")
    }

    package var json: JSONValue {
        .object([
            .init("key", .string(key)),
            .init("before", .strings(before)),
            .init("after", .strings(after)),
        ])
    }
}

/// One thing that a reload would add, remove or change.
package struct PlannedChange: WireValue {
    package enum Action: String, Sendable, CaseIterable {
        case added, removed, changed
    }

    package var kind: PlannedKind
    /// As the operator calls it; a site by its first host.
    package var name: String
    package var action: Action
    /// Empty for what is added or removed whole.
    package var values: [PlannedValue]
    /// Live connections, or requests under way, that it is about; nil: not known.
    package var connections: Int64?
    package var fate: PlannedFate
    /// A reload refuses it.
    package var needsRestart: Bool

    package init(
        kind: PlannedKind, name: String, action: Action, values: [PlannedValue] = [],
        connections: Int64? = nil, fate: PlannedFate = .untouched, needsRestart: Bool = false
    ) {
        self.kind = kind
        self.name = name
        self.action = action
        self.values = values
        self.connections = connections
        self.fate = fate
        self.needsRestart = needsRestart
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        kind = try reader.word("kind")
        name = try reader.string("name")
        action = try reader.word("action")
        values = try reader.list("values")
        connections = try reader.optionalInteger("connections")
        fate = try reader.word("fate")
        needsRestart = try reader.bool("needs_restart")
    }

    package var json: JSONValue {
        .object([
            .init("kind", .string(kind.rawValue)),
            .init("name", .string(name)),
            .init("action", .string(action.rawValue)),
            .init("values", .list(values)),
            .init("connections", .optional(connections)),
            .init("fate", .string(fate.rawValue)),
            .init("needs_restart", .bool(needsRestart)),
        ])
    }
}

/// The answer to `POST /reload?plan=yes`: what a reload would do. Nothing has changed.
package struct ReloadPlanReply: WireValue {
    package enum Outcome: String, Sendable, CaseIterable {
        /// A reload would make the changes.
        case planned
        /// A reload would change nothing.
        case unchanged
        /// A reload would be refused: see the diagnostics and the changes that need a restart.
        case refused
    }

    package var outcome: Outcome
    /// One line each: `file:line:column: error: …`.
    package var diagnostics: [String]
    /// Generation of the configuration that stays in use.
    package var epoch: Int64
    /// What drained connections get at most.
    package var drainSeconds: Int64
    package var changes: [PlannedChange]

    package init(
        outcome: Outcome, diagnostics: [String] = [], epoch: Int64, drainSeconds: Int64 = 0,
        changes: [PlannedChange] = []
    ) {
        self.outcome = outcome
        self.diagnostics = diagnostics
        self.epoch = epoch
        self.drainSeconds = drainSeconds
        self.changes = changes
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        outcome = try reader.word("outcome")
        diagnostics = try reader.strings("diagnostics")
        epoch = try reader.integer("epoch")
        drainSeconds = try reader.integer("drain_seconds")
        changes = try reader.list("changes")
    }

    package var json: JSONValue {
        .object([
            .init("outcome", .string(outcome.rawValue)),
            .init("diagnostics", .strings(diagnostics)),
            .init("epoch", .integer(epoch)),
            .init("drain_seconds", .integer(drainSeconds)),
            .init("changes", .list(changes)),
        ])
    }
}
