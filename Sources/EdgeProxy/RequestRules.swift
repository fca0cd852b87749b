/// What is done to requests of one view, site and path beside being sent on (`RuleConfiguration`),
/// compiled. Who may ask for what is in `Routing.access`.
package final class RequestRules: Sendable {
    /// 503 with a page, whatever the upstream's state.
    package let isUnderMaintenance: Bool
    /// Bytes of a request's content; nil: `ClientPolicy.requestBodyMax`.
    package let bodyMax: UInt64?
    /// Nanoseconds; nil: the pool's.
    package let responseTimeout: UInt64?

    package init(isUnderMaintenance: Bool, bodyMax: UInt64?, responseTimeout: UInt64?) {
        self.isUnderMaintenance = isUnderMaintenance
        self.bodyMax = bodyMax
        self.responseTimeout = responseTimeout
    }
}
