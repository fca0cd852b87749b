internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1

/// What rules add to answers of our own: redirects, refusals, errors. Cold, and paid only where the
/// route has rules.
extension Worker {
    /// `field`, and what the rules of a request that is in `requestHead` and has no exchange add.
    func ruled(
        _ field: AnswerField, _ slot: Int, _ head: Span<UInt8>, by policy: Int32
    ) -> AnswerField {
        guard let rules = rules(policy)?.head else { return field }
        var field = field
        field.lines += rules.ownAnswerLines(
            isSecure: channels[transport(slot)].pointee.flags.contains(.isTLS),
            templateValues(slot, rules.responseVariables, head), head)
        return field
    }

    /// The same for an exchange that is to be answered by us. Before it is abandoned.
    func ruledField(of exchange: Int) -> AnswerField {
        guard let rules = rules(exchanges[exchange].pointee.rules)?.head else { return .none }
        let client = Int(exchanges[exchange].pointee.downstream)
        let (values, text) = keptValues(exchange)
        var field = AnswerField.none
        field.lines = rules.ownAnswerLines(
            isSecure: channels[transport(client)].pointee.flags.contains(.isTLS), values,
            text.bindMemory(to: UInt8.self).span)
        return field
    }
}
