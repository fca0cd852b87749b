package import EdgeHTTP

/// What is done to requests of one view, site and path beside being sent on (`RuleConfiguration`),
/// compiled. Who may ask for what is in `Routing.access`, by the same number.
package final class RequestRules: Sendable {
    /// What is changed of heads; nil: nothing.
    package let head: HeadRules?
    /// Every request is answered so.
    package let redirect: (location: TextTemplate, status: UInt16)?
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
        self.redirect = redirect
        self.isUnderMaintenance = isUnderMaintenance
        self.bodyMax = bodyMax
        self.responseTimeout = responseTimeout
        self.subjectField = subjectField
    }
}
