/// What the other node may order, one thing at a time, and which reload of the pair's is on trial
/// here. Sans-IO.
package struct PairOrderDesk: Sendable {
    private var running: UInt64?
    private var trial: UInt64?

    package init() {}

    /// An order of the other node's has come.
    ///
    /// - Returns: why it is not carried out; nil: it is under way until `ended`.
    package mutating func begin(_ order: PairOrder) -> String? {
        guard running == nil else { return "the order before is still being carried out" }
        if case .confirm(let reload) = order.kind, let refusal = refusal(confirming: reload) {
            return refusal
        }
        running = order.number
        return nil
    }

    package mutating func ended(_ order: PairOrder) {
        if running == order.number { running = nil }
    }

    /// A reload of the pair's is in use, on trial.
    package mutating func reloaded(_ number: UInt64) { trial = number }

    /// Another configuration is in use, or the one before again.
    package mutating func configurationChanged() { trial = nil }

    /// - Returns: why a confirmation of that reload confirms nothing; nil: it is the one in use.
    package func refusal(confirming reload: UInt64) -> String? {
        trial == reload ? nil : "that reload is not in use any more"
    }
}
