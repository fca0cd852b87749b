internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// ICMP and ICMPv6 echo from inside a namespace: `ping` without the tool.
final class Echo {
    private let descriptor: Int32
    private let target: SocketAddress
    private let identifier = UInt16.random(in: 1 ... .max)

    init(_ target: SocketAddress, from namespace: String?) throws {
        self.target = target
        let family = target.isIPv4 ? AF_INET : AF_INET6
        let kind = Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let number = Int32(target.isIPv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
        descriptor = try inNamespace(namespace) { socket(family, kind, number) }
        guard descriptor >= 0 else { throw KitError.system("ICMP socket") }
    }

    deinit { close(descriptor) }

    func isAnswered(within span: Duration) -> Bool {
        let deadline = Instant.now().advanced(by: span)
        var next = Instant.now()
        while true {
            let now = Instant.now()
            if now >= next {
                send()
                next = now.advanced(by: .milliseconds(50))
            }
            let left = min(deadline, next).nanoseconds(since: now)
            var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&one, 1, Int32((left + 999_999) / 1_000_000))
            if count > 0, receivesReply() { return true }
            if now >= deadline { return false }
        }
    }

    /// An echo request: type 8 (ICMPv6: 128), no data. The kernel makes the ICMPv6 checksum.
    private func send() {
        var packet: [UInt8] = [target.isIPv4 ? 8 : 128, 0, 0, 0] + big(identifier) + [0, 1]
        if target.isIPv4 {
            let words = stride(from: 0, to: 8, by: 2).map {
                UInt32(packet[$0]) << 8 | UInt32(packet[$0 + 1])
            }
            let sum = words.reduce(0, +)
            packet.replaceSubrange(2..<4, with: big(~UInt16((sum & 0xFFFF) + sum >> 16)))
        }
        withUnsafeTemporaryAllocation(byteCount: 28, alignment: 8) { storage in
            guard let base = storage.baseAddress else { return }
            target.write(to: base)
            _ = sendto(
                descriptor, packet, packet.count, 0,
                base.assumingMemoryBound(to: sockaddr.self), socklen_t(target.kernelByteCount))
        }
    }

    private func receivesReply() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 1500)
        for _ in 0..<64 {
            let count = recv(descriptor, &bytes, bytes.count, 0)
            guard count > 0 else { return false }
            // A raw IPv4 socket shows the IP header too.
            let start = target.isIPv4 ? Int(bytes[0] & 0x0F) * 4 : 0
            guard count >= start + 8 else { continue }
            let isReply = bytes[start] == (target.isIPv4 ? 0 : 129)
            if isReply, Array(bytes[(start + 4)..<(start + 6)]) == big(identifier) { return true }
        }
        return false
    }
}
