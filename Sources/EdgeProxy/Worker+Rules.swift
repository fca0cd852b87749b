internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeRouting

/// What rules say about requests and answers, carried out. Exchanges know their rules by number:
/// those of a configuration that has gone change nothing any more.
extension Worker {
    /// - Returns: nil also if they say nothing but what is limited.
    func rules(_ number: Int32) -> RequestRules? {
        guard number >= 0, Int(number) < ruleTraits.count, ruleTraits[Int(number)].hasMore else {
            return nil
        }
        return snapshot.routing.rules[Int(number)]
    }

    /// In `limits`; -1: nothing is limited.
    func limitPlan(_ number: Int32) -> Int32 {
        guard number >= 0, Int(number) < ruleTraits.count else { return -1 }
        return ruleTraits[Int(number)].limitPlan
    }

    // MARK: - Requests

    /// Whether the request may go on.
    ///
    /// - Returns: false if not: it has been answered.
    func permits(
        _ slot: Int, _ head: Span<UInt8>, _ route: Route, _ rules: RequestRules
    ) -> Bool {
        let access = snapshot.routing.access
        let verdict = access.verdict(
            policy: route.policy, client: downstreams[slot].pointee.peer,
            method: head.extracting(requestHead.methodRange.indices))
        switch verdict {
        case .forbidden:
            decline(slot, head, status: 403, .clientForbidden, by: route.policy)
            return false
        case .methodNotAllowed:
            let methods = Array(access.allowText(policy: route.policy).utf8)
            decline(
                slot, head, status: 405, .clientMethodNotAllowed, field: .allow(methods),
                by: route.policy)
            return false
        case .allow: break
        }
        if rules.isUnderMaintenance {
            decline(slot, head, status: 503, .maintenance, by: route.policy)
            return false
        }
        if let redirect = rules.redirect {
            let values = templateValues(slot, redirect.location.variables, head)
            let location = redirect.location.bytes(values, head)
            answerRedirect(slot, head, status: redirect.status, location, by: route.policy)
            return false
        }
        if let replaced = rules.head, !replaced.replacement.isEmpty, !route.isLiteral {
            // Nobody knows what the prefix is that would have to be replaced.
            decline(slot, head, status: 400, .clientBadRequest, by: route.policy)
            return false
        }
        return true
    }

    func templateValues(
        _ slot: Int, _ variables: TextTemplate.Variables, _ head: Span<UInt8>
    ) -> TemplateValues {
        let peer = downstreams[slot].pointee.peer
        let isTrusted =
            !snapshot.client.trusted.isEmpty && snapshot.client.trusted.contains(peer)
        return TemplateValues(
            variables, client: peer, requestID: (identifiers.next(), identifiers.next()),
            of: requestHead, head, keepsID: isTrusted)
    }

    /// The line that tells an upstream who its client is, by the certificate that was verified;
    /// empty if nobody asks, or there is none.
    func subjectLine(_ slot: Int, _ rules: RequestRules?) -> [UInt8] {
        guard let rules, !rules.subjectField.isEmpty,
            let subject = channels[transport(slot)].pointee.session?.clientSubject
        else { return [] }
        // OpenSSL writes control characters as `\` and two digits.
        let text = subject.utf8.filter { $0 >= 0x20 && $0 != 0x7F }
        return rules.subjectField + Array(": ".utf8) + text + Array("\r\n".utf8)
    }

    // MARK: - What answers need to know

    private static let keptText = 128

    /// Keeps of a request's head what the rules of its answer will ask for.
    ///
    /// - Returns: false without memory for it.
    func keepValues(
        _ exchange: Int, _ rules: HeadRules, _ context: ForwardingContext, _ head: Span<UInt8>
    ) -> Bool {
        let variables = rules.responseVariables.subtracting(.client)
        guard !variables.isEmpty else { return true }
        invariant(MemoryLayout<TemplateValues>.stride <= Self.keptText, "values fit in front")
        guard let chunk = chunks.take(Self.keptText + head.count) else { return false }
        var writer = ByteWriter(
            UnsafeMutableRawBufferPointer(
                start: chunk.bytes + Self.keptText, count: head.count))
        let values = TemplateValues(
            variables, client: context.client, requestID: context.requestID, of: requestHead,
            head, keepsID: context.isClientTrusted
        ).keeping(variables, from: head, into: &writer)
        chunk.bytes.storeBytes(of: values, as: TemplateValues.self)
        chunk.pointee.end = Int32(Self.keptText + writer.count)
        exchanges[exchange].pointee.kept = chunk
        return true
    }

    /// What is changed of the answer that goes to a client now.
    ///
    /// - Parameter body: is given the rules, nil if there are none, and what their values lie in,
    ///   and how many bytes they add at most.
    func withAnswerRules<Result>(
        _ client: Int, _ body: (ResponseRules?, Span<UInt8>, _ growth: Int) -> Result
    ) -> Result {
        let exchange = Int(downstreams[client].pointee.exchange)
        guard exchange >= 0, let head = rules(exchanges[exchange].pointee.rules)?.head else {
            return body(nil, Span(), 0)
        }
        let isSecure = channels[transport(client)].pointee.flags.contains(.isTLS)
        let (values, text) = keptValues(exchange)
        let growth = head.responseGrowthMax(fieldCount: responseHead.fields.count, values)
        return body(
            head.response(isSecure: isSecure, values), text.bindMemory(to: UInt8.self).span,
            growth)
    }

    /// What `keepValues` has kept, and the text that it lies in.
    func keptValues(_ exchange: Int) -> (TemplateValues, UnsafeRawBufferPointer) {
        let state = exchanges[exchange]
        if let kept = state.pointee.kept {
            let text = UnsafeRawBufferPointer(
                start: kept.bytes + Self.keptText,
                count: Int(kept.pointee.end) - Self.keptText)
            return (kept.bytes.loadUnaligned(as: TemplateValues.self), text)
        }
        let id = state.pointee.requestID
        let values = TemplateValues(
            client: downstreams[Int(state.pointee.downstream)].pointee.peer,
            requestID: (id.high, id.low))
        return (values, UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// What is left out of trailers too.
    func trailerEdits(_ exchange: Int, isRequest: Bool) -> FieldEdits? {
        guard exchange >= 0, let head = rules(exchanges[exchange].pointee.rules)?.head else {
            return nil
        }
        return isRequest ? head.requestEdits : head.responseEdits
    }
}
