internal import CEdge
package import EdgeCore
internal import Glibc

/// The addresses this machine has at the moment.
package enum InterfaceAddresses {
    /// Of all interfaces, loopback addresses left out, each once, ports 0.
    package static func read() throws(SystemError) -> [SocketAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { throw SystemError(errnoOf: "getifaddrs") }
        defer { freeifaddrs(list) }
        var result: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let raw = entry.ifa_addr else { continue }
            let size =
                Int32(raw.pointee.sa_family) == AF_INET6
                ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
            guard let address = SocketAddress(kernel: raw, byteCount: size), !address.isLoopback,
                !result.contains(address.with(port: 0))
            else { continue }
            result.append(address.with(port: 0))
        }
        return result
    }
}
