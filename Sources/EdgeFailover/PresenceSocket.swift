internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// Datagrams between guardians: a UDP socket per family of the peers. One thread.
final class PresenceSocket {
    private let local: SocketAddress
    private let socket: FileDescriptor
    private var reader = PacketReader(byteCountMax: PresenceMessage.byteCountMax + 1)

    /// - Parameter local: where it listens; it need not be there yet.
    /// - Throws: EADDRINUSE, EACCES.
    init(local: SocketAddress) throws(SystemError) {
        self.local = local
        let kind =
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        let fd = Glibc.socket(local.isIPv4 ? AF_INET : AF_INET6, kind, 0)
        guard fd >= 0 else { throw SystemError(errnoOf: "socket(presence)") }
        socket = FileDescriptor(owning: fd)
        if local.isIPv4 {
            try setOption(fd, Int32(IPPROTO_IP), IP_TOS, 0xC0, "IP_TOS")
        } else {
            try setOption(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1, "IPV6_V6ONLY")
            try setOption(fd, Int32(IPPROTO_IPV6), CE_IPV6_TCLASS, 0xC0, "IPV6_TCLASS")
        }
        // For IPv6 too: the address may be one of a link that is not up yet.
        try setOption(fd, Int32(IPPROTO_IP), IP_FREEBIND, 1, "IP_FREEBIND")
        try setOption(fd, SOL_SOCKET, CE_SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS")
        try setOption(fd, SOL_SOCKET, SO_PRIORITY, 7, "SO_PRIORITY")
        var storage = sockaddr_storage()
        let result = withUnsafeMutableBytes(of: &storage) { raw -> Int32 in
            guard let start = raw.baseAddress else { return -1 }
            local.write(to: start)
            return bind(
                fd, start.assumingMemoryBound(to: sockaddr.self),
                socklen_t(local.kernelByteCount))
        }
        guard result == 0 else { throw SystemError(errnoOf: "bind(presence)", subject: "\(local)") }
    }

    var isIPv4: Bool { local.isIPv4 }
    /// For poll; do not close it.
    var descriptor: Int32 { socket.raw }

    /// Has the kernel drop what comes from others, before anybody looks at it.
    func admitOnly(_ sources: [SocketAddress]) {
        SocketFilter.attach(
            SocketFilter.sources(sources, isIPv4: isIPv4) + [SocketFilter.accept], to: socket.raw)
    }

    func admitAll() { SocketFilter.detach(from: socket.raw) }

    /// - Returns: false if nothing more is there at the moment.
    func receive(max: Int, _ body: (RawPacket) -> Void) -> Bool {
        var packets: [RawPacket] = []
        let isMore = reader.read(socket.raw, max: max) { packets.append($0) }
        for packet in packets { body(packet) }
        return isMore
    }

    /// - Returns: 0, or the kernel's error number.
    func send(_ bytes: [UInt8], to target: SocketAddress) -> Int32 {
        // Answers of hosts that do not listen come back as errors of the next call.
        for _ in 0..<2 {
            let count = withUnsafeTemporaryAllocation(byteCount: 28, alignment: 8) { raw -> Int in
                guard let start = raw.baseAddress else { return -1 }
                target.write(to: start)
                return sendto(
                    socket.raw, bytes, bytes.count, Int32(MSG_DONTWAIT),
                    start.assumingMemoryBound(to: sockaddr.self),
                    socklen_t(target.kernelByteCount))
            }
            if count == bytes.count { return 0 }
            guard errno == ECONNREFUSED else { return errno }
        }
        return ECONNREFUSED
    }
}

extension PresenceAuthenticator {
    /// HMAC-SHA256 (RFC 2104) with the first of the secrets; the others are believed as well. Nil:
    /// there is none.
    init?(secrets: [[UInt8]]) {
        guard let own = secrets.first else { return nil }
        self.init(others: secrets.dropFirst().map(Self.code), code: Self.code(own))
    }

    private static func code(_ secret: [UInt8]) -> Code {
        { message in
            var code = [UInt8](repeating: 0, count: PresenceAuthenticator.byteCount)
            var count = UInt32(code.count)
            let result = HMAC(
                EVP_sha256(), secret, Int32(clamping: secret.count), message, message.count, &code,
                &count)
            // Out of memory: a code that nobody takes for right.
            if result == nil { _ = ce_getrandom(&code, code.count) }
            return code
        }
    }
}
