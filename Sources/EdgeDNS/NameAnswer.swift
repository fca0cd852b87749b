package import EdgeCore

/// What came back for one name: both address families, each for itself.
package struct NameAnswer: Sendable, Equatable {
    package var ipv4: FamilyAnswer
    package var ipv6: FamilyAnswer

    package init(ipv4: FamilyAnswer, ipv6: FamilyAnswer) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
    }
}

package enum FamilyAnswer: Sendable, Equatable {
    /// Not empty; ports 0. TTL in seconds.
    case addresses([SocketAddress], ttl: UInt32)
    /// A valid answer without an address of this family (NODATA).
    case empty
    case failed(QueryFailure)
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
    /// No server could be reached or, if there are several, each also may have answered SERVFAIL,
    /// NOTIMP or REFUSED: c-ares goes on to the next one then and does not say why.
    case noServerUsable
    /// Only addresses nobody can connect to (0.0.0.0, ::, multicast, broadcast).
    case unusableAddresses
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

    /// IPv4 first, then by value: rotation by the server is no change.
    static func canonicalOrder(_ left: SocketAddress, _ right: SocketAddress) -> Bool {
        if left.isIPv4 != right.isIPv4 { return left.isIPv4 }
        return (left.high, left.low) < (right.high, right.low)
    }
}
