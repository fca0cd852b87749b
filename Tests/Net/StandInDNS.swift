internal import CEdge
package import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A DNS server that can be ill in all the ways a home router has been: over UDP and TCP, on
/// loopback or on a host of a virtual network. One thread; records and mode change while it runs.
package final class StandInDNS: @unchecked Sendable {
    // Sendable: `state` fields are guarded by `lock`; sockets belong to the thread.
    package let address: SocketAddress
    private let datagrams: Int32
    private let listener: Int32
    private let lock = NSCondition()
    private var records: [String: [DNSRecord]]
    private var behaviour = Mode.normal
    private var timeToLive: UInt32 = 30
    private var truncates = false
    private var questions: [DNSQuestion] = []
    private var isStopping = false
    private var hasEnded = false

    /// How it answers.
    package enum Mode: Sendable, Equatable {
        case normal
        /// Takes queries and never answers.
        case silent
        case serverFailure
        case refused
        /// NXDOMAIN for every name: a router that lost its device names.
        case nameErrorForAll
        /// NOERROR without records.
        case empty
        /// This address for every name: a captive portal.
        case oneAddress(String)
        /// As normal, that much later.
        case slow(Duration)
    }

    package static let questionsMax = 100_000

    /// - Parameter address: port 0 lets the kernel choose, the same for UDP and TCP.
    package init(
        on address: SocketAddress = .loopback(), namespace: String? = nil,
        records: [String: [DNSRecord]] = [:]
    ) throws {
        self.records = Self.normalised(records)
        var pair: (Int32, Int32)?
        for _ in 0..<20 where pair == nil {
            let stream = try TestSocket.listen(on: address, namespace: namespace)
            let chosen = try TestSocket.localAddress(of: stream)
            if let datagram = try? TestSocket.bindDatagram(chosen, namespace: namespace) {
                pair = (datagram, stream)
            } else {
                close(stream)
            }
        }
        guard let pair else { throw KitError("no port free for UDP and TCP at \(address)") }
        (datagrams, listener) = pair
        self.address = try TestSocket.localAddress(of: listener)
        Thread.detachNewThread { [self] in
            run()
            lock.withLock {
                hasEnded = true
                lock.broadcast()
            }
        }
    }

    /// Closes its sockets: queries are refused from then on. Must be called: the thread keeps this
    /// object alive.
    package func stop() {
        lock.withLock {
            isStopping = true
            let deadline = Date(timeIntervalSinceNow: 5)
            while !hasEnded, lock.wait(until: deadline) {}
        }
    }

    // MARK: Live changes

    package var mode: Mode {
        get { lock.withLock { behaviour } }
        set { lock.withLock { behaviour = newValue } }
    }

    package var ttl: UInt32 {
        get { lock.withLock { timeToLive } }
        set { lock.withLock { timeToLive = newValue } }
    }

    /// Every UDP answer says "truncated": clients must come by TCP.
    package var forcesTCP: Bool {
        get { lock.withLock { truncates } }
        set { lock.withLock { truncates = newValue } }
    }

    /// Replaces what is known under a name; nil: the name does not exist.
    package func set(_ name: String, _ new: [DNSRecord]?) {
        lock.withLock { records[name.lowercased()] = new }
    }

    /// Replaces the addresses of a name.
    package func set(_ name: String, addresses: [String]) {
        set(name, addresses.map { .address($0) })
    }

    /// All questions so far, the oldest first.
    package var log: [DNSQuestion] { lock.withLock { questions } }

    package func clearLog() { lock.withLock { questions = [] } }

    private static func normalised(
        _ records: [String: [DNSRecord]]
    ) -> [String: [DNSRecord]] {
        records.reduce(into: [:]) { $0[$1.key.lowercased()] = $1.value }
    }

    // MARK: Thread

    private struct Pending {
        let due: Instant
        let send: () -> Void
    }

    private final class Stream {
        let descriptor: Int32
        var bytes: [UInt8] = []
        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    private func run() {
        var streams: [Stream] = []
        var pending: [Pending] = []
        defer {
            close(datagrams)
            close(listener)
        }
        while !lock.withLock({ isStopping }) {
            var polled = ([datagrams, listener] + streams.map(\.descriptor)).map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            let soon = pending.isEmpty ? 20 : 2
            _ = poll(&polled, UInt(polled.count), Int32(soon))
            let now = Instant.now()
            for one in pending where one.due <= now { one.send() }
            pending.removeAll { $0.due <= now }
            if polled[0].revents != 0 { receiveDatagrams(&pending) }
            for (stream, state) in zip(streams, polled.dropFirst(2)) where state.revents != 0 {
                guard !receive(stream, &pending) else { continue }
                streams.removeAll { $0 === stream }
            }
            if polled[1].revents != 0, streams.count < 256 {
                let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
                let descriptor = ce_accept4(listener, nil, nil, flags)
                if descriptor >= 0 { streams.append(Stream(descriptor)) }
            }
        }
    }

    private func receiveDatagrams(_ pending: inout [Pending]) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        for _ in 0..<64 {
            var source = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let count = withUnsafeMutableBytes(of: &source) {
                recvfrom(
                    datagrams, &bytes, bytes.count, 0,
                    $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &size)
            }
            guard count > 0 else { return }
            let (reply, delay) = answer(Array(bytes[..<count]), overTCP: false)
            guard let reply else { continue }
            let descriptor = datagrams
            let (target, targetSize) = (source, size)
            let send = {
                withUnsafeBytes(of: target) {
                    _ = sendto(
                        descriptor, reply, reply.count, 0,
                        $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), targetSize)
                }
            }
            schedule(send, delay, &pending)
        }
    }

    /// Takes what has come on a TCP connection; false when it has ended.
    private func receive(_ stream: Stream, _ pending: inout [Pending]) -> Bool {
        var piece = [UInt8](repeating: 0, count: 4096)
        let count = recv(stream.descriptor, &piece, piece.count, 0)
        guard count > 0 else { return count < 0 && errno == EAGAIN }
        stream.bytes += piece[..<count]
        while stream.bytes.count >= 2 {
            let length = Int(stream.bytes[0]) << 8 | Int(stream.bytes[1])
            guard stream.bytes.count >= 2 + length else { break }
            let query = Array(stream.bytes[2..<(2 + length)])
            stream.bytes.removeFirst(2 + length)
            let (reply, delay) = answer(query, overTCP: true)
            guard let reply else { continue }
            let framed = big(UInt16(reply.count)) + reply
            let send = {
                _ = Glibc.send(stream.descriptor, framed, framed.count, Int32(MSG_NOSIGNAL))
            }
            schedule(send, delay, &pending)
        }
        return true
    }

    private func schedule(
        _ send: @escaping () -> Void, _ delay: Duration, _ pending: inout [Pending]
    ) {
        guard delay > .zero else { return send() }
        pending.append(Pending(due: .now().advanced(by: delay), send: send))
    }

    private func answer(_ query: [UInt8], overTCP: Bool) -> ([UInt8]?, delay: Duration) {
        guard let (_, name, type, end) = decodeDNSQuery(query) else { return (nil, .zero) }
        return lock.withLock {
            if questions.count < Self.questionsMax {
                questions.append(DNSQuestion(name: name, type: type, overTCP: overTCP))
            }
            var code = DNSResponseCode.noError
            var found: [(String, DNSRecord)] = []
            var delay = Duration.zero
            switch behaviour {
            case .silent: return (nil, .zero)
            case .serverFailure: code = .serverFailure
            case .refused: code = .refused
            case .nameErrorForAll: code = .nameError
            case .empty: break
            case .oneAddress(let text):
                let record = DNSRecord.address(text)
                if record.type == type { found = [(name, record)] }
            case .normal, .slow:
                if case .slow(let span) = behaviour { delay = span }
                if records[name] == nil { code = .nameError }
                found = lookUp(name, type)
            }
            let sizeMax = overTCP ? 65_535 : truncates ? 0 : 512
            let reply = encodeDNSAnswer(
                to: query, questionEnd: end, code: code, records: found, ttl: timeToLive,
                sizeMax: sizeMax)
            return (reply, delay)
        }
    }

    /// Follows canonical names, up to eight.
    private func lookUp(_ name: String, _ type: UInt16) -> [(String, DNSRecord)] {
        var result: [(String, DNSRecord)] = []
        var at = name
        for _ in 0..<8 {
            let here = records[at] ?? []
            result += here.filter { $0.type == type }.map { (at, $0) }
            let alias = here.lazy.compactMap { record -> String? in
                if case .canonicalName(let target) = record { target } else { nil }
            }.first
            guard let alias, type != 5 else { return result }
            result.append((at, .canonicalName(alias)))
            at = alias.lowercased()
        }
        return result
    }
}
