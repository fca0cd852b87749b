internal import CEdge
internal import EdgeCore

/// The servers of resolv.conf.
enum SystemServers {
    /// Each server, to be asked by itself; nil stands for "as c-ares does it", where the file says
    /// something that an address and a port do not (a link-local server has an interface).
    static func read() -> [SocketAddress?] {
        _ = DNSChannel.library
        var channel: ares_channel?
        guard ares_init(&channel) == ARES_SUCCESS.status, let channel else { return [nil] }
        defer { ares_destroy(channel) }
        var list: UnsafeMutablePointer<ares_addr_port_node>?
        guard ares_get_servers_ports(channel, &list) == ARES_SUCCESS.status else { return [nil] }
        defer { ares_free_data(list) }
        var result: [SocketAddress?] = []
        var next = list
        while let node = next?.pointee, result.count < ResolverGroup.serversMax {
            next = node.next
            let address = address(node)
            if address.needsInterface { return [nil] }
            if !result.contains(address) { result.append(address) }
        }
        return result.isEmpty ? [nil] : result
    }

    private static func address(_ node: ares_addr_port_node) -> SocketAddress {
        let port = UInt16(exactly: node.udp_port).flatMap { $0 == 0 ? nil : $0 } ?? 53
        if node.family == AF_INET {
            return SocketAddress(ipv4: UInt32(bigEndian: node.addr.addr4.s_addr), port: port)
        }
        return withUnsafeBytes(of: node.addr.addr6) {
            SocketAddress(
                ipv6High: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                port: port)
        }
    }
}
