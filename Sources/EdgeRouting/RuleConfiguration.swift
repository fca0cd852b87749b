package import EdgeCore

/// What is done to requests of a view, a site or a path beside being sent on. The three add up:
/// a request has to be allowed by all, edits are done in that order, of everything else the
/// innermost one counts that says anything.
package struct RuleConfiguration: Sendable, Hashable {
    package struct HeaderEdit: Sendable, Hashable {
        package enum Verb: String, Sendable, CaseIterable {
            /// Instead of all fields of that name.
            case set
            /// Beside them.
            case add
            case remove
        }

        package var verb: Verb
        /// A token, as written; never one that frames messages or names the hop.
        package var name: String
        /// Empty with `remove`.
        package var value: Template

        package init(_ verb: Verb, _ name: String, _ value: Template = Template([])) {
            self.verb = verb
            self.name = name
            self.value = value
        }
    }

    package struct Redirect: Sendable, Hashable {
        package var location: Template
        /// 301, 302, 303, 307 or 308.
        package var status: UInt16

        package init(location: Template, status: UInt16) {
            self.location = location
            self.status = status
        }
    }

    package var requestEdits: [HeaderEdit] = []
    package var responseEdits: [HeaderEdit] = []
    /// True clients that may come; empty: all. Else 403.
    package var allowed: [CIDR] = []
    /// True clients that may not.
    package var denied: [CIDR] = []
    /// As written, case-sensitive (RFC 9110 §9.1); empty: all. Else 405.
    package var methods: [String] = []
    package var redirect: Redirect?
    /// What the matched prefix becomes, `/` or `/…` without a trailing one; nil: it stays. In a
    /// path's rules only.
    package var replacesPrefix: String?
    /// Bytes of a request's content, `Int.max` without a limit; nil: as `limits.request_body` says.
    package var bodyMax: Int?
    /// Nil: the upstream's.
    package var responseTimeout: Duration?
    /// The value of Strict-Transport-Security in answers over TLS (RFC 6797); nil: none.
    package var strictTransport: String?
    /// Indexes into the configuration's list of rate-limit policies.
    package var rateLimits: [Int] = []
    /// 503 with a page, whatever the upstream's state.
    package var isUnderMaintenance = false

    package init() {}
}

/// A text with variables, `${client}` and the like, known per request.
package struct Template: Sendable, Hashable {
    package enum Part: Sendable, Hashable {
        /// Free of control characters.
        case text(String)
        /// The true client's address.
        case client
        /// The view's name.
        case view
        /// As the client asked for it, without port.
        case host
        /// The request's ID, as X-Request-ID has it.
        case id
        /// Of the request's target, from `/` on, as the client wrote it; without the query.
        case path
        /// With its `?`; empty if there is none.
        case query
    }

    package var parts: [Part]

    package init(_ parts: [Part]) { self.parts = parts }
}
