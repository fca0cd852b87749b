internal import EdgeCore
package import EdgeSystem

extension MetricsText {
    /// What the board does not know.
    package struct BoardInfo {
        package var version: String
        /// Unix seconds.
        package var started: UInt64
        package var epoch: UInt64
        /// The label of a framing violation's index; nil: there is none of that index.
        package var violationLabel: (UInt8) -> String?

        package init(
            version: String, started: UInt64, epoch: UInt64,
            violationLabel: @escaping (UInt8) -> String?
        ) {
            self.version = version
            self.started = started
            self.epoch = epoch
            self.violationLabel = violationLabel
        }
    }

    /// Everything that is on the board, summed over its threads, and per worker what tells one
    /// worker from another.
    package mutating func board(_ board: SharedBoard, info: BoardInfo) {
        family("edged_build_info", .gauge, "Always 1; the version is the label.") { sample in
            sample([("version", info.version)], 1)
        }
        single(
            "edged_start_time_seconds", .gauge, "When this proxy started, in Unix seconds.",
            info.started)
        single(
            "edged_snapshot_epoch", .gauge, "Generation of the configuration in use.", info.epoch)
        let blocks = board.allBlocks
        responses(blocks)
        for counter in Counter.allCases where Self.statusClass(counter) == nil {
            let total = blocks.reduce(0) { $0 &+ $1.value(counter) }
            single(
                Self.name(counter), counter.isGauge ? .gauge : .counter, Self.help(counter), total)
        }
        failures(blocks, info)
        timings(blocks)
        perWorker(blocks)
    }

    private mutating func responses(_ blocks: [SharedBoard.Block]) {
        family("edged_responses_total", .counter, "Responses to clients.") { sample in
            for counter in Counter.allCases {
                guard let label = Self.statusClass(counter) else { continue }
                sample([("class", label)], blocks.reduce(0) { $0 &+ $1.value(counter) })
            }
        }
    }

    private mutating func failures(_ blocks: [SharedBoard.Block], _ info: BoardInfo) {
        family(
            "edged_failures_total", .counter, "Connections and requests that ended badly, and why."
        ) { sample in
            for reason in ReasonCode.allCases where reason != .none {
                sample(
                    [("reason", reason.label), ("blame", reason.blame.rawValue)],
                    blocks.reduce(0) { $0 &+ $1.value(reason) })
            }
        }
        family("edged_framing_violations_total", .counter, "HTTP/1 framing violations by kind.") {
            sample in
            for index in UInt8.min...UInt8.max {
                guard let label = info.violationLabel(index) else { continue }
                sample(
                    [("violation", label)], blocks.reduce(0) { $0 &+ $1.violations(index) })
            }
        }
    }

    private mutating func timings(_ blocks: [SharedBoard.Block]) {
        for timing in Timing.allCases {
            let buckets = (0..<Timing.bucketCount).map { bucket in
                (
                    bound: Timing.bound(of: bucket),
                    count: blocks.reduce(0) { $0 &+ $1.value(timing, bucket: bucket) }
                )
            }
            histogram(
                "edged_\(timing.label)_seconds", Self.help(timing), buckets: buckets,
                sum: blocks.reduce(0) { $0 &+ $1.sum(timing) })
        }
    }

    private static func help(_ timing: Timing) -> String {
        switch timing {
        case .requestDuration: "From a request's first byte until it was over."
        case .upstreamResponse: "From a request's last byte until the answer's first."
        }
    }

    private mutating func perWorker(_ blocks: [SharedBoard.Block]) {
        let kinds: [(Counter, String)] = [
            (.connectionsOpen, "Client connections open, by worker."),
            (.requests, "Requests, by worker."), (.loopTurns, "Turns of the loop, by worker."),
            (.queueDelayMicroseconds, "The longest wait of work in the last second, by worker."),
            (
                .queueDelayPreferredMicroseconds,
                "The same of what is not of low priority, by worker."
            ),
        ]
        for (counter, help) in kinds {
            let name = Self.name(counter).replacingPrefix("edged_", with: "edged_worker_")
            family(name, counter.isGauge ? .gauge : .counter, help) { sample in
                for (index, block) in blocks.enumerated().dropFirst() {
                    sample([("worker", String(index))], block.value(counter))
                }
            }
        }
        family(
            "edged_worker_overloaded", .gauge,
            "1 while a worker refuses newcomers of low priority for lack of time."
        ) { sample in
            for (index, block) in blocks.enumerated().dropFirst() {
                sample([("worker", String(index))], block.overloadedSince == 0 ? 0 : 1)
            }
        }
        family(
            "edged_worker_snapshot_epoch", .gauge, "Configuration generation a worker uses."
        ) { sample in
            for (index, block) in blocks.enumerated().dropFirst() {
                sample([("worker", String(index))], block.epoch)
            }
        }
    }

    // MARK: - Names

    static func name(_ counter: Counter) -> String {
        "edged_" + counter.label + (counter.isGauge ? "" : "_total")
    }

    /// `2xx` for the counter of these responses; nil for another.
    private static func statusClass(_ counter: Counter) -> String? {
        switch counter {
        case .responses1xx: "1xx"
        case .responses2xx: "2xx"
        case .responses3xx: "3xx"
        case .responses4xx: "4xx"
        case .responses5xx: "5xx"
        default: nil
        }
    }

    /// The case's name in words: nothing to keep in step by hand.
    private static func help(_ counter: Counter) -> String {
        let words = counter.label.split(separator: "_").joined(separator: " ")
        return words.prefix(1).uppercased() + words.dropFirst()
            + (counter.isGauge ? ", now." : ", since the counters began.")
    }
}

extension String {
    fileprivate func replacingPrefix(_ prefix: String, with other: String) -> String {
        hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
    }
}
