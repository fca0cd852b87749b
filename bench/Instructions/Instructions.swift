internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeLimits
internal import EdgeProxy
internal import EdgeRing
internal import EdgeRouting
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeUpstream

/// Serves keep-alive requests of one client with the release build of the worker, for callgrind to
/// count its instructions: everything from a completion to the send, without the kernel and without
/// its noise. Only `measuredTurn` is to be collected; what the client does is outside of it.
///
/// `limited` is `plain` where two policies apply: a rate per client, and a rate of all together.
///
/// usage: EdgeInstructions plain|limited|browser|tls|h2 REQUESTS [CERTIFICATE-FOLDER]
@main struct Instructions {
    static let wrk = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    static let browser = """
        GET /dashboards/home?from=now-6h&to=now&refresh=30s HTTP/1.1\r
        Host: localhost\r
        Connection: keep-alive\r
        Cache-Control: max-age=0\r
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
        Accept-Language: en-GB,en;q=0.7,nl;q=0.3\r
        Accept-Encoding: gzip, deflate, br, zstd\r
        Referer: https://localhost/dashboards\r
        Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r
        Sec-Fetch-Dest: document\r
        Sec-Fetch-Mode: navigate\r
        Sec-Fetch-Site: same-origin\r
        If-None-Match: "65f0c1d2-2f40"\r
        \r

        """
    static let answer = """
        HTTP/1.1 200 OK\r
        Server: nginx/1.22.1\r
        Date: Sun, 22 Nov 2026 12:00:00 GMT\r
        Content-Type: text/plain\r
        Content-Length: 100\r
        Connection: keep-alive\r
        \r
        \(String(repeating: "x", count: 100))
        """

    let ring: LoopRing
    let worker: Worker
    /// Its memory is the worker's counters.
    let board: SharedBoard
    let client: TLSClient?
    /// Above the TLS client, if HTTP/2 is spoken.
    let streams: StreamClient?
    let request: [UInt8]
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var content = [UInt8](repeating: 0, count: 32 * 1024)

    static func main() throws {
        let words = CommandLine.arguments
        guard words.count >= 3, let count = Int(words[2]),
            ["plain", "limited", "browser", "tls", "h2"].contains(words[1])
        else {
            print("usage: EdgeInstructions plain|limited|browser|tls|h2 REQUESTS [FOLDER]")
            return
        }
        var run = try Instructions(words[1], words.count > 3 ? words[3] : nil)
        // Growing what grows once, and filling caches.
        for _ in 0..<64 { run.exchange(measured: false) }
        for _ in 0..<count { run.exchange(measured: true) }
        print("served \(count)")
    }

    init(_ kind: String, _ folder: String?) throws {
        let isTLS = kind == "tls" || kind == "h2"
        OpenSSLMemory.install(heaps: 1)
        OpenSSLMemory.attachThread(0)
        ring = LoopRing(answer: Array(Self.answer.utf8))
        request = Array((kind == "browser" ? Self.browser : Self.wrk).utf8)
        let file = try MemoryFile.make(name: "board", byteCount: SharedBoard.byteCount(workers: 1))
        board = try SharedBoard(descriptor: file.raw, workers: 1, create: true)
        let keys = try MemoryFile.make(name: "tickets", byteCount: TicketMemory.byteCount)
        guard let mailbox = Mailbox() else { throw Failure.setup }
        worker = try Worker(
            Worker.Setup(
                index: 0, listeners: [(0, LoopRing.listener)], connectionsMax: 16,
                chunkBudget: 64 << 20, tickets: try TicketMemory(descriptor: keys.raw), seed: 1,
                loopMark: LoopMark(id: 0x0123_4567_89AB_CDEF),
                limits: kind == "limited" ? try Self.limitMemory(now) : nil),
            ring: ring, block: board.block(1), mailbox: mailbox,
            snapshot: try Self.snapshot(
                isTLS: isTLS, isLimited: kind == "limited",
                try folder.map { try CertificateFolder.load($0) } ?? .init(entries: [])),
            now: now, report: { _ in })
        client = isTLS ? TLSClient(name: "localhost", isHTTP2: kind == "h2") : nil
        streams = kind == "h2" ? StreamClient() : nil
        if let streams, !streams.begin(now) { throw Failure.setup }
        worker.handle(.serve)
        turn()
        ring.connectClient()
        settle()
        while let client, !client.advance() {
            flush()
            guard ring.sentCount > 0 else { throw Failure.setup }
            receive()
        }
        flush()
    }

    enum Failure: Error { case setup }

    /// Everybody's site, and what is done to its requests.
    static func routing(_ rules: RequestRules?) -> Routing {
        var host = Router.Host(pattern: "localhost", site: 0, pool: 0)
        host.traffic = 1
        host.policy = rules == nil ? -1 : 0
        return Routing(
            views: [(0, ClientView(name: "", index: 0))], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]),
            router: Router([Router.View(hosts: [host])]),
            access: AccessRules(rules == nil ? [] : [[RuleConfiguration()]]),
            profiles: [ServerProfile(fallback: nil)], rules: rules.map { [$0] } ?? [])
    }

    static func limitMemory(_ now: Instant) throws -> LimitMemory {
        let file = try MemoryFile.make(
            name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: 4096))
        return try LimitMemory(descriptor: file.raw, now: now, seed: (1, 2))
    }

    /// Two policies that refuse nobody here.
    static func limits() throws -> LimitPlans {
        var own = LimitPolicy(name: "own")
        own.rates[.requests] = try RateLimit(1_000_000, per: .seconds(1))
        var all = LimitPolicy(name: "all")
        all.key = .everybody
        all.rates[.requests] = try RateLimit(10_000_000, per: .seconds(1))
        return LimitPlans([own, all], places: [LimitPlace(policies: [0, 1])])
    }

    static func snapshot(
        isTLS: Bool, isLimited: Bool, _ certificates: CertificateStore
    ) throws -> RuntimeSnapshot {
        RuntimeSnapshot(
            epoch: 1,
            routing: routing(isLimited ? RequestRules(head: nil, limitPlan: 0) : nil),
            certificates: certificates,
            listeners: [.init(name: "in", isTLS: isTLS, redirectPort: nil)],
            pools: [
                .init(
                    id: 0,
                    view: UpstreamView(
                        id: 0, name: "app",
                        members: [
                            RankedMember(address: SocketAddress(ipv4: 0x0A00_0001, port: 8080))
                        ]),
                    tls: nil,
                    connectTimeout: .seconds(3), responseTimeout: .seconds(20),
                    bodyTimeout: .seconds(30), idleTimeout: .seconds(60))
            ],
            timeouts: .init(
                handshake: .seconds(5), requestHead: .seconds(10), keepAlive: .seconds(75),
                body: .seconds(30), tcp: .seconds(600), uploadMin: 240, downloadMin: 240),
            requestLimits: HeadLimits(), responseLimits: HeadLimits(),
            limits: isLimited ? try limits() : LimitPlans())
    }

    // MARK: - One exchange

    /// A request, its answer, and whether the client got it.
    mutating func exchange(measured: Bool) {
        let answered = streams?.answered ?? 0
        if let client {
            streams?.request()
            client.write(streams?.output() ?? request)
            client.send { ring.arrive($0) }
        } else {
            request.withUnsafeBytes { ring.arrive($0) }
        }
        for _ in 0..<8 where !ring.isQuiet {
            now = now.advanced(byNanoseconds: 10_000)
            ring.step()
            if measured { measuredTurn(worker, now) } else { worker.startTurn(now) }
        }
        receive()
        invariant(ring.closed == 0, "nothing is closed")
        invariant(streams.map { $0.answered == answered + 1 } ?? true, "the answer arrives")
    }

    /// Takes what was sent to the client; while there are requests, it is an answer.
    private mutating func receive() {
        if let client {
            client.take(ring.sent, ring.sentCount)
            ring.takeSent()
            guard client.advance() else { return }
            var count = client.read(into: &content)
            guard let streams else {
                invariant(count == 0 || isAnswer(count), "the answer arrives")
                return
            }
            while count > 0 {
                content.withUnsafeBytes { streams.receive(.init(rebasing: $0[..<count]), now: now) }
                count = client.read(into: &content)
            }
        } else {
            content.withUnsafeMutableBytes {
                $0.baseAddress!.copyMemory(from: ring.sent, byteCount: ring.sentCount)
            }
            invariant(isAnswer(ring.sentCount), "the answer arrives")
            ring.takeSent()
        }
    }

    private func isAnswer(_ count: Int) -> Bool {
        count > 120 && content.starts(with: "HTTP/1.1 200 OK\r\n".utf8)
            && content[(count - 100)..<count].allSatisfy { $0 == UInt8(ascii: "x") }
    }

    private func flush() {
        client?.send { ring.arrive($0) }
        settle()
    }

    private func turn() {
        ring.step()
        worker.startTurn(now)
    }

    private func settle() {
        for _ in 0..<8 where !ring.isQuiet { turn() }
    }
}

/// What callgrind collects, by this name.
@inline(never)
func measuredTurn(_ worker: Worker, _ now: Instant) { worker.startTurn(now) }
