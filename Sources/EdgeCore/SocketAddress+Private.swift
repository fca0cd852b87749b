/// The blocks of addresses that mean something else, or nothing, at another place of the network.
package enum PrivateBlock: String, Sendable, CaseIterable {
    /// RFC 1122 §3.2.1.3, RFC 4291 §2.5.3.
    case loopback
    /// RFC 3927, RFC 4291 §2.5.6.
    case linkLocal = "link-local"
    /// RFC 1918.
    case privateUse = "private"
    /// RFC 6598: between a provider's NAT and its customers.
    case shared
    /// RFC 4193.
    case uniqueLocal = "unique local"
}

extension SocketAddress {
    /// Nil: an address like any other, reachable from anywhere as far as addresses tell.
    package var privateBlock: PrivateBlock? {
        if isLoopback { return .loopback }
        guard isIPv4 else {
            if high >> 54 == 0x3FA { return .linkLocal }  // fe80::/10.
            return high >> 57 == 0x7E ? .uniqueLocal : nil  // fc00::/7.
        }
        if ipv4 >> 16 == 0xA9FE { return .linkLocal }  // 169.254.0.0/16.
        // 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16.
        if ipv4 >> 24 == 10 || ipv4 >> 20 == 0xAC1 || ipv4 >> 16 == 0xC0A8 { return .privateUse }
        return ipv4 >> 22 == 0x191 ? .shared : nil  // 100.64.0.0/10.
    }
}
