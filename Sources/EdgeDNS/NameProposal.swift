package import EdgeCore

/// One place where a name or a service is found, as DNS has it.
package struct ProposedEndpoint: Sendable, Hashable {
    /// Port 0 for a name; a service's records say the port.
    package let address: SocketAddress
    /// Its part of the traffic beside the others'; 1 to 256.
    package let weight: Int
    /// Of its SRV record; 0 for a name.
    package let priority: UInt16
    /// Whether another record of the service has a lower priority (RFC 2782: contacted first).
    package let isBackup: Bool

    package init(
        address: SocketAddress, weight: Int = 1, priority: UInt16 = 0, isBackup: Bool = false
    ) {
        self.address = address
        self.weight = weight
        self.priority = priority
        self.isBackup = isBackup
    }
}

/// What DNS says of a name or a service at the moment. Health disposes.
package struct NameProposal: Sendable, Equatable {
    /// Most per name or service.
    package static let endpointsMax = 64

    /// Of the newest answer that had any, in canonical order; of the disk before the first answer.
    package var endpoints: [ProposedEndpoint] = []
    /// Whether the newest query was answered with them, so that others need not be kept; else they
    /// are the last known. Of a service some may be the last known nevertheless.
    package var isConfirmed = false
    /// Whether the answer looks wrong: `endpoints` should displace nothing that works.
    package var isSuspicious = false
    /// Where `isSuspicious`: what was believed before, to be kept.
    package var trusted: [ProposedEndpoint] = []
    /// Something was known, and DNS has not confirmed it for longer than `stale`: it is not
    /// proposed any more. Without this an empty proposal says nothing.
    package var isExpired = false

    package init() {}

    /// Of a name.
    ///
    /// - Parameter own: never proposed.
    package init(_ machine: NameMachine, without own: Set<SocketAddress>) {
        func endpoints(_ addresses: [SocketAddress]) -> [ProposedEndpoint] {
            addresses.filter { !own.contains($0) }.map { ProposedEndpoint(address: $0) }
        }
        isExpired = machine.confirmation.isExpired && !machine.addresses.isEmpty
        let known = isExpired ? [] : endpoints(machine.addresses)
        let suspects = endpoints(machine.suspects)
        isSuspicious = !suspects.isEmpty
        self.endpoints = isSuspicious ? suspects : known
        trusted = isSuspicious ? known : []
        isConfirmed = machine.confirmation.isNewest && !isSuspicious && !known.isEmpty
    }

    /// Of a service whose targets are proposed so.
    ///
    /// - Parameter isAsked: whether a target has been asked for, with whatever success.
    package init(
        _ service: ServiceMachine, isAsked: (String) -> Bool, targets: (String) -> NameProposal
    ) {
        let records = service.records
        guard !service.confirmation.isExpired else {
            isExpired = !records.isEmpty
            return
        }
        let proposals = records.map { targets($0.target) }
        endpoints = Self.merge(records, proposals.map(\.endpoints))
        isExpired = !records.isEmpty && proposals.allSatisfy { $0.isExpired }
        isSuspicious = proposals.contains(where: \.isSuspicious)
        if isSuspicious {
            trusted = Self.merge(
                records, proposals.map { $0.isSuspicious ? $0.trusted : $0.endpoints })
        }
        // A target that has no address, or none that is confirmed, keeps nothing that has left.
        isConfirmed =
            service.confirmation.isNewest && service.candidates.isEmpty && !isSuspicious
            && proposals.contains(where: \.isConfirmed)
            && records.allSatisfy { isAsked($0.target) }
    }

    private static func merge(
        _ records: [ServiceRecord], _ addresses: [[ProposedEndpoint]]
    ) -> [ProposedEndpoint] {
        let lowest = records.map(\.priority).min() ?? 0
        let heaviest = max(records.map { Int($0.weight) }.max() ?? 1, 1)
        var seen: Set<SocketAddress> = []
        var result: [ProposedEndpoint] = []
        // Records are sorted by priority: an address with several is proposed with the lowest.
        for (record, found) in zip(records, addresses) {
            // RFC 2782: 0 is a very small chance, not none.
            let weight = heaviest > 256 ? Int(record.weight) * 256 / heaviest : Int(record.weight)
            for endpoint in found {
                let address = endpoint.address.with(port: record.port)
                guard seen.insert(address).inserted else { continue }
                result.append(
                    ProposedEndpoint(
                        address: address, weight: max(weight, 1), priority: record.priority,
                        isBackup: record.priority > lowest))
            }
        }
        return Array(result.prefix(endpointsMax))
    }
}
