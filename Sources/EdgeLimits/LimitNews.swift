package import EdgeCore

/// What a worker's limits have come to since its last word, for whoever shows it. Made where
/// something was refused or counted; no names on the way there.
package struct LimitNews: Sendable {
    /// Of one policy.
    package struct Figures: Sendable, Equatable {
        /// Requests that were charged to it and passed.
        package var admitted: UInt64 = 0
        /// Requests and connections that it refused, banned and denied clients' included.
        package var refused: UInt64 = 0
        /// Those that it would have refused, were it not in shadow mode.
        package var shadow: UInt64 = 0
        /// Clients that it banned, or would have.
        package var bans: UInt64 = 0

        package init() {}

        package static func += (left: inout Figures, right: Figures) {
            left.admitted &+= right.admitted
            left.refused &+= right.refused
            left.shadow &+= right.shadow
            left.bans &+= right.bans
        }
    }

    /// Who was refused by what.
    package struct Refused: Sendable, Hashable {
        package var client: ClientNetwork
        /// Empty: a ban that an administrator has made.
        package var policy: String
        package var isShadow: Bool

        package init(client: ClientNetwork, policy: String, isShadow: Bool = false) {
            self.client = client
            self.policy = policy
            self.isShadow = isShadow
        }
    }

    /// A policy has banned somebody.
    package struct Banned: Sendable, Equatable {
        package var client: ClientNetwork
        package var policy: String
        package var span: Duration
        package var isShadow: Bool

        package init(client: ClientNetwork, policy: String, span: Duration, isShadow: Bool) {
            self.client = client
            self.policy = policy
            self.span = span
            self.isShadow = isShadow
        }
    }

    package var policies: [(name: String, figures: Figures)] = []
    package var refused: [TopTable<Refused>.Row] = []
    package var banned: [Banned] = []
    /// Bans of which nothing more than their number is told: there were too many at once.
    package var bannedMore = 0

    package init() {}

    package var isEmpty: Bool {
        policies.isEmpty && refused.isEmpty && banned.isEmpty && bannedMore == 0
    }
}

/// A client as limits see him: an address, or the network that it is in.
package struct ClientNetwork: Sendable, Hashable, BitwiseCopyable {
    /// The first address; port 0.
    package let base: SocketAddress
    /// 0…32 of IPv4, 0…128 of IPv6.
    package let bits: UInt8

    package init(_ address: SocketAddress, ipv4Bits: UInt8 = 32, ipv6Bits: UInt8 = 64) {
        let subject = LimitSubject(client: address, ipv4Bits: ipv4Bits, ipv6Bits: ipv6Bits)
        base =
            address.isIPv4
            ? SocketAddress(ipv4: UInt32(truncatingIfNeeded: subject.low), port: 0)
            : SocketAddress(ipv6High: subject.high, low: subject.low, port: 0)
        bits = address.isIPv4 ? ipv4Bits : ipv6Bits
    }

    /// `192.0.2.1`, `2001:db8::/64`, or a wider network of either.
    ///
    /// - Returns: nil if it is neither an address nor a block.
    package init?(_ text: String) {
        guard let block = CIDR(text) else { return nil }
        let isHost = !text.contains("/") && !block.base.isIPv4
        base = isHost ? ClientNetwork(block.base).base : block.base
        bits = isHost ? 64 : block.bits
    }

    /// The host of whom the same text speaks; of a block, its first.
    package static func host(_ text: String) -> SocketAddress? { CIDR(text)?.base }

    package var subject: LimitSubject {
        LimitSubject(client: base, ipv4Bits: bits, ipv6Bits: bits)
    }

    package func contains(_ address: SocketAddress) -> Bool {
        address.isIPv4 == base.isIPv4
            && LimitSubject(client: address, ipv4Bits: bits, ipv6Bits: bits) == subject
    }
}

extension ClientNetwork: CustomStringConvertible {
    /// An IPv4 address without its bits; everything else with them.
    package var description: String {
        base.isIPv4 && bits == 32 ? base.addressText : "\(base.addressText)/\(bits)"
    }
}
