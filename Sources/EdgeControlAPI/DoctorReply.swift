/// One thing that was looked at.
package struct DoctorCheck: WireValue {
    package enum Verdict: String, Sendable, CaseIterable {
        case fine
        /// It works, but not as well as it could, or not for long.
        case warning
        /// Something does not work.
        case problem
        /// It could not be looked at.
        case unknown
    }

    /// What was looked at, such as `descriptors`; the same in every version.
    package var name: String
    package var verdict: Verdict
    /// What was found.
    package var found: String
    /// What to do about it; empty if there is nothing to do.
    package var remedy: String

    package init(_ name: String, _ verdict: Verdict, _ found: String, remedy: String = "") {
        self.name = name
        self.verdict = verdict
        self.found = found
        self.remedy = remedy
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        verdict = try reader.word("verdict")
        found = try reader.string("found")
        remedy = try reader.string("remedy")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("verdict", .string(verdict.rawValue)),
            .init("found", .string(found)),
            .init("remedy", .string(remedy)),
        ])
    }
}

/// The answer to `GET /doctor`: what only the daemon can find out.
package struct DoctorReply: WireValue {
    package var checks: [DoctorCheck]

    package init(checks: [DoctorCheck]) { self.checks = checks }

    package init(json: JSONValue) throws(WireFailure) {
        checks = try WireReader(json).list("checks")
    }

    package var json: JSONValue { .object([.init("checks", .list(checks))]) }
}
