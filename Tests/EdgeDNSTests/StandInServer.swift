import EdgeCore
import Glibc
import Synchronization

/// A name server of the test: UDP on loopback, its own thread, a port from the kernel. What it
/// answers is a function of name and family, changed at any time.
final class StandInServer: Sendable {
    enum Reply: Sendable {
        case records([String], ttl: UInt32)
        /// NODATA for `.code(0)`.
        case code(UInt8)
        case silent
        /// Bytes after the query's two id bytes.
        case garbage([UInt8])
        /// A header that announces more answers than follow.
        case cutShort
        /// A good answer, but to another id.
        case wrongID
    }

    typealias Behaviour = @Sendable (_ name: String, _ isIPv4: Bool) -> Reply

    private struct State {
        var behaviour: Behaviour
        var queries: [String: Int] = [:]
        var isStopped = false
    }

    let address: SocketAddress
    private let descriptor: Int32
    private let state: Mutex<State>

    init(_ behaviour: @escaping Behaviour) {
        state = Mutex(State(behaviour: behaviour))
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        SocketAddress(ipv4: 0x7F00_0001, port: 0).write(to: &storage)
        withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(descriptor, $0, length)
                _ = getsockname(descriptor, $0, &length)
            }
        }
        address = SocketAddress(kernel: &storage, byteCount: Int(length))!
        self.descriptor = descriptor
        var patience = timeval(tv_sec: 0, tv_usec: 20_000)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience,
            socklen_t(MemoryLayout<timeval>.size))
        startThread { [self] in serve() }
    }

    func behave(_ behaviour: @escaping Behaviour) { state.withLock { $0.behaviour = behaviour } }

    /// A queries seen for a name.
    func queries(_ name: String) -> Int { state.withLock { $0.queries[name] ?? 0 } }

    func stop() { state.withLock { $0.isStopped = true } }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 1024)
        while !state.withLock({ $0.isStopped }) {
            var peer = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    let count = recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                    guard count > 12, let reply = reply(to: Array(buffer[..<count])) else { return }
                    _ = sendto(descriptor, reply, reply.count, 0, $0, length)
                }
            }
        }
        close(descriptor)
    }

    private func reply(to query: [UInt8]) -> [UInt8]? {
        var labels: [String] = []
        var index = 12
        while index < query.count, query[index] != 0 {
            let end = index + 1 + Int(query[index])
            labels.append(String(decoding: query[(index + 1)..<end], as: UTF8.self))
            index = end
        }
        let name = labels.joined(separator: ".")
        let isIPv4 = query[index + 2] == 1
        let question = Array(query[12..<(index + 5)])
        let behaviour = state.withLock { state in
            if isIPv4 { state.queries[name, default: 0] += 1 }
            return state.behaviour
        }
        func message(_ id: [UInt8], _ code: UInt8, _ announced: Int, _ records: [UInt8]) -> [UInt8]
        {
            id + [0x81, 0x80 | code, 0, 1, 0, UInt8(announced), 0, 0, 0, 0] + question + records
        }
        let id = Array(query[..<2])
        switch behaviour(name, isIPv4) {
        case .silent: return nil
        case .code(let code): return message(id, code, 0, [])
        case .garbage(let bytes): return id + bytes
        case .cutShort: return message(id, 0, 3, [0xC0, 0x0C, 0, 1, 0])
        case .wrongID:
            return message(id.map { $0 ^ 0xFF }, 0, 1, Self.record("6.6.6.6", 60))
        case .records(let addresses, let ttl):
            let matching = addresses.filter { $0.contains(":") != isIPv4 }
            return message(id, 0, matching.count, matching.flatMap { Self.record($0, ttl) })
        }
    }

    private static func record(_ text: String, _ ttl: UInt32) -> [UInt8] {
        let address = SocketAddress(address: text, port: 0)!
        var data = withUnsafeBytes(of: address.high.bigEndian) { Array($0) }
        data += withUnsafeBytes(of: address.low.bigEndian) { Array($0) }
        if address.isIPv4 { data.removeFirst(12) }
        let span = withUnsafeBytes(of: ttl.bigEndian) { Array($0) }
        return [0xC0, 0x0C, 0, address.isIPv4 ? 1 : 28, 0, 1] + span + [0, UInt8(data.count)] + data
    }
}

/// Runs `body` on a thread of its own.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { context in
            Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
    pthread_detach(thread)
}
