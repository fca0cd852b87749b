internal import CEdge
package import EdgeCore
internal import Glibc

/// The sockets of one listening address: one per worker, all bound to it (SO_REUSEPORT), fixed for
/// life. They listen only between `listen` and `stopListening`; bound but not listening, they
/// refuse connections and keep the address. Some or all may have been a former guardian's: those
/// listen from the start, and there may be more of them than workers, because closing one would
/// reset what waits in it.
package final class ListenerGroup {
    /// What they are bound to; with port 0 asked for, the port the kernel chose.
    package let address: SocketAddress
    /// Socket i is worker i's; those beyond the workers go round. Owned here.
    package let sockets: [Int32]
    /// How many of `sockets` were a former guardian's; the first ones.
    package let adoptedCount: Int
    package var isListening: Bool { state == .listening }

    private enum State {
        case bound
        /// Those of a former guardian listen, none has been told to by us.
        case adopted
        case listening
    }

    private var state: State

    /// Connections that wait to be accepted, per socket; the kernel caps it at net.core.somaxconn.
    package static let backlog: Int32 = 4096
    /// Sockets of one address, whoever made them.
    package static let socketsMax = 256

    /// Takes what is stored of the address, and binds sockets until there are `count`:
    /// non-blocking, close-on-exec, `::` dual-stack, other IPv6 addresses for IPv6 only. What they
    /// accept has TCP_NODELAY, and is probed when silent: a peer that is gone is known within 90 s.
    ///
    /// - Throws: the address with EADDRINUSE, EACCES, EADDRNOTAVAIL or another errno, with a hint.
    ///
    /// - Parameter isAbsent: the machine may not have the address (yet).
    package init(
        address: SocketAddress, count: Int, stored: StoredListeners? = nil, isAbsent: Bool = false
    ) throws(SystemError) {
        invariant(count > 0 && count <= Self.socketsMax, "a listener has a socket per worker")
        let owned = OwnedDescriptors(stored?.take(address, max: Self.socketsMax) ?? [])
        adoptedCount = owned.count
        do throws(SystemError) {
            for socket in owned.borrowed {
                try Self.prepare(socket, isIPv4: address.isIPv4)
                Self.openDoor(of: socket)
            }
            let bound = owned.count > 0 ? address : try Self.chosenAddress(address, isAbsent)
            while owned.count < count { owned.append(try Self.makeSocket(bound, isAbsent)) }
            self.address = bound
        } catch {
            // Nobody would serve them.
            for socket in owned.borrowed.prefix(adoptedCount) {
                Glibc.shutdown(socket, Int32(SHUT_RD))
            }
            throw error
        }
        state = adoptedCount > 0 ? .adopted : .bound
        sockets = owned.take()
    }

    /// Takes over what this process had as another program: they listen.
    package init(resuming address: SocketAddress, sockets: [Int32], adoptedCount: Int) {
        self.address = address
        self.sockets = sockets
        self.adoptedCount = min(adoptedCount, sockets.count)
        state = .listening
    }

    deinit {
        // The manager has them as well: what we never served must not go on listening there.
        if state == .adopted { stopListening() }
        for socket in sockets { Glibc.close(socket) }
    }

    /// What a service manager keeps the sockets under: `tcp,2001_db8__1,443`; it allows no colon.
    package var storeName: String {
        "tcp,\(String(address.addressText.map { $0 == ":" ? "_" : $0 })),\(address.port)"
    }

    /// Takes connections from now on, up to the backlog until somebody accepts.
    ///
    /// - Throws: EADDRINUSE if somebody else listens on the address by now.
    package func listen() throws(SystemError) {
        guard state != .listening else { return }
        for socket in sockets where Glibc.listen(socket, Self.backlog) != 0 {
            let error = Self.bindError("listen", address)
            for other in sockets { Glibc.shutdown(other, Int32(SHUT_RD)) }
            state = .bound
            throw error
        }
        state = .listening
    }

    /// Refuses connections from now on; those waiting in the backlog are reset. An accept that is
    /// pending on a socket fails with EINVAL. `listen` works again afterwards.
    package func stopListening() {
        guard state != .bound else { return }
        for socket in sockets { Glibc.shutdown(socket, Int32(SHUT_RD)) }
        state = .bound
    }

    /// Lets nobody begin a connection any more: SYNs are dropped, handshakes under way are
    /// finished and queued. Who is dropped tries again within a second, and is then told whatever
    /// holds by then. (A socket that is closed at once resets what it has queued, tried.)
    ///
    /// - Throws: what setsockopt says.
    package func closeDoor() throws(SystemError) {
        // Of a TCP header, the flags: SYN without ACK is dropped.
        var program: [sock_filter] = [
            sock_filter(code: 0x30, jt: 0, jf: 0, k: 13),  // load byte 13
            sock_filter(code: 0x54, jt: 0, jf: 0, k: 0x12),  // and SYN|ACK
            sock_filter(code: 0x15, jt: 0, jf: 1, k: 0x02),  // is it SYN alone?
            sock_filter(code: 0x06, jt: 0, jf: 0, k: 0),  // drop
            sock_filter(code: 0x06, jt: 0, jf: 0, k: .max),  // keep
        ]
        let failure = program.withUnsafeMutableBufferPointer { code -> Int32 in
            var filter = sock_fprog(len: UInt16(code.count), filter: code.baseAddress)
            let size = socklen_t(MemoryLayout<sock_fprog>.size)
            for socket in sockets
            where setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, size) != 0 {
                return errno
            }
            return 0
        }
        guard failure == 0 else {
            throw SystemError("setsockopt(SO_ATTACH_FILTER)", code: failure, subject: "\(address)")
        }
    }

    /// Lets everybody in again, after `closeDoor`.
    package func openDoor() { for socket in sockets { Self.openDoor(of: socket) } }

    private static func openDoor(of socket: Int32) {
        // ENOENT: there is no filter. The kernel wants a number, and does not look at it.
        var unused: Int32 = 0
        _ = setsockopt(
            socket, SOL_SOCKET, SO_DETACH_FILTER, &unused,
            socklen_t(MemoryLayout<Int32>.size))
    }

    // MARK: - Sockets

    private static func makeSocket(
        _ address: SocketAddress, _ isAbsent: Bool
    ) throws(SystemError) -> FileDescriptor {
        let kind =
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            | Int32(SOCK_CLOEXEC.rawValue)
        let fd = Glibc.socket(address.isIPv4 ? AF_INET : AF_INET6, kind, 0)
        guard fd >= 0 else { throw SystemError(errnoOf: "socket", subject: "\(address)") }
        let socket = FileDescriptor(owning: fd)
        try prepare(fd, isIPv4: address.isIPv4)
        if !address.isIPv4 {
            let isDualStack = address.high == 0 && address.low == 0
            try setOption(
                fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, isDualStack ? 0 : 1, "IPV6_V6ONLY")
        }
        if isAbsent {
            if address.isIPv4 {
                try setOption(fd, Int32(IPPROTO_IP), CE_IP_FREEBIND, 1, "IP_FREEBIND")
            } else {
                try setOption(fd, Int32(IPPROTO_IPV6), CE_IPV6_FREEBIND, 1, "IPV6_FREEBIND")
            }
        }
        guard withKernelForm(address, { bind(fd, $0, $1) }) == 0 else {
            throw bindError("bind", address)
        }
        return socket
    }

    /// Gives a socket our settings: a former guardian's may have been of another version.
    private static func prepare(_ fd: Int32, isIPv4: Bool) throws(SystemError) {
        try Descriptor.setNonBlocking(fd)
        try Descriptor.setCloseOnExec(fd)
        try setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
        try setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT")
        // What is accepted inherits these: no calls per connection.
        if isIPv4 {
            try setOption(fd, Int32(IPPROTO_IP), CE_IP_PKTINFO, 1, "IP_PKTINFO")
        } else {
            try setOption(
                fd, Int32(IPPROTO_IPV6), CE_IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO")
        }
        let tcp = Int32(IPPROTO_TCP)
        try setOption(fd, tcp, TCP_NODELAY, 1, "TCP_NODELAY")
        try setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE")
        try setOption(fd, tcp, TCP_KEEPIDLE, 30, "TCP_KEEPIDLE")
        try setOption(fd, tcp, TCP_KEEPINTVL, 10, "TCP_KEEPINTVL")
        try setOption(fd, tcp, TCP_KEEPCNT, 6, "TCP_KEEPCNT")
    }

    private static func setOption(
        _ fd: Int32, _ level: Int32, _ option: Int32, _ value: Int32, _ name: String
    ) throws(SystemError) {
        var value = value
        guard setsockopt(fd, level, option, &value, 4) == 0 else {
            throw SystemError(errnoOf: "setsockopt(\(name))")
        }
    }

    /// The address with the port that the kernel gives where 0 is asked for. A socket that was
    /// bound to port 0 loses its port when it stops listening (tried): a probe is given one, and
    /// all of ours are bound to that number.
    private static func chosenAddress(
        _ address: SocketAddress, _ isAbsent: Bool
    ) throws(SystemError) -> SocketAddress {
        let probe = try makeSocket(address, isAbsent)
        guard let local = localAddress(probe.raw) else {
            throw SystemError(errnoOf: "getsockname")
        }
        return address.with(port: local.port)
    }

    /// What a socket is bound to; nil for another family than IP.
    static func localAddress(_ fd: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &length) }
        }
        guard result == 0 else { return nil }
        return SocketAddress(kernel: &storage, byteCount: Int(length))
    }

    private static func bindError(_ call: String, _ address: SocketAddress) -> SystemError {
        let error = SystemError(errnoOf: call, subject: "\(address)")
        switch error.code {
        case EADDRINUSE:
            return error.with(
                hint: "another process has the port: ss -ltnp 'sport = :\(address.port)'")
        case EACCES:
            return error.with(
                hint: "ports below net.ipv4.ip_unprivileged_port_start need "
                    + "CAP_NET_BIND_SERVICE")
        case EADDRNOTAVAIL:
            return error.with(
                hint: "no interface has the address; net.ipv4.ip_nonlocal_bind=1 allows it")
        case EAFNOSUPPORT:
            return error.with(hint: "IPv6 is switched off here: listen on 0.0.0.0")
        default:
            return error
        }
    }
}

/// Calls `body` with the kernel's form of an address.
func withKernelForm<Result>(
    _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    var storage = sockaddr_storage()
    return withUnsafeMutablePointer(to: &storage) { pointer in
        address.write(to: pointer)
        return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(address.kernelByteCount))
        }
    }
}
