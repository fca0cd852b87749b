internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import Glibc

/// What the admin socket orders of the node as a whole.
extension ProxyService {
    func plan(completion: @escaping (Result<ReloadPlanReply, OrderRefusal>) -> Void) {
        completion(.failure(OrderRefusal("a plan is not available yet", isUnavailable: true)))
    }

    func confirm(
        by peer: PeerCredentials,
        completion: @escaping (Result<ConfirmReply, OrderRefusal>) -> Void
    ) {
        completion(.failure(OrderRefusal("nothing waits to be confirmed")))
    }

    func upgrade(
        by peer: PeerCredentials,
        completion: @escaping (Result<UpgradeReply, OrderRefusal>) -> Void
    ) {
        completion(.failure(OrderRefusal("an upgrade is not available yet", isUnavailable: true)))
    }

    func setNode(_ order: NodeOrder) -> Result<NodeReply, OrderRefusal> {
        guard phase == .serving else {
            return .failure(OrderRefusal("the node does not serve", isUnavailable: true))
        }
        switch order {
        case .drain: operation.drainedSince = operation.drainedSince ?? Int64(time(nil))
        case .undrain: operation.drainedSince = nil
        }
        workers?.post(.dismissClients(order == .drain))
        return .success(
            NodeReply(
                order: order, drainedSince: operation.drainedSince, connections: openConnections))
    }

    /// Clients' connections that are open.
    private var openConnections: Int64 {
        guard let board else { return 0 }
        return (1...board.workers).reduce(0) {
            $0 + Int64(truncatingIfNeeded: board.block($1).value(Counter.connectionsOpen))
        }
    }

    func incidents() -> IncidentsReply {
        IncidentsReply(now: Int64(time(nil)), since: startedTime)
    }

    func doctor() -> DoctorReply { DoctorReply(checks: []) }

    // MARK: - Figures

    func figures() -> FiguresReply {
        let bounds = (0..<Timing.bucketCount).compactMap { Timing.bound(of: $0) }
        var reply = FiguresReply(
            nowMilliseconds: Int64(WallClock.now() / 1_000_000), started: startedTime,
            connections: openConnections, bounds: bounds.map { Int64($0 / 1000) },
            node: FigureRow(name: "", requests: 0))
        guard let board else { return reply }
        let blocks = (1...board.workers).map(board.block)
        func total(_ counter: Counter) -> Int64 {
            Int64(truncatingIfNeeded: blocks.reduce(0) { $0 &+ $1.value(counter) })
        }
        reply.node.requests = total(.requests)
        reply.node.active = total(.requestsActive)
        reply.node.results = [
            NamedCount("2xx", total(.responses2xx)), NamedCount("3xx", total(.responses3xx)),
            NamedCount("4xx", total(.responses4xx)), NamedCount("5xx", total(.responses5xx)),
        ]
        reply.node.durations = (0..<Timing.bucketCount).map { bucket in
            blocks.reduce(0) {
                $0 &+ Int64(truncatingIfNeeded: $1.value(.requestDuration, bucket: bucket))
            }
        }
        reply.workers = (1...board.workers).map { worker($0, board.block($0)) }
        return reply
    }
}
