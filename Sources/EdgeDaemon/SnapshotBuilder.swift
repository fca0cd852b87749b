internal import EdgeConfig
internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeLimits
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeTLS
internal import EdgeUpstream

/// Makes the workers' snapshots from a prepared configuration and the addresses known at the
/// moment. Pool numbers are given out once per key and kept, so that a reload leaves the
/// connections of unchanged pools alone. Control thread.
final class SnapshotBuilder {
    /// Whether the workers speak HTTP/2; else it is offered to nobody, whatever the configuration
    /// says.
    static let servesHTTP2 = true

    /// What connections and TLS sessions may be shared over (invariant 5): the upstream, what is
    /// spoken with it, whom it is trusted by, the certificate it is shown, and the name it is asked
    /// for.
    private struct PoolKey: Hashable {
        let lineage: Int32
        let trust: ObjectNumber?
        let identity: ObjectNumber?
    }

    /// What of that does not change when certificates are rotated.
    private struct Lineage: Hashable {
        let upstream: String
        let version: UpstreamProtocol
        let isTLS: Bool
        let name: String?
    }

    private var numbers: [PoolKey: Int32] = [:]
    private var lineages: [Lineage: Int32] = [:]
    /// Of upstreams, by name.
    private var viewNumbers: [String: Int32] = [:]
    private var routing = RoutingBuilder()
    /// Sites that are counted, as the newest snapshot has them.
    var traffic: TrafficRows { routing.traffic }
    private(set) var listenerNumbers = ListenerNumbers()
    private var epoch: UInt64 = 0
    private var workers = 1
    private let servesHTTP2: Bool
    /// Those in use; the next ones take their debts over.
    private var limits = LimitPlans()
    private var limitSource: (policies: [LimitPolicy], places: [LimitPlace]) = ([], [])
    private var limitFiles = LimitFiles()
    /// Of members' tokens. One for the process's life: upstreams keep what they were begun with.
    var secret = UpstreamSecret.random()

    init(servesHTTP2: Bool = SnapshotBuilder.servesHTTP2) { self.servesHTTP2 = servesHTTP2 }

    /// - Parameters:
    ///   - workers: how many share each upstream's limits.
    ///   - hasConnections: whether a listener's number is still in use.
    ///   - members: an upstream's, with the verdicts of the moment.
    func build(
        _ preparation: Preparation, workers: Int,
        hasConnections: (Int) -> Bool = { _ in false },
        members: (UpstreamConfiguration) -> [RankedMember]
    ) -> RuntimeSnapshot {
        self.workers = max(workers, 1)
        epoch += 1
        let configuration = preparation.configuration
        var groups = configuration.upstreams.map {
            Group(
                upstream: $0, trust: trust($0, preparation),
                identity: $0.tls?.identity.flatMap { preparation.identities[$0] },
                view: view($0, members($0)))
        }
        var pools: [Int32: RuntimeSnapshot.Pool] = [:]
        let listeners = configuration.listeners.map { listener in
            func pool(_ name: String?) -> Int32? {
                groups.firstIndex { $0.upstream.name == name }.map {
                    self.pool(&groups[$0], "", &pools)
                }
            }
            return RuntimeSnapshot.Listener(
                name: listener.name, isTLS: listener.kind == .tls,
                redirectPort: listener.redirectPort, relayPool: pool(listener.upstream),
                challengePool: pool(listener.challengeUpstream),
                port: listener.addresses.first?.port ?? 0,
                views: listener.views.isEmpty
                    ? nil : listener.views.map { configuration.views[$0].name })
        }
        let numbers = listenerNumbers.use(listeners, hasConnections: hasConnections)
        var policies = [[Int]](repeating: [], count: listenerNumbers.listeners.count)
        for (listener, number) in zip(configuration.listeners, numbers) {
            policies[number] = listener.rateLimits
        }
        let routing = routing.build(
            preparation, listeners: listenerNumbers.listeners, policies: policies
        ) { upstream, host in
            self.pool(&groups[upstream], host, &pools)
        }
        let http2 = self.http2(configuration.http2)
        planLimits(configuration.rateLimits.policies, preparation.limitFiles)
        return RuntimeSnapshot(
            epoch: epoch, routing: routing, certificates: preparation.certificates,
            tls: TLSPolicy(
                minimum: configuration.tls.minimumVersion == .tls13 ? .tls13 : .tls12,
                ticketLifetime: configuration.tls.ticketLifetime, offersHTTP2: http2.isEnabled),
            listeners: listenerNumbers.listeners, listenerNumbers: numbers,
            pools: pools.values.sorted { $0.id < $1.id },
            timeouts: .init(
                handshake: configuration.timeouts.handshake,
                requestHead: configuration.timeouts.requestHead,
                keepAlive: configuration.timeouts.keepAlive, body: configuration.timeouts.body,
                tcp: configuration.timeouts.tcp, uploadMin: configuration.limits.uploadMin,
                downloadMin: configuration.limits.downloadMin,
                drain: configuration.process.drainDeadline),
            requestLimits: limits(configuration.limits.requestHeadBytes, configuration),
            responseLimits: limits(configuration.limits.responseHeadBytes, configuration),
            accessLog: preparation.accessLog, client: client(preparation),
            http2: http2, limits: limits)
    }

    /// The same policies at the same places keep their plans, and what those have taken over.
    private func planLimits(_ policies: [LimitPolicy], _ files: LimitFiles) {
        let places = routing.limitPlaces
        guard
            limitSource.policies != policies || limitSource.places != places
                || !limitFiles.servesSame(as: files)
        else { return }
        limitSource = (policies, places)
        limitFiles = files
        limits = LimitPlans(
            policies, files: files.ranges, places: places, succeeding: limits, now: .now())
    }

    private func http2(_ configuration: HTTP2Configuration) -> HTTP2Settings {
        var settings = HTTP2Settings()
        settings.isEnabled = configuration.isEnabled && servesHTTP2
        settings.streamsMax = configuration.streamsMax
        settings.streamWindow = configuration.streamWindow
        settings.memoryMax = configuration.memoryMax
        settings.continuationsMax = configuration.continuationsMax
        settings.resets = configuration.resets
        settings.pings = configuration.pings
        settings.settings = configuration.settings
        settings.priorities = configuration.priorities
        settings.windowUpdates = configuration.windowUpdates
        settings.emptyData = configuration.emptyData
        settings.unknownFrames = configuration.unknownFrames
        return settings
    }

    private func client(_ preparation: Preparation) -> ClientPolicy {
        let requests = preparation.configuration.requests
        var policy = ClientPolicy()
        policy.clientHello = requests.clientHello.nanoseconds
        policy.tunnel = requests.tunnel.nanoseconds
        policy.requestBodyMax = requests.bodyBytes.map { UInt64($0) } ?? .max
        policy.trusted = CIDRList(requests.trusted)
        policy.sendsForwarded = requests.sendsForwarded
        policy.passesUnderscores = requests.passesUnderscores
        policy.trace =
            switch requests.trace {
            case .off: .off
            case .pass: .pass
            case .start: .start
            case .restart: .restart
            }
        policy.errorPages = preparation.errorPages
        policy.upgrades = preparation.configuration.sites.map {
            $0.upgrades.map { UpgradeProtocol($0) }
        }
        return policy
    }

    private func limits(_ headBytes: Int, _ configuration: Configuration) -> HeadLimits {
        var limits = HeadLimits()
        limits.headBytesMax = headBytes
        limits.requestLineBytesMax = min(headBytes, configuration.requests.lineBytes)
        limits.fieldsMax = configuration.limits.headerFields
        limits.trailersBytesMax = configuration.requests.trailerBytes
        limits.chunkExtensionBytesMax = configuration.requests.chunkExtensionBytes
        return limits
    }

    /// What all pools of one upstream have in common, found out once per snapshot.
    private struct Group {
        let upstream: UpstreamConfiguration
        /// Nil: plaintext.
        let trust: ClientTrust?
        let identity: ClientIdentity?
        let view: UpstreamView
        /// The pool of all sites, if the name it asks for is not the site's.
        var shared: Int32?
    }

    private func trust(
        _ upstream: UpstreamConfiguration, _ preparation: Preparation
    ) -> ClientTrust? {
        upstream.tls.map { preparation.files.trust($0) }
    }

    /// What is spoken with an upstream: without TLS there is no choice to leave to it.
    private func version(_ upstream: UpstreamConfiguration) -> UpstreamProtocol {
        guard servesHTTP2 else { return .http1 }
        switch upstream.version {
        case .http1: return .http1
        case .http2: return .http2
        case .auto: return upstream.tls == nil ? .http1 : .auto
        }
    }

    /// What workers count an upstream under; nil: no snapshot has had it.
    func number(ofUpstream name: String) -> Int32? { viewNumbers[name] }

    /// The number of the pool for a host; it is in `pools` from then on.
    private func pool(
        _ group: inout Group, _ host: String, _ pools: inout [Int32: RuntimeSnapshot.Pool]
    ) -> Int32 {
        if let shared = group.shared { return shared }
        let upstream = group.upstream
        // The configuration allows a wildcard only with a name or without verification.
        let own = host.hasPrefix("*") ? nil : host
        let name = upstream.tls.flatMap { $0.name ?? own }
        let version = self.version(upstream)
        let line = Lineage(
            upstream: upstream.name, version: version, isTLS: group.trust != nil, name: name)
        let lineage = lineages[line] ?? Int32(lineages.count)
        lineages[line] = lineage
        let key = PoolKey(
            lineage: lineage, trust: group.trust?.number, identity: group.identity?.number)
        let number = numbers[key] ?? Int32(numbers.count)
        numbers[key] = number
        if upstream.tls == nil || upstream.tls?.name != nil { group.shared = number }
        guard pools[number] == nil else { return number }
        pools[number] = RuntimeSnapshot.Pool(
            id: number, lineage: lineage, view: group.view,
            tls: group.trust.map {
                RuntimeSnapshot.PoolTLS(trust: $0, identity: group.identity, name: name)
            },
            version: version, sendsProxyHeader: upstream.sendsProxyHeader,
            queueMax: share(upstream.queueMax), queueTimeout: upstream.queueTimeout,
            connectTimeout: upstream.connectTimeout, responseTimeout: upstream.responseTimeout,
            bodyTimeout: upstream.bodyTimeout, idleTimeout: upstream.keepAlive)
        return number
    }

    /// A worker's part of what all of them may have together.
    private func share(_ total: Int) -> Int { (total + workers - 1) / workers }

    private func view(
        _ upstream: UpstreamConfiguration, _ members: [RankedMember]
    ) -> UpstreamView {
        let number = viewNumbers[upstream.name] ?? Int32(viewNumbers.count)
        viewNumbers[upstream.name] = number
        return UpstreamView(
            id: number, name: upstream.name, members: members, balance: upstream.balance,
            sticky: upstream.sticky, slowStart: upstream.slowStart,
            tellsFailures: upstream.ejection?.consecutive ?? 0, retries: upstream.retries,
            memberMax: share(upstream.memberConnectionsMax ?? 0),
            requestsMax: share(upstream.requestsMax ?? 0), raceAfter: upstream.raceAfter,
            retriesAlways: share(100), secret: secret)
    }

    /// The newest snapshot with other verdicts about some upstreams' members.
    func update(
        _ snapshot: RuntimeSnapshot, members: [String: [RankedMember]]
    ) -> RuntimeSnapshot {
        var views: [Int32: UpstreamView] = [:]
        for pool in snapshot.pools where views[pool.view.id] == nil {
            if let members = members[pool.view.name] {
                views[pool.view.id] = pool.view.with(members: members)
            }
        }
        epoch += 1
        return RuntimeSnapshot(snapshot, epoch: epoch, views: views)
    }
}

extension Configuration {
    /// Names that DNS is asked for.
    var upstreamNames: Set<String> {
        var names: Set<String> = []
        for server in upstreams.flatMap(\.servers) {
            if case .name(let name) = server.host { names.insert(name) }
        }
        return names
    }

    /// Names and services.
    var allNames: Set<String> { upstreamNames.union(serviceNames) }

    /// And those of SRV records.
    var serviceNames: Set<String> {
        var names: Set<String> = []
        for server in upstreams.flatMap(\.servers) {
            if case .service(let name) = server.host { names.insert(name) }
        }
        return names
    }
}
