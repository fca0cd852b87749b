package import EdgeCore

/// What came back for one name: both address families, each for itself.
package struct NameAnswer: Sendable, Equatable {
    package var ipv4: FamilyAnswer
    package var ipv6: FamilyAnswer

    package init(ipv4: FamilyAnswer, ipv6: FamilyAnswer) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
    }

    /// All usable addresses, canonical.
    package var addresses: [SocketAddress] {
        NameMachine.canonical(
            [ipv4, ipv6].flatMap { family in
                if case .addresses(let list, _) = family { return list }
                return []
            })
    }

    /// Why there is no address; nil: there is one.
    package var failure: QueryFailure? {
        guard addresses.isEmpty else { return nil }
        for case .failed(let failure) in [ipv4, ipv6] { return failure }
        return self == NameAnswer(ipv4: .empty, ipv6: .empty) ? .empty : .unusableAddresses
    }

    /// The answer but for addresses that nobody can connect to, and those of the other family.
    package var usable: NameAnswer {
        NameAnswer(
            ipv4: ipv4.keeping(.unusableAddresses) { $0.isIPv4 && $0.isConnectable },
            ipv6: ipv6.keeping(.unusableAddresses) {
                !$0.isIPv4 && $0.isConnectable && !$0.needsInterface
            })
    }

    /// The answer but for addresses that are ours.
    package func without(_ own: Set<SocketAddress>) -> NameAnswer {
        NameAnswer(
            ipv4: ipv4.keeping(.ownAddress) { !own.contains($0.with(port: 0)) },
            ipv6: ipv6.keeping(.ownAddress) { !own.contains($0.with(port: 0)) })
    }
}

package enum FamilyAnswer: Sendable, Equatable {
    /// Not empty; ports 0. TTL in seconds.
    case addresses([SocketAddress], ttl: UInt32)
    /// A valid answer without an address of this family (NODATA).
    case empty
    case failed(QueryFailure)

    /// Some of its addresses; that failure if there are none of these.
    fileprivate func keeping(
        _ failure: QueryFailure, where isKept: (SocketAddress) -> Bool
    ) -> FamilyAnswer {
        guard case .addresses(let list, let ttl) = self else { return self }
        let rest = list.filter(isKept)
        return rest.isEmpty ? .failed(failure) : .addresses(rest, ttl: ttl)
    }
}

/// Why a query gave no address. None of these ever removes one.
package enum QueryFailure: Sendable, Hashable {
    case timeout
    case serverFailure
    case refused
    case nameNotFound
    case empty
    case malformed
    case notImplemented
    /// The server cannot be reached; of the system's own list also if each answered SERVFAIL,
    /// NOTIMP or REFUSED: c-ares goes on to the next one then and does not say why.
    case noServerUsable
    /// A response code that is none of these (RFC 1035 §4.1.1, RFC 6895 §2.3).
    case responseCode(UInt8)
    /// Only addresses nobody can connect to (0.0.0.0, ::, multicast, broadcast, link-local).
    case unusableAddresses
    /// Only addresses that are ours.
    case ownAddress
    /// Our own: the name cannot be put into a query.
    case badName
    /// Our own: no channel could be made (descriptors, memory).
    case noChannel
    /// Our own: the channel was closed for a reload. Asked again at once.
    case cancelled
    /// A c-ares status without a case here.
    case unexpected(Int32)

    /// The words for status and log.
    package var label: String {
        if case .unexpected(let code) = self { return "unexpected_\(code)" }
        if case .responseCode(let code) = self { return "response_code_\(code)" }
        return snakeCase("\(self)")
    }
}

extension SocketAddress {
    /// Whether a connection to this address can mean another host: not unspecified, not
    /// multicast, not broadcast. Some resolvers answer 0.0.0.0 for what they block.
    var isConnectable: Bool {
        if isIPv4 { return ipv4 >> 24 != 0 && ipv4 >> 28 != 0xE && ipv4 != .max }
        return !(high == 0 && low == 0) && high >> 56 != 0xFF
    }

    /// Whether one has to say on which interface (fe80::/10, RFC 4291 §2.5.6), which DNS can't.
    var needsInterface: Bool { !isIPv4 && high >> 54 == 0x3FA }

    /// IPv4 first, then by value: rotation by the server is no change.
    static func canonicalOrder(_ left: SocketAddress, _ right: SocketAddress) -> Bool {
        if left.isIPv4 != right.isIPv4 { return left.isIPv4 }
        return (left.high, left.low) < (right.high, right.low)
    }
}
