/// What becomes of a request, and why.
package struct ExplainReply: WireValue {
    package enum Outcome: String, Sendable, CaseIterable {
        /// It is sent to an upstream.
        case forwarded
        /// The connection's bytes go to an upstream as they are.
        case passthrough
        /// Rules answer with a redirect.
        case redirected
        /// We answer with an error.
        case refused
        /// The TLS handshake ends in an alert.
        case alert
        /// The connection is not taken, or closed at once.
        case closed
    }

    package var outcome: Outcome
    /// Of our own answer.
    package var status: Int64?
    /// What the client gets, a sentence.
    package var verdict: String
    /// Where it goes.
    package var upstream: String?
    /// As the upstream gets them.
    package var host: String?
    package var target: String?
    /// Of a redirect.
    package var location: String?
    /// In the order in which they are decided.
    package var steps: [ExplainStep]
    /// The head as the upstream gets it, a line each; empty: none is sent.
    package var head: [String]
    package var members: [ExplainMember]

    /// Whether the client gets what it asks for, or is told where to find it.
    package var isServed: Bool {
        switch outcome {
        case .forwarded, .passthrough, .redirected: true
        case .refused, .alert, .closed: false
        }
    }

    package init(outcome: Outcome = .closed, status: Int64? = nil, verdict: String = "") {
        self.outcome = outcome
        self.status = status
        self.verdict = verdict
        steps = []
        head = []
        members = []
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        outcome = try reader.word("outcome")
        status = try reader.optionalInteger("status")
        verdict = try reader.string("verdict")
        upstream = try reader.optionalString("upstream")
        host = try reader.optionalString("host")
        target = try reader.optionalString("target")
        location = try reader.optionalString("location")
        steps = try reader.list("steps")
        head = try reader.strings("head")
        members = try reader.list("members")
    }

    package var json: JSONValue {
        .object([
            .init("outcome", .string(outcome.rawValue)),
            .init("status", .optional(status)),
            .init("verdict", .string(verdict)),
            .init("upstream", .optional(upstream)),
            .init("host", .optional(host)),
            .init("target", .optional(target)),
            .init("location", .optional(location)),
            .init("steps", .list(steps)),
            .init("head", .strings(head)),
            .init("members", .list(members)),
        ])
    }

    /// For people: a line per step, then the head, the members and the verdict.
    package var text: String {
        let width = (steps.map(\.what.count) + [8]).max() ?? 8
        func line(_ what: String, _ text: String) -> String {
            what + String(repeating: " ", count: max(width - what.count, 0) + 2) + text + "\n"
        }
        var result = ""
        for step in steps { result += line(step.what, step.text) }
        for (index, text) in head.enumerated() { result += line(index == 0 ? "sent" : "", text) }
        for (index, member) in members.enumerated() {
            var text = "\(member.address) \(member.state)"
            if let reason = member.reason { text += ": \(reason)" }
            result += line(index == 0 ? "members" : "", text)
        }
        return result + line("verdict", verdict)
    }
}

/// One decision: `view`, `certificate`, …, and a sentence.
package struct ExplainStep: WireValue {
    package var what: String
    package var text: String

    package init(_ what: String, _ text: String) {
        self.what = what
        self.text = text
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        what = try reader.string("what")
        text = try reader.string("text")
    }

    package var json: JSONValue {
        .object([.init("what", .string(what)), .init("text", .string(text))])
    }
}

/// A server of the upstream; `state` is a word as in `MemberStatus`, or `configured` if nothing is
/// running.
package struct ExplainMember: WireValue {
    package var address: String
    package var state: String
    package var reason: String?

    package init(address: String, state: String, reason: String? = nil) {
        self.address = address
        self.state = state
        self.reason = reason
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        address = try reader.string("address")
        state = try reader.string("state")
        reason = try reader.optionalString("reason")
    }

    package var json: JSONValue {
        .object([
            .init("address", .string(address)), .init("state", .string(state)),
            .init("reason", .optional(reason)),
        ])
    }
}
