import CEdge
import EdgeCore
import EdgeSystem
import EdgeTesting
import Foundation

@testable import EdgeFailover

/// Every frame that an interface of a namespace sees, from `init` to `stop`, with the time at which
/// it came.
final class FrameCapture: @unchecked Sendable {
    // Sendable: `frames` and `isStopped` are guarded by `lock`; the rest is constant.
    struct Frame: Sendable {
        let at: Instant
        let bytes: [UInt8]

        var etherType: UInt16 { word(12) }
        var source: [UInt8] { Array(bytes[6..<12]) }
        var destination: [UInt8] { Array(bytes[0..<6]) }

        func word(_ offset: Int) -> UInt16 {
            UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
        }

        /// An IPv4 address at an offset.
        func ipv4(_ offset: Int) -> SocketAddress {
            SocketAddress(
                ipv4: bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }, port: 0)
        }

        /// An IPv6 address at an offset.
        func ipv6(_ offset: Int) -> SocketAddress {
            let words = [0, 8].map { start in
                bytes[offset + start..<offset + start + 8].reduce(UInt64(0)) {
                    $0 << 8 | UInt64($1)
                }
            }
            return SocketAddress(ipv6High: words[0], low: words[1], port: 0)
        }
    }

    private let socket: Int32
    private let lock = NSLock()
    private var frames: [Frame] = []
    private var isStopped = false
    private let ended = DispatchSemaphore(value: 0)

    /// - Parameter source: IPv4 packets of this address alone, so that a flood is not kept.
    init(on interface: String = "eth0", in namespace: String, from source: UInt32? = nil) throws {
        socket = try inNamespace(namespace) {
            // ETH_P_ALL, in network order.
            let fd = Glibc.socket(
                Int32(AF_PACKET), Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
                Int32(UInt16(0x0003).bigEndian))
            guard fd >= 0 else { throw KitError.system("socket(AF_PACKET)") }
            guard let link = try NetworkInterface.readAll().first(where: { $0.name == interface })
            else { throw KitError("no interface \(interface)") }
            var address = [UInt8](repeating: 0, count: 20)
            address.withUnsafeMutableBytes {
                $0.storeBytes(of: UInt16(AF_PACKET), as: UInt16.self)
                $0.storeBytes(of: UInt16(0x0003).bigEndian, toByteOffset: 2, as: UInt16.self)
                $0.storeBytes(of: link.index, toByteOffset: 4, as: Int32.self)
            }
            let result = address.withUnsafeBytes {
                bind(fd, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), 20)
            }
            guard result == 0 else { throw KitError.system("bind(AF_PACKET)") }
            if let source {
                // struct sock_filter: the protocol is IPv4, and the source's address is that.
                var code = [
                    sock_filter(code: 0x28, jt: 0, jf: 0, k: 12),
                    sock_filter(code: 0x15, jt: 0, jf: 3, k: 0x0800),
                    sock_filter(code: 0x20, jt: 0, jf: 0, k: 26),
                    sock_filter(code: 0x15, jt: 0, jf: 1, k: source),
                    sock_filter(code: 0x06, jt: 0, jf: 0, k: .max),
                    sock_filter(code: 0x06, jt: 0, jf: 0, k: 0),
                ]
                let result = code.withUnsafeMutableBufferPointer {
                    var program = sock_fprog(len: UInt16($0.count), filter: $0.baseAddress)
                    return setsockopt(
                        fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                        socklen_t(MemoryLayout<sock_fprog>.size))
                }
                guard result == 0 else { throw KitError.system("SO_ATTACH_FILTER") }
            }
            var buffer: Int32 = 8 << 20
            setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, 4)
            var patience = timeval(tv_sec: 0, tv_usec: 20_000)
            setsockopt(
                fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            return fd
        }
        Thread.detachNewThread { [self] in read() }
    }

    private func read() {
        // Above what it looks at: frames that the kernel has not stamped are as late as we are.
        _ = ce_set_scheduler(CE_SCHED_FIFO | CE_SCHED_RESET_ON_FORK, RealTime.priority + 1)
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !lock.withLock({ isStopped }) {
            var ready = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 20) > 0 else { continue }
            var told = ce_packet()
            let count = ce_receive_packet(socket, &buffer, buffer.count, &told)
            guard count >= 14 else { continue }
            // When the kernel had it: this thread may be late.
            let clocks = ClockPair.read()
            let age = told.stamp > 0 ? Int64(bitPattern: clocks.wall) - told.stamp : 0
            let at = Instant(
                nanoseconds: clocks.now.nanoseconds - UInt64(clamping: max(age, 0)))
            let frame = Frame(at: at, bytes: Array(buffer[..<count]))
            lock.withLock { frames.append(frame) }
        }
        close(socket)
        ended.signal()
    }

    /// Those that have come so far.
    var all: [Frame] { lock.withLock { frames } }

    func clear() { lock.withLock { frames = [] } }

    func stop() {
        let isFirst = lock.withLock {
            defer { isStopped = true }
            return !isStopped
        }
        if isFirst { ended.wait() }
    }

    deinit { lock.withLock { isStopped = true } }

    /// Waits until enough frames are as asked for.
    func wait(
        for count: Int = 1, within span: Duration = .seconds(2), _ isWanted: (Frame) -> Bool
    ) -> [Frame] {
        let deadline = Instant.now().advanced(by: span)
        while true {
            let found = all.filter(isWanted)
            if found.count >= count || Instant.now() >= deadline { return found }
            usleep(1000)
        }
    }
}
