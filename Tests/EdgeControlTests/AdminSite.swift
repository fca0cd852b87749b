import EdgeCore
import EdgeSystem
import Glibc
import Synchronization

@testable import EdgeControl
@testable import EdgeControlAPI

/// An admin server on a loop thread of its own, with real sockets and a target that says what it
/// is told to.
final class AdminSite: Sendable {
    struct Script: Sendable {
        var status = Samples.status
        var isReady = (true, "")
        var views: [String: (Bool, String)] = [:]
        var reload = ReloadReply(outcome: .reloaded, epoch: 4, milliseconds: 1)
        /// Nil: the reload never ends.
        var reloadDelay: Duration? = .zero
        var reloads: [PeerCredentials] = []
        var reloadOptions: [ReloadOptions] = []
        var plan: Result<ReloadPlanReply, OrderRefusal> = .success(OperationSamples.plan)
        var confirm: Result<ConfirmReply, OrderRefusal> = .success(ConfirmReply(epoch: 4))
        var upgrade: Result<UpgradeReply, OrderRefusal> = .success(
            UpgradeReply(outcome: .upgraded, version: "0.2.0", milliseconds: 350))
        /// Nil: there is no other node.
        var pairReload: Result<ReloadReply, OrderRefusal>?
        var nodeRefusal: OrderRefusal?
        var yield: Result<VIPYieldReply, OrderRefusal> = .success(OperationSamples.yielded)
        var figures = OperationSamples.figures
        var incidents = OperationSamples.incidents
        var doctor = OperationSamples.doctor
        var limitRefusal: OrderRefusal?
        var limitOrders: [LimitOrder] = []
        var orders: [String] = []
        var orderResult = MemberOrderResult.done
        var isStopped = false
        var port: UInt16 = 0
        var probePort: UInt16 = 0
        var poster: PollLoop.Poster?
    }

    let path: String
    private let script = Mutex(Script())
    private static let count = Atomic<Int>(0)

    init(stageDeadline: Duration = .seconds(5), _ change: (inout Script) -> Void = { _ in }) {
        let number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
        path = "/tmp/edged-admin-\(getpid())-\(number).sock"
        script.withLock { change(&$0) }
        startThread { [self] in
            do {
                try serve(stageDeadline)
            } catch {
                print("admin site: \(error)")
            }
        }
        while script.withLock({ $0.poster == nil }) { usleep(1000) }
    }

    var port: UInt16 { read(\.port) }

    var probePort: UInt16 { read(\.probePort) }

    func read<Value: Sendable>(_ get: (Script) -> Value) -> Value { script.withLock { get($0) } }

    func stop() {
        script.withLock {
            $0.isStopped = true
            $0.poster?.post {}
        }
    }

    private func serve(_ stageDeadline: Duration) throws {
        let loop = try PollLoop()
        let unix = try UnixListener(path: path, group: nil)
        let tcp = try ListenerGroup(address: SocketAddress(ipv4: 0x7F00_0001, port: 0), count: 1)
        try tcp.listen()
        let probe = try ListenerGroup(address: SocketAddress(ipv4: 0x7F00_0001, port: 0), count: 1)
        try probe.listen()
        let target = ScriptedTarget(script: self, loop: loop)
        let server = ControlServer(loop: loop, target: target, stageDeadline: stageDeadline)
        try server.listen(
            unixSockets: [unix.socket], tcpSockets: tcp.sockets, probeSockets: probe.sockets)
        script.withLock {
            $0.port = tcp.address.port
            $0.probePort = probe.address.port
            $0.poster = loop.poster
        }
        while !script.withLock({ $0.isStopped }) { loop.runOnce(maxWait: nil) }
        server.close()
        withExtendedLifetime(unix) {}
    }

    private final class ScriptedTarget: ControlTarget {
        private let site: AdminSite
        private let loop: PollLoop

        init(script: AdminSite, loop: PollLoop) {
            site = script
            self.loop = loop
        }

        func status() -> StatusReply { site.read(\.status) }

        func reloadPair(
            by peer: PeerCredentials,
            completion: @escaping (Result<ReloadReply, OrderRefusal>) -> Void
        ) {
            completion(
                site.read(\.pairReload) ?? .failure(OrderRefusal("there is no other node")))
        }

        func metrics(into text: inout String) { text += "edged_up 1\n" }
        func traffic(completion: @escaping ([UInt8]) -> Void) {
            completion(Array("edged_more 2\n".utf8))
        }
        func effectiveConfiguration() -> ConfigurationReply? {
            site.read(\.isReady).0
                ? ConfigurationReply(path: "/etc/edged.yaml", text: "version: 1  # default\n") : nil
        }

        func explain(_ question: ExplainQuestion) -> Result<ExplainReply, ExplainRefusal> {
            guard question.view != "none" else { return .failure(.unknown("no such view")) }
            var reply = ExplainReply(outcome: .forwarded, verdict: "sent to upstream app")
            reply.steps = question.parameters.map { ExplainStep($0.name, $0.value) }
            reply.members = [ExplainMember(address: "10.0.0.1:80", state: "up")]
            return .success(reply)
        }

        func certificates() -> CertificatesReply { CertificateRouteTests.reply }

        func isReady() -> (Bool, String) { site.read(\.isReady) }
        func isReady(view: String) -> (Bool, String)? { site.read(\.views)[view] }

        func setMember(
            upstream: String, address: String, order: MemberOrder
        ) -> MemberOrderResult {
            site.script.withLock { script in
                script.orders.append("\(order.rawValue) \(upstream) \(address)")
                guard script.orderResult == .done else { return script.orderResult }
                for (index, found) in script.status.upstreams.enumerated()
                where found.name == upstream {
                    for (place, member) in found.members.enumerated()
                    where member.address == address {
                        script.status.upstreams[index].members[place].admin = order.rawValue
                    }
                }
                return .done
            }
        }

        func dnsRecords(view: String?) -> Result<DNSRecordsReply, DNSRecordsRefusal> {
            switch view {
            case "lan": .success(DNSExportTests.records)
            case "bare": .failure(.withoutAddresses("the view 'bare' has no addresses"))
            case nil: .failure(.unnamed("say which: bare, lan"))
            default: .failure(.unknown("did you mean 'lan'? defined: bare, lan"))
            }
        }

        func reload(
            by peer: PeerCredentials, options: ReloadOptions,
            completion: @escaping (ReloadReply) -> Void
        ) {
            site.script.withLock {
                $0.reloads.append(peer)
                $0.reloadOptions.append(options)
            }
            guard let delay = site.read(\.reloadDelay) else { return }
            let reply = site.read(\.reload)
            if delay == .zero { return completion(reply) }
            loop.schedule(after: delay) { completion(reply) }
        }

        func plan(completion: @escaping (Result<ReloadPlanReply, OrderRefusal>) -> Void) {
            completion(site.read(\.plan))
        }

        func confirm(
            by peer: PeerCredentials,
            completion: @escaping (Result<ConfirmReply, OrderRefusal>) -> Void
        ) {
            completion(site.read(\.confirm))
        }

        func upgrade(
            by peer: PeerCredentials,
            completion: @escaping (Result<UpgradeReply, OrderRefusal>) -> Void
        ) {
            completion(site.read(\.upgrade))
        }

        func setNode(
            _ order: NodeOrder, completion: @escaping (Result<NodeReply, OrderRefusal>) -> Void
        ) {
            let result: Result<NodeReply, OrderRefusal> = site.script.withLock { script in
                if let refusal = script.nodeRefusal { return .failure(refusal) }
                script.orders.append("node \(order.rawValue)")
                script.status.drainedSince = order == .drain ? 1000 : nil
                return .success(
                    NodeReply(
                        order: order, drainedSince: script.status.drainedSince, connections: 12))
            }
            completion(result)
        }

        func vip() -> VIPReply? { site.read(\.status.vip) }

        func yieldVIP(
            isForced: Bool, completion: @escaping (Result<VIPYieldReply, OrderRefusal>) -> Void
        ) {
            site.script.withLock { $0.orders.append("yield\(isForced ? " force" : "")") }
            completion(site.read(\.yield))
        }

        func figures() -> FiguresReply { site.read(\.figures) }
        func incidents() -> IncidentsReply { site.read(\.incidents) }
        func doctor() -> DoctorReply { site.read(\.doctor) }

        func limits() -> LimitsReply { LimitSamples.limits }
        func limitTop() -> LimitTopReply { LimitSamples.top }

        func limitClient(_ text: String) -> Result<LimitClientReply, OrderRefusal> {
            guard text != "here" else { return .failure(OrderRefusal("'here' is no address")) }
            var reply = LimitSamples.client
            reply.client = text
            return .success(reply)
        }

        func orderLimits(_ order: LimitOrder) -> Result<LimitOrderReply, OrderRefusal> {
            site.script.withLock { $0.limitOrders.append(order) }
            if let refusal = site.read(\.limitRefusal) { return .failure(refusal) }
            var until: Int64?
            if case .ban(_, let seconds) = order { until = 1000 + seconds }
            return .success(
                LimitOrderReply(
                    order: order.word, client: order.client, until: until, changed: 1))
        }
    }
}

func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { context in
            Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
    pthread_detach(thread)
}

/// Runs a command; standard error goes with standard output.
func shell(_ command: String) -> (status: Int32, output: String) {
    guard let pipe = popen(command + " 2>&1", "r") else { return (-1, "popen") }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&chunk, 1, chunk.count, pipe)
        if count == 0 { break }
        output += chunk[..<count]
    }
    let status = pclose(pipe)
    return (status >> 8 & 0xFF, String(decoding: output, as: UTF8.self))
}

/// Sends bytes over the admin socket and returns all that comes until the server closes.
func talk(_ path: String, _ text: String, within span: Duration = .seconds(5)) throws -> String {
    let socket = try rawSocket(path, within: span)
    try socket.send(Array(text.utf8))
    return try drain(socket)
}
