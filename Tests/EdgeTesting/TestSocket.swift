internal import CEdge
package import EdgeCore
internal import Foundation
internal import Glibc

/// Sockets for tests. Functions that make one take the network namespace it shall live in.
package enum TestSocket {
    static let stream = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    static let datagram = Int32(
        SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

    /// A listening TCP socket, non-blocking. Port 0 lets the kernel choose.
    package static func listen(
        on address: SocketAddress, namespace: String? = nil, backlog: Int32 = 512
    ) throws -> Int32 {
        let descriptor = try bound(stream, address, namespace)
        guard Glibc.listen(descriptor, backlog) == 0 else {
            defer { close(descriptor) }
            throw KitError.system("listen \(address)")
        }
        return descriptor
    }

    /// A bound UDP socket, non-blocking.
    package static func bindDatagram(
        _ address: SocketAddress, namespace: String? = nil
    ) throws -> Int32 {
        try bound(datagram, address, namespace)
    }

    /// A socket whose connection to `address` has begun; poll for writing, then look at `error`.
    package static func startConnect(
        to address: SocketAddress, from source: SocketAddress? = nil, namespace: String? = nil
    ) throws -> Int32 {
        let family = address.isIPv4 ? AF_INET : AF_INET6
        let descriptor = try inNamespace(namespace) { socket(family, stream, 0) }
        guard descriptor >= 0 else { throw KitError.system("socket") }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        if let source {
            guard source.withKernelForm({ bind(descriptor, $0, $1) }) == 0 else {
                defer { close(descriptor) }
                throw KitError.system("bind \(source)")
            }
        }
        let result = address.withKernelForm { connect(descriptor, $0, $1) }
        let number = errno
        guard result == 0 || number == EINPROGRESS else {
            defer { close(descriptor) }
            throw ConnectFailure(number: number)
        }
        return descriptor
    }

    /// The pending error of a socket, taken off it.
    package static func error(of descriptor: Int32) -> Int32 {
        var value: Int32 = 0
        var size = socklen_t(4)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &value, &size)
        return value
    }

    /// Closing sends RST instead of FIN from now on.
    package static func setResetOnClose(_ descriptor: Int32) {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    package static func localAddress(of descriptor: Int32) throws -> SocketAddress {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutableBytes(of: &storage) {
            getsockname(descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &size)
        }
        let address = withUnsafeBytes(of: &storage) {
            SocketAddress(kernel: $0.baseAddress!, byteCount: Int(size))
        }
        guard result == 0, let address else { throw KitError.system("getsockname") }
        return address
    }

    private static func bound(
        _ type: Int32, _ address: SocketAddress, _ namespace: String?
    ) throws -> Int32 {
        let family = address.isIPv4 ? AF_INET : AF_INET6
        let descriptor = try inNamespace(namespace) { socket(family, type, 0) }
        guard descriptor >= 0 else { throw KitError.system("socket") }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        guard address.withKernelForm({ bind(descriptor, $0, $1) }) == 0 else {
            defer { close(descriptor) }
            throw KitError.system("bind \(address)")
        }
        return descriptor
    }
}

/// Why a connection could not even begin.
package struct ConnectFailure: Error, Sendable {
    package let number: Int32
}

/// A TCP port of 127.0.0.1 that was free a moment ago, below the ephemeral range so that no
/// outgoing connection takes it meanwhile, and a different one on every call.
package func freePort() throws -> UInt16 {
    for _ in 0..<2000 {
        let port = UInt16(10_000 + nextPort.next() % 20_000)
        let address = SocketAddress(ipv4: 0x7F00_0001, port: port)
        // No SO_REUSEADDR trick: a daemon that binds the wildcard must find it free too.
        guard let stream = try? TestSocket.listen(on: address.with(host: 0)) else { continue }
        close(stream)
        guard let datagram = try? TestSocket.bindDatagram(address) else { continue }
        close(datagram)
        return port
    }
    throw KitError("no free port found")
}

/// Counts on from a place that differs between test processes.
private final class PortSequence: @unchecked Sendable {
    // Sendable: `value` is guarded by `lock`.
    private let lock = NSLock()
    private var value = Int(getpid()) &* 37

    func next() -> Int {
        lock.lock()
        defer { lock.unlock() }
        value += 1
        return value
    }
}

private let nextPort = PortSequence()

extension SocketAddress {
    /// 127.0.0.1, by default with a port of the kernel's choice.
    package static func loopback(_ port: UInt16 = 0) -> SocketAddress {
        SocketAddress(ipv4: 0x7F00_0001, port: port)
    }

    func with(host value: UInt32) -> SocketAddress { SocketAddress(ipv4: value, port: port) }

    func withKernelForm<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        let count = socklen_t(kernelByteCount)
        return withUnsafeMutableBytes(of: &storage) {
            write(to: $0.baseAddress!)
            return body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), count)
        }
    }
}
