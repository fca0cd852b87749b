/// What became of a reload.
package enum ReloadOutcome: String, Sendable, CaseIterable {
    case reloaded
    /// The new configuration is not valid; the old one goes on.
    case refused
    /// The files say what they said before.
    case unchanged
}

/// The answer to `POST /reload`, sent when the reload is complete or refused.
package struct ReloadReply: WireValue {
    package var outcome: ReloadOutcome
    /// One line each: `file:line:column: error: …`.
    package var diagnostics: [String]
    /// Generation of the configuration in use afterwards.
    package var epoch: Int64
    /// How long it took.
    package var milliseconds: Int64
    /// Unix seconds at which it is undone if nobody confirms it; nil: it stays.
    package var confirmUntil: Int64?

    package init(
        outcome: ReloadOutcome, diagnostics: [String] = [], epoch: Int64, milliseconds: Int64,
        confirmUntil: Int64? = nil
    ) {
        self.confirmUntil = confirmUntil
        self.outcome = outcome
        self.diagnostics = diagnostics
        self.epoch = epoch
        self.milliseconds = milliseconds
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        outcome = try reader.word("outcome")
        diagnostics = try reader.strings("diagnostics")
        epoch = try reader.integer("epoch")
        milliseconds = try reader.integer("milliseconds")
        confirmUntil = try reader.optionalInteger("confirm_until")
    }

    package var json: JSONValue {
        .object([
            .init("outcome", .string(outcome.rawValue)),
            .init("diagnostics", .strings(diagnostics)),
            .init("epoch", .integer(epoch)),
            .init("milliseconds", .integer(milliseconds)),
            .init("confirm_until", .optional(confirmUntil)),
        ])
    }
}

/// The body of every answer that is an error.
package struct ErrorReply: WireValue {
    /// A sentence for a person.
    package var error: String

    package init(error: String) {
        self.error = error
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        error = try reader.string("error")
    }

    package var json: JSONValue {
        .object([
            .init("error", .string(error))
        ])
    }
}
