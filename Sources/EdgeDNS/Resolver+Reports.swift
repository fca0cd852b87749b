package import EdgeCore
internal import EdgeSystem

extension Resolver {
    /// What one name or service looks like, for `status`.
    package struct NameReport: Sendable, Equatable {
        package let name: String
        package let state: NameState
        /// What was believed last, also if it is proposed no more; of a name with port 0, of a
        /// service with its records' ports.
        package let addresses: [SocketAddress]
        /// What the newest answer says, if that looks wrong.
        package let suspects: [SocketAddress]
        /// Since the last good answer; nil if there was none, and for literal addresses.
        package let age: Duration?
        /// Of the newest answer; nil if it was good.
        package let lastError: String?
        /// Name of the group that is asked; `hosts` for the hosts file, empty for an address.
        package let resolver: String
    }

    /// What one server of a group is worth, for `status`.
    package struct ServerReport: Sendable, Equatable {
        package let group: String
        /// Nil: the system's own list, where it cannot be asked server by server.
        package let address: SocketAddress?
        /// Queries that ended with an answer, and those without.
        package let answered: Int
        package let failed: Int
        /// Of the newest query; nil if it was good.
        package let lastError: String?
        /// Empty: nothing is wrong with it.
        package let degraded: [ServerWatch.Degradation]
    }

    /// What became of the file with remembered addresses.
    package struct StoreReport: Sendable, Equatable {
        /// Whether the file that was there at the start could not be used.
        package let isRefused: Bool
        package let writes: Int
        package let writeFailures: Int
        package let lastError: String?
    }

    /// All names, then all services, sorted.
    package var report: [NameReport] {
        let now = Instant.now()
        let names = cache.names.compactMap { cache[$0] }.map { machine in
            let isLiteral = machine.activity == .literal
            return NameReport(
                name: machine.name, state: machine.state, addresses: machine.addresses,
                suspects: machine.suspects,
                age: isLiteral ? nil : machine.confirmation.age(now: now),
                lastError: machine.lastFailure?.label,
                resolver: isLiteral ? "" : resolverName(machine.name))
        }
        let services = cache.serviceNames.compactMap { cache[service: $0] }.map { service in
            let proposal = proposal(for: service.name)
            let trusted = proposal.isSuspicious ? proposal.trusted : proposal.endpoints
            return NameReport(
                name: service.name, state: service.state,
                addresses: trusted.map(\.address),
                suspects: proposal.isSuspicious ? proposal.endpoints.map(\.address) : [],
                age: service.confirmation.age(now: now), lastError: service.lastFailure?.label,
                resolver: group(groupIndex(for: service.name)).name)
        }
        return names + services
    }

    private func resolverName(_ name: String) -> String {
        fromHosts.contains(name) ? "hosts" : group(groupIndex(for: name)).name
    }

    /// All servers that were asked so far, group by group.
    package var serverReports: [ServerReport] {
        knownServers.sorted { ($0.group, $0.number) < ($1.group, $1.number) }.map { server in
            ServerReport(
                group: server.groupName, address: server.address, answered: server.watch.answered,
                failed: server.watch.failed, lastError: server.watch.lastFailure?.label,
                degraded: server.watch.degraded)
        }
    }

    /// Nil: nothing is remembered.
    package var storeReport: StoreReport? {
        store.map {
            StoreReport(
                isRefused: $0.isRefused, writes: $0.writes, writeFailures: $0.writeFailures,
                lastError: $0.lastError)
        }
    }
}
