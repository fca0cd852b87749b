internal import EdgeCore
internal import EdgeHTTP

/// Traces that requests are part of (W3C Trace Context): passed on, or begun here. We record no
/// spans, so a trace that is passed on keeps its parent.
extension Worker {
    /// What becomes of the trace fields of the request in `requestHead`.
    ///
    /// - Parameter id: of the request.
    @inline(never)
    func trace(
        _ exchange: Int, _ head: Span<UInt8>, isTrusted: Bool, id: (high: UInt64, low: UInt64)
    ) -> TracePassage {
        let policy = snapshot.client.trace
        if policy == .off { return .asTheyAre }
        let isBelieved = policy != .restart || isTrusted
        if isBelieved, requestHead.hasTrace, let trace = TraceContext(requestHead.fields, head) {
            logTrace(exchange, trace)
            return .asTheyAre
        }
        guard policy != .pass else { return .dropped }
        logTrace(exchange, TraceContext(requestID: id))
        return .begun
    }

    private func logTrace(_ exchange: Int, _ trace: TraceContext) {
        guard exchanges[exchange].pointee.flags.contains(.logged) else { return }
        let record = accessLog.record(exchange)
        record.pointee.traceHigh = trace.high
        record.pointee.traceLow = trace.low
    }
}
