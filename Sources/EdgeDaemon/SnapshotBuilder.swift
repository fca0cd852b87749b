internal import EdgeConfig
internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeTLS
internal import EdgeUpstream

/// Makes the workers' snapshots from a prepared configuration and the addresses known at the
/// moment. Pool numbers are given out once per key and kept, so that a reload leaves the
/// connections of unchanged pools alone. Control thread.
final class SnapshotBuilder {
    /// What connections and TLS sessions may be shared over (invariant 5): the upstream, whom it is
    /// trusted by, the certificate it is shown, and the name it is asked for.
    private struct PoolKey: Hashable {
        let upstream: String
        let isTLS: Bool
        let trust: ObjectIdentifier?
        let identity: ObjectIdentifier?
        let name: String?
    }

    private var numbers: [PoolKey: Int32] = [:]
    private var epoch: UInt64 = 0
    private var workers = 1

    /// - Parameters:
    ///   - workers: how many share each upstream's limits.
    ///   - addresses: what DNS knows of a name at the moment (ports 0).
    func build(
        _ preparation: Preparation, workers: Int, addresses: (String) -> [SocketAddress]
    ) -> RuntimeSnapshot {
        self.workers = max(workers, 1)
        epoch += 1
        let configuration = preparation.configuration
        var pools: [Int32: RuntimeSnapshot.Pool] = [:]
        var routes: [(pattern: String, route: RouteTable.Route)] = []
        for (index, site) in configuration.sites.enumerated() {
            let upstream = configuration.upstreams[site.upstream]
            for host in site.hosts {
                let pool = self.pool(upstream, host, preparation, addresses)
                pools[pool.id] = pool
                routes.append((host, .init(site: Int32(index), pool: pool.id)))
            }
        }
        let listeners = configuration.listeners.map { listener in
            let relay = configuration.upstreams.first { $0.name == listener.upstream }.map {
                pool($0, "", preparation, addresses)
            }
            if let relay { pools[relay.id] = relay }
            return RuntimeSnapshot.Listener(
                name: listener.name, isTLS: listener.kind == .tls,
                redirectPort: listener.redirectPort, relayPool: relay?.id,
                port: listener.addresses.first?.port ?? 0)
        }
        return RuntimeSnapshot(
            epoch: epoch, routes: RouteTable(routes), certificates: preparation.certificates,
            fallbackName: configuration.certificates?.fallback,
            tls: TLSPolicy(
                minimum: configuration.tls.minimumVersion == .tls13 ? .tls13 : .tls12,
                ticketLifetime: configuration.tls.ticketLifetime),
            listeners: listeners,
            pools: pools.values.sorted { $0.id < $1.id },
            timeouts: .init(
                handshake: configuration.timeouts.handshake,
                requestHead: configuration.timeouts.requestHead,
                keepAlive: configuration.timeouts.keepAlive, body: configuration.timeouts.body,
                tcp: configuration.timeouts.tcp, uploadMin: configuration.limits.uploadMin,
                downloadMin: configuration.limits.downloadMin),
            requestLimits: limits(configuration.limits.requestHeadBytes, configuration),
            responseLimits: limits(configuration.limits.responseHeadBytes, configuration),
            accessLog: preparation.accessLog, client: client(preparation))
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

    private func pool(
        _ upstream: UpstreamConfiguration, _ host: String, _ preparation: Preparation,
        _ addresses: (String) -> [SocketAddress]
    ) -> RuntimeSnapshot.Pool {
        let tls = upstream.tls.map { settings -> RuntimeSnapshot.PoolTLS in
            let trust: ClientTrust
            switch settings.verify {
            case .none: trust = .unverified
            case .full:
                trust = settings.authorityFile.flatMap { preparation.trusts[$0] } ?? .system
            }
            // The configuration allows a wildcard only with a name or without verification.
            let own = host.hasPrefix("*") ? nil : host
            return RuntimeSnapshot.PoolTLS(
                trust: trust, identity: settings.identity.flatMap { preparation.identities[$0] },
                name: settings.name ?? own)
        }
        let name = tls.flatMap { _ in
            upstream.tls?.name ?? (host.hasPrefix("*") ? nil : host)
        }
        let key = PoolKey(
            upstream: upstream.name, isTLS: tls != nil,
            trust: tls.map { ObjectIdentifier($0.trust) },
            identity: tls?.identity.map { ObjectIdentifier($0) }, name: name)
        let number = numbers[key] ?? Int32(numbers.count)
        numbers[key] = number
        return RuntimeSnapshot.Pool(
            id: number, upstream: upstream.name, members: members(upstream, addresses), tls: tls,
            sendsProxyHeader: upstream.sendsProxyHeader,
            memberMax: share(upstream.memberConnectionsMax ?? 0),
            queueMax: share(upstream.queueMax),
            queueTimeout: upstream.queueTimeout,
            connectTimeout: upstream.connectTimeout, responseTimeout: upstream.responseTimeout,
            bodyTimeout: upstream.bodyTimeout, idleTimeout: upstream.keepAlive)
    }

    /// A worker's part of what all of them may have together.
    private func share(_ total: Int) -> Int { (total + workers - 1) / workers }

    /// In the order of the configuration, each once.
    private func members(
        _ upstream: UpstreamConfiguration, _ addresses: (String) -> [SocketAddress]
    ) -> [SocketAddress] {
        var result: [SocketAddress] = []
        for server in upstream.servers {
            let found: [SocketAddress]
            switch server.host {
            case .address(let address): found = [address.with(port: server.port)]
            case .name(let name): found = addresses(name).map { $0.with(port: server.port) }
            }
            for address in found where !result.contains(address) { result.append(address) }
        }
        return result
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
}
