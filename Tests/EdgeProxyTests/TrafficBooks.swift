import EdgeCore

@testable import EdgeProxy

/// What was counted per site and upstream, against everything else that counts.
extension Bench {
    /// Summed over the rows `sites`; cells as `SiteCells` has them.
    func siteCells(_ sites: Int32...) -> [UInt64] { siteCells(sites) }

    func siteCells(_ sites: [Int32]) -> [UInt64] {
        var sums = [UInt64](repeating: 0, count: SiteCells.count)
        sums.withUnsafeMutableBufferPointer { cells in
            for site in sites { worker.traffic.add(site: site, to: cells) }
        }
        return sums
    }

    /// As `UpstreamCells` has them.
    func upstreamCells(_ id: Int32 = 0) -> [UInt64] {
        var sums = [UInt64](repeating: 0, count: UpstreamCells.count)
        let row = TrafficTable.upstreamRow(id)
        sums.withUnsafeMutableBufferPointer { worker.traffic.add(upstream: row, to: $0) }
        return sums
    }

    /// By class of status; the first is "none".
    func classes(_ sites: Int32...) -> [UInt64] {
        Array(siteCells(sites)[SiteCells.classes..<SiteCells.classes + SiteCells.classCount])
    }

    /// Every request is in one row in the end, and what is under way is nowhere else.
    func trafficFaults() -> [String] {
        var faults: [String] = []
        var requests: UInt64 = 0
        var counted: UInt64 = 0
        for index in 0..<worker.exchangeSlots.touched {
            let state = worker.exchanges[index].pointee
            guard state.phase != .free else { continue }
            if !state.flags.contains(.relay) { requests += 1 }
            if state.flags.contains(.counted) { counted += 1 }
        }
        let ended = classesOfAll.reduce(0, +)
        if ended + requests != count(Counter.requests) {
            faults.append("\(ended) ended, \(requests) under way, \(count(.requests)) in all")
        }
        let active = (0..<Int32(8)).reduce(0) { $0 + upstreamCells($1)[UpstreamCells.active] }
        if active != counted { faults.append("\(active) of upstreams, \(counted) exchanges") }
        let open = (0..<UInt16(8)).reduce(0) { $0 + worker.traffic.connections(view: $1) }
        if open != count(.connectionsOpen) { faults.append("\(open) connections of views") }
        return faults
    }

    private var classesOfAll: [UInt64] { classes(0, 1, 2, 3, 4, 5, 6, 7) }
}
