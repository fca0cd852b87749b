internal import CEdge
internal import EdgeCore
internal import EdgePreface
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeUpstream
internal import Glibc

/// One check's connection on the loop, from `connect` to the verdict, within the policy's timeout:
///
///     connecting ──► (PROXY header) ──► handshaking ──► exchanging ──► ended
///          │                             └ with TLS      │
///          └──────── failure, timeout, cancel ───────────┴──► ended
///
/// Handlers settle an outcome; `conclude` ends the connection at the end of the turn, when nothing
/// of it is in use any more.
final class CheckConnection {
    enum Phase {
        case connecting
        case handshaking(TLSSession)
        /// With its session, if it has TLS.
        case exchanging(TLSSession?)
        case ended
    }

    let target: Checker.Target
    let tools: CheckTools
    var phase = Phase.connecting
    var report: CheckReport?
    /// What is known before there is an outcome.
    var connectTime: Duration?
    var certificateNotAfter: Int64?
    var certificateProblem: String?
    /// That have come.
    var handshakeMessages = 0
    private(set) var exchange: CheckExchange?
    private let ended: (CheckReport) -> Void
    private var descriptor: Int32 = -1
    private var outgoing: [UInt8] = []
    private var sentCount = 0
    private var receivedCount = 0
    private var awaitsRoom = false
    private var started = Instant(nanoseconds: 0)
    private var timer: TimerID?

    /// All that may come, TLS included: a certificate chain, a head and the content that counts.
    private static let receivedMax = 1 << 20
    /// What an upstream may make us say without reading it.
    private static let outgoingMax = 256 << 10
    /// Receives per turn; the loop has others to serve.
    private static let roundsMax = 4

    /// - Parameter ended: called exactly once, never within `start`.
    init(_ target: Checker.Target, _ tools: CheckTools, ended: @escaping (CheckReport) -> Void) {
        self.target = target
        self.tools = tools
        self.ended = ended
    }

    deinit { release() }

    // MARK: - Life

    func start() {
        started = .now()
        timer = tools.loop.schedule(at: started.advanced(by: target.policy.timeout)) {
            [weak self] in self?.timedOut()
        }
        connect()
        guard report != nil else { return }
        tools.loop.schedule(at: started) { [weak self] in self?.conclude() }
    }

    /// Ends it now.
    func cancel() {
        if report == nil { report = .inconclusive(CheckReason.closed) }
        conclude()
    }

    func settle(_ outcome: CheckOutcome?) {
        guard report == nil, let outcome else { return }
        report = CheckReport(outcome: outcome)
    }

    func fail(_ reason: String) { settle(.failed(reason: reason)) }

    /// Not the member's doing.
    func failOurs(_ reason: String) {
        if report == nil { report = .inconclusive(reason) }
    }

    private func timedOut() {
        let span = CheckReason.text(target.policy.timeout)
        switch phase {
        case .connecting: fail("no connection within \(span)")
        case .handshaking: fail("no TLS handshake within \(span)")
        case .exchanging: fail("no answer within \(span)")
        case .ended: return
        }
        conclude()
    }

    private func conclude() {
        if case .ended = phase { return }
        guard var report else { return }
        report.duration = Duration(nanoseconds: Instant.now().nanoseconds(since: started))
        report.connectTime = connectTime
        report.certificateNotAfter = certificateNotAfter
        report.certificateProblem = certificateProblem
        release()
        ended(report)
    }

    /// Gives everything back; nothing is called any more.
    private func release() {
        if let timer { tools.loop.cancel(timer) }
        timer = nil
        switch phase {
        case .handshaking(let session): session.free()
        case .exchanging(let session):
            if let session { endTLS(session) }
        case .connecting, .ended: break
        }
        phase = .ended
        exchange?.end()
        exchange = nil
        guard descriptor >= 0 else { return }
        tools.loop.unwatch(descriptor)
        Glibc.close(descriptor)
        descriptor = -1
    }

    // MARK: - Connecting

    private func connect() {
        let address = target.policy.port.map { target.address.with(port: $0) } ?? target.address
        let kind = Int32(
            SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        descriptor = socket(address.isIPv4 ? AF_INET : AF_INET6, kind, 0)
        guard descriptor >= 0 else { return connectFailed(errno) }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        var storage = sockaddr_storage()
        let result = withUnsafeMutableBytes(of: &storage) { bytes -> Int32 in
            guard let start = bytes.baseAddress else { return -1 }
            address.write(to: start)
            return Glibc.connect(
                descriptor, start.assumingMemoryBound(to: sockaddr.self),
                socklen_t(address.kernelByteCount))
        }
        // A connection that is there already is reported as writable as well.
        guard result == 0 || errno == EINPROGRESS else { return connectFailed(errno) }
        do {
            try tools.loop.watch(descriptor, events: .writable) { [weak self] in self?.ready($0) }
        } catch {
            failOurs("\(error)")
        }
    }

    private func connectFailed(_ code: Int32) {
        if CheckReason.isOurs(code, isIPv4: target.address.isIPv4) {
            failOurs("connect: \(errorName(code))")
        } else {
            fail(CheckReason.socket(code))
        }
    }

    private func completeConnect() {
        var code: Int32 = 0
        var size = socklen_t(4)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        guard code == 0 else { return connectFailed(code) }
        // To a free port of our own: TCP then connects a socket with itself (RFC 9293 §3.5).
        guard name(getsockname) != name(getpeername) else {
            return fail(CheckReason.socket(ECONNREFUSED))
        }
        connectTime = Duration(nanoseconds: Instant.now().nanoseconds(since: started))
        tools.loop.change(descriptor, events: .readable)
        // It leaves in one segment with what comes first behind it.
        if target.sendsProxyHeader { outgoing += ProxyHeader.local }
        if target.policy.kind != .tcp, let tls = target.tls {
            startHandshake(tls)
        } else {
            phase = .exchanging(nil)
            beginExchange()
        }
    }

    private func name(
        _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { bytes in
            guard let start = bytes.baseAddress,
                call(descriptor, start.assumingMemoryBound(to: sockaddr.self), &size) == 0
            else { return nil }
            return SocketAddress(kernel: start, byteCount: Int(size))
        }
    }

    // MARK: - Exchange

    /// The connection is there, TLS included.
    func beginExchange() {
        let policy = target.policy
        let address = policy.port.map { target.address.with(port: $0) } ?? target.address
        let isTLS = if case .exchanging(.some) = phase { true } else { false }
        var desk: HTTP2Desk?
        if policy.kind.speaksHTTP2 {
            desk = tools.desk()
            if desk == nil { return failOurs("no memory for HTTP/2") }
        }
        let exchange = CheckExchange(
            policy.kind,
            CheckExchange.Context(
                authority: Self.authority(address, target.tls?.name, isTLS: isTLS), isTLS: isTLS,
                credential: CheckCredential(
                    tokenFile: policy.tokenFileInUse,
                    showsCertificate: target.tls?.identity != nil),
                desk: desk))
        self.exchange = exchange
        settle(exchange.begin(now: .now()))
        sendOutput()
    }

    /// The TLS name; else the address, with its port unless it is the scheme's own.
    private static func authority(
        _ address: SocketAddress, _ name: String?, isTLS: Bool
    ) -> String {
        if let name { return name.contains(":") ? "[\(name)]" : name }
        guard address.port == (isTLS ? 443 : 80) else { return "\(address)" }
        return address.isIPv4 ? address.addressText : "[\(address.addressText)]"
    }

    /// Plaintext has come.
    func deliver(_ bytes: UnsafeRawBufferPointer) {
        settle(exchange?.receive(bytes, now: .now()))
        sendOutput()
    }

    func peerEnded() {
        switch phase {
        case .handshaking: fail("connection closed in the TLS handshake")
        case .exchanging: settle(exchange?.finish())
        case .connecting, .ended: break
        }
    }

    private func sendOutput() {
        guard let output = exchange?.takeOutput(), !output.isEmpty else { return }
        switch phase {
        case .exchanging(.none): send(output)
        case .exchanging(.some(let session)): encrypt(output, session)
        case .connecting, .handshaking, .ended: break
        }
    }

    // MARK: - The socket

    private func ready(_ events: PollEvents) {
        switch phase {
        case .connecting: completeConnect()
        case .handshaking, .exchanging: if events != .writable { receive() }
        case .ended: return
        }
        flush()
        conclude()
    }

    private func receive() {
        for _ in 0..<Self.roundsMax where report == nil {
            let count = recv(descriptor, tools.input.baseAddress, tools.input.count, 0)
            guard count > 0 else {
                if count == 0 { return peerEnded() }
                if errno == EAGAIN || errno == EINTR { return }
                return fail(CheckReason.socket(errno))
            }
            receivedCount += count
            guard receivedCount <= Self.receivedMax else { return fail("the answer is too long") }
            let bytes = UnsafeRawBufferPointer(rebasing: tools.input[..<count])
            switch phase {
            case .handshaking(let session): receiveTLS(bytes, session)
            case .exchanging(.some(let session)): receiveTLS(bytes, session)
            case .exchanging(.none): deliver(bytes)
            case .connecting, .ended: return
            }
            if count < tools.input.count { return }
        }
    }

    /// Sends what the socket takes, and the rest when it takes more.
    func send(_ bytes: some Collection<UInt8>) {
        outgoing.append(contentsOf: bytes)
        guard outgoing.count <= Self.outgoingMax else { return fail("it does not read") }
        flush()
    }

    private func flush() {
        while sentCount < outgoing.count {
            let count = outgoing[sentCount...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sentCount += count
            } else if errno == EAGAIN {
                break
            } else if errno != EINTR {
                // An answer may have come before; if not, the next receive says what happened.
                sentCount = outgoing.count
            }
        }
        if sentCount == outgoing.count {
            outgoing.removeAll(keepingCapacity: true)
            sentCount = 0
        }
        guard awaitsRoom == outgoing.isEmpty else { return }
        awaitsRoom = !outgoing.isEmpty
        tools.loop.change(descriptor, events: awaitsRoom ? [.readable, .writable] : .readable)
    }
}

extension HealthPolicy.Kind {
    var speaksHTTP2: Bool {
        switch self {
        case .http2, .grpc: true
        case .tcp, .tls, .http, .kubeAPIServer, .activeMember: false
        }
    }

    /// The request that the policy has written out.
    fileprivate var request: HealthPolicy.Request? {
        switch self {
        case .http(let request), .http2(let request), .activeMember(let request): request
        case .tcp, .tls, .grpc, .kubeAPIServer: nil
        }
    }
}

extension HealthPolicy {
    /// A request's own file goes before the policy's.
    fileprivate var tokenFileInUse: String? { kind.request?.tokenFile ?? tokenFile }
}
