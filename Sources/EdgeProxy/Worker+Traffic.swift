internal import EdgeCore

/// What is counted per site. Every request that `edged_requests_total` counts is in exactly one
/// row in the end: that of its site, or the one for all others.
extension Worker {
    /// For whoever asks what a change would touch: looked through, so that requests need not count
    /// themselves in and out.
    func countRequests() {
        var counts: [Int32: Int] = [:]
        for exchange in 0..<exchangeSlots.touched where exchanges[exchange].pointee.phase != .free {
            counts[exchanges[exchange].pointee.traffic, default: 0] += 1
        }
        report(.counted(worker: setup.index, counts))
    }

    /// An exchange is over. Relayed connections are no requests.
    // hot: once per request; no allocation.
    @inline(__always)
    func countEnd(_ exchange: Int) {
        let state = exchanges[exchange]
        guard !state.pointee.flags.contains(.relay) else { return }
        let row = siteRows.site(state.pointee.traffic)
        let status = state.pointee.status
        row.add(SiteCells.classes + Self.statusClass(status))
        if state.pointee.received > 0 { row.add(SiteCells.received, state.pointee.received) }
        row.add(SiteCells.sent, state.pointee.sent)
        if state.pointee.reason != .none { countFailure(row, state.pointee.reason) }
        // An upgraded connection lasts as long as people like.
        guard status != 101 else { return }
        let span = now.nanoseconds(since: state.pointee.times.begun)
        let bucket = Timing.bucket(of: span)
        block.observe(.requestDuration, bucket: bucket, span)
        row.add(SiteCells.durations + bucket)
        row.add(SiteCells.durationSum, span)
    }

    /// A request was answered that never became an exchange.
    func countDeclined(status: UInt16, _ reason: ReasonCode) {
        let row = siteRows.site(routedSite)
        row.add(SiteCells.classes + Self.statusClass(status))
        if reason != .none { countFailure(row, reason) }
    }

    private func countFailure(_ row: TrafficTable.Row, _ reason: ReasonCode) {
        switch reason.blame {
        case .nobody: break
        case .client: row.add(SiteCells.failures)
        case .edge: row.add(SiteCells.failures + 1)
        case .upstream: row.add(SiteCells.failures + 2)
        }
    }

    /// 0 where no answer was begun.
    @inline(__always)
    private static func statusClass(_ status: UInt16) -> Int {
        min(Int(status / 100), SiteCells.classCount - 1)
    }
}
