package import EdgeHTTP

/// What is done to requests of one view, site and path beside being sent on (`RuleConfiguration`),
/// compiled. Who may ask for what is in `Routing.access`, by the same number.
package final class RequestRules: Sendable {
    /// What is changed of heads; nil: nothing.
    package let head: HeadRules?
    /// Every request is answered so; nil: none.
    package let redirect: Redirect?
    /// 503 with a page, whatever the upstream's state.
    package let isUnderMaintenance: Bool
    /// Bytes of a request's content; nil: `ClientPolicy.requestBodyMax`.
    package let bodyMax: UInt64?
    /// Nanoseconds; nil: the pool's.
    package let responseTimeout: UInt64?
    /// The field that tells the subject of a client's certificate; empty: none. `head` leaves out
    /// the client's own of that name.
    package let subjectField: [UInt8]
    /// In `RuntimeSnapshot.limits`; -1: nothing is limited.
    package let limitPlan: Int32

    package init(
        head: HeadRules?, redirect: (location: TextTemplate, status: UInt16)? = nil,
        isUnderMaintenance: Bool = false, bodyMax: UInt64? = nil, responseTimeout: UInt64? = nil,
        subjectField: [UInt8] = [], limitPlan: Int32 = -1
    ) {
        self.limitPlan = limitPlan
        self.head = head
        self.redirect = redirect.map { Redirect(location: $0.location, status: $0.status) }
        self.isUnderMaintenance = isUnderMaintenance
        self.bodyMax = bodyMax
        self.responseTimeout = responseTimeout
        self.subjectField = subjectField
    }

    /// A class, for whoever asks whether there is one copies nothing.
    package final class Redirect: Sendable {
        package let location: TextTemplate
        package let status: UInt16

        init(location: TextTemplate, status: UInt16) {
            self.location = location
            self.status = status
        }
    }

    /// Something is done besides limiting.
    fileprivate var changesSomething: Bool {
        head != nil || redirect != nil || isUnderMaintenance || bodyMax != nil
            || responseTimeout != nil || !subjectField.isEmpty
    }
}

/// What rules say in numbers, a copy for each worker: most requests are decided by it alone, and
/// count no references to what all workers share.
package struct RuleTraits: Sendable, BitwiseCopyable {
    /// `RequestRules.limitPlan`.
    var limitPlan: Int32 = -1
    /// There is more to ask `RequestRules` than that, or `AccessRules` has something to refuse.
    var hasMore = false

    init(_ rules: RequestRules?, refuses: Bool) {
        guard let rules else { return }
        limitPlan = rules.limitPlan
        hasMore = rules.changesSomething || refuses
    }
}
