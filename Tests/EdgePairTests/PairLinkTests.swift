internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeTesting
internal import Glibc
internal import Synchronization
internal import Testing

@testable internal import EdgePair

/// Certificates of two nodes and of a stranger, with what each of them expects.
struct PairFiles {
    let directory: TemporaryDirectory
    /// With the lower number: it connects.
    let low: PinnedIdentity
    let high: PinnedIdentity
    let stranger: PinnedIdentity
    /// Believes the stranger, shows what the low node shows.
    let misled: PinnedIdentity

    init() throws {
        directory = try TemporaryDirectory()
        var made: [(SelfSignedCertificate, String)] = []
        for index in 0..<3 {
            made.append((try SelfSignedCertificate(name: "node \(index)"), "node\(index)"))
        }
        made[..<2].sort { $0.0.fingerprint.number < $1.0.fingerprint.number }
        for (certificate, name) in made {
            try directory.write(
                name + ".pem", String(decoding: certificate.certificatePEM, as: UTF8.self))
            try directory.write(
                name + ".key", String(decoding: certificate.keyPEM, as: UTF8.self), mode: 0o600)
        }
        let root = directory.path
        func load(_ own: Int, _ peer: Int) throws -> PinnedIdentity {
            try PinnedIdentity.load(
                certificate: "\(root)/\(made[own].1).pem", key: "\(root)/\(made[own].1).key",
                peer: "\(root)/\(made[peer].1).pem")
        }
        low = try load(0, 1)
        high = try load(1, 0)
        stranger = try load(2, 1)
        misled = try load(0, 2)
    }
}

/// One side of a link, and what it was told.
final class Side {
    private(set) var link: PairLink?
    var opened: [PairHello] = []
    var closed: [PairLoss] = []
    var received: [PairMessage] = []

    init(
        _ identity: PinnedIdentity, own: String, peer: String, name: String, loop: PollLoop,
        timing: PairTiming = PairTiming()
    ) throws {
        let own = try #require(SocketAddress(own))
        let peer = try #require(SocketAddress(peer))
        link = try PairLink(
            PairLink.Settings(own: own, peer: peer, name: name, software: "1.0", timing: timing),
            identity: identity, loop: loop, seed: UInt64.random(in: 1 ... .max),
            handlers: PairLink.Handlers(
                opened: { [weak self] in self?.opened.append($0) },
                closed: { [weak self] in self?.closed.append($0) },
                received: { [weak self] in self?.received.append($0) }))
    }

    func drop() {
        link?.close()
        link = nil
    }
}

/// A connection from outside, which says nothing after its handshake.
final class Dialer {
    private(set) var ending: String?
    private(set) var isSecured = false
    private var connection: PairConnection?

    func send(_ message: PairMessage) { connection?.send(message) }

    init(_ identity: PinnedIdentity, from: String, _ port: UInt16, _ loop: PollLoop) throws {
        let connection = PairConnection(
            loop: loop, tls: try PinnedTLS(identity),
            handlers: .init(
                secured: { [weak self] in self?.isSecured = true }, received: { _ in },
                violated: { _ in }, ended: { [weak self] in self?.ending = $0 }))
        self.connection = connection
        try connection.connect(
            from: try #require(SocketAddress(from + ":0")),
            to: try #require(SocketAddress("127.0.0.2:\(port)")))
    }
}

/// Says so from another thread.
final class Done: Sendable {
    let value = Atomic(false)
}

@Suite("Pair: link over TLS", .serialized) struct PairLinkTests {
    /// Turns until it holds, for ten seconds at most.
    private static func until(_ loop: PollLoop, _ holds: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(10))
        while !holds(), Instant.now() < end { loop.runOnce(maxWait: .milliseconds(20)) }
        return holds()
    }

    private static func listener(
        _ identity: PinnedIdentity, _ loop: PollLoop, peer: String = "127.0.0.1:1"
    ) throws -> (Side, port: UInt16) {
        let side = try Side(
            identity, own: "127.0.0.2:0", peer: peer, name: "high", loop: loop)
        let address = try #require(side.link?.boundAddress)
        return (side, address.port)
    }

    @Test("Two nodes that pinned each other find each other, and talk")
    func talk() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        let low = try Side(
            files.low, own: "127.0.0.1:1", peer: "127.0.0.2:\(port)", name: "low", loop: loop)

        #expect(Self.until(loop) { low.opened.count == 1 && high.opened.count == 1 })
        #expect(high.opened.first?.name == "low")
        #expect(low.opened.first?.name == "high")
        let names = PairMessage.names([UInt8](repeating: 7, count: PairMessage.bodyBytesMax))
        for _ in 0..<40 { low.link?.send(names) }
        high.link?.send(.ticketKeys([Sample.key(3)]))
        #expect(Self.until(loop) { high.received.count == 40 && low.received.count == 1 })
        #expect(high.received.allSatisfy { $0 == names })
        #expect(low.received == [.ticketKeys([Sample.key(3)])])
        #expect(Self.until(loop) { low.link?.machine.roundTrip != nil })
        #expect((low.link?.machine.clockDifference ?? .max).magnitude < 100_000_000)
        low.drop()
        #expect(Self.until(loop) { high.closed == [.farewell(.stopping)] })
        #expect(high.link?.problem == "the other node's proxy has stopped")
    }

    @Test(
        "What no node tells of limits and bans ends the link and is counted, and nothing of it is kept"
    )
    func malformed() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let nothing = PairCost(identity: 1, high: 2, low: 3, cost: 0)
        let endless = PairDebt(
            identity: 1, high: 2, low: 3, nanoseconds: PairMessage.debtMax + 1)
        var ban = Sample.ban
        ban.bits = 33
        let messages: [PairMessage] = [
            .costs(PairCosts(incarnation: 1, number: 1, entries: [nothing])),
            .costs(PairCosts(incarnation: 1, number: 1, entries: [])), .debts([endless]),
            .bans(PairBans(isList: true, bans: [Sample.lifting, ban])),
        ]
        for message in messages {
            let (high, port) = try Self.listener(files.high, loop)
            let low = try Side(
                files.low, own: "127.0.0.1:1", peer: "127.0.0.2:\(port)", name: "low",
                loop: loop)
            #expect(Self.until(loop) { low.opened.count == 1 && high.opened.count == 1 })

            low.link?.send(message)

            #expect(Self.until(loop) { !high.closed.isEmpty && !low.closed.isEmpty })
            #expect(high.closed.first == .violation(.body(message.kind)))
            #expect(low.closed.first == .farewell(.violation))
            #expect(high.link?.machine.counts.violations == 1)
            #expect(high.received.isEmpty)
            low.drop()
            high.drop()
        }
    }

    @Test("A side that comes back is linked again, and state can be sent anew")
    func comeBack() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        func makeLow() throws -> Side {
            try Side(
                files.low, own: "127.0.0.1:1", peer: "127.0.0.2:\(port)", name: "low", loop: loop)
        }
        for round in 1...3 {
            let low = try makeLow()
            #expect(Self.until(loop) { low.opened.count == 1 && high.opened.count == round })
            low.drop()
            #expect(Self.until(loop) { high.closed.count == round })
        }
        high.drop()
        let low = try makeLow()
        #expect(Self.until(loop) { low.link?.problem?.contains("ECONNREFUSED") == true })
        // The other one comes late, at the same address.
        let again = try Side(
            files.high, own: "127.0.0.2:\(port)", peer: "127.0.0.1:1", name: "high", loop: loop)
        #expect(Self.until(loop) { low.opened.count == 1 && again.opened.count == 1 })
        #expect(low.link?.problem == nil)
    }

    @Test("Another certificate than the pinned one is refused, on either side")
    func wrongCertificate() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        // The stranger may have a higher number: then it would listen.
        let session = try Dialer(files.stranger, from: "127.0.0.1", port, loop)
        #expect(Self.until(loop) { session.ending != nil })
        #expect(session.ending?.contains("refuses") == true, "\(session.ending ?? "")")
        #expect(Self.until(loop) { high.link?.failedHandshakes == 1 })
        #expect(high.opened.isEmpty)
        #expect(
            high.link?.problem == "the other node shows another certificate than the pinned one")

        let misled = try Dialer(files.misled, from: "127.0.0.1", port, loop)
        #expect(Self.until(loop) { misled.ending != nil })
        #expect(
            misled.ending == "the other node shows another certificate than the pinned one")
        #expect(high.opened.isEmpty)
    }

    @Test("A client without a certificate, or with TLS 1.2, does not get in")
    func noCertificate() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        let address = try #require(SocketAddress("127.0.0.2:\(port)"))
        for versions in [TLSVersion.v13 ... .v13, .v12 ... .v12] {
            let failed = high.link?.failedHandshakes ?? 0
            let isDone = Done()
            try BackgroundThread.start {
                // Of TLS 1.3 a client is done before the server has judged it.
                if let tls = try? ClientTLS(serverName: nil, versions: versions),
                    let client = try? RawClient(address, tls: tls)
                {
                    _ = client.readToEnd()
                }
                isDone.value.store(true, ordering: .releasing)
            }
            #expect(
                Self.until(loop) {
                    isDone.value.load(ordering: .acquiring)
                        && high.link?.failedHandshakes == failed + 1
                })
        }
        #expect(high.opened.isEmpty)
        #expect(high.link?.machine.phase == .listening)
    }

    @Test("A peer that has proved who it is, and says nothing or nonsense, is let go of")
    func mute() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        var timing = PairTiming()
        timing.greeting = .milliseconds(100)
        let high = try Side(
            files.high, own: "127.0.0.2:0", peer: "127.0.0.1:1", name: "high", loop: loop,
            timing: timing)
        let port = try #require(high.link?.boundAddress).port

        let silent = try Dialer(files.low, from: "127.0.0.1", port, loop)
        #expect(Self.until(loop) { silent.isSecured && silent.ending != nil })
        #expect(high.link?.problem == "the other node does not greet")

        let rude = try Dialer(files.low, from: "127.0.0.1", port, loop)
        #expect(Self.until(loop) { rude.isSecured })
        rude.send(.names([1, 2, 3]))
        #expect(Self.until(loop) { rude.ending != nil })
        #expect(high.link?.machine.counts.violations == 1)
        #expect(high.opened.isEmpty && high.received.isEmpty)
    }

    @Test("Who comes from elsewhere is closed before TLS, and counted")
    func stranger() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        let session = try Dialer(files.low, from: "127.0.0.3", port, loop)

        #expect(Self.until(loop) { session.ending != nil && high.link?.strangers == 1 })
        #expect(high.opened.isEmpty)
        #expect(high.link?.failedHandshakes == 0)

        // Who sums up closes the link first.
        let link = try #require(high.link)
        link.close()
        #expect(link.strangers == 1)
    }

    @Test("Connections that say nothing are bounded, and do not keep the peer out")
    func halfOpen() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        let address = try #require(SocketAddress("127.0.0.2:\(port)"))
        let source = SocketAddress("127.0.0.1:0")
        let silent = try (0..<20).map { _ in
            try TestSocket.startConnect(to: address, from: source)
        }
        let low = try Side(
            files.low, own: "127.0.0.1:1", peer: "127.0.0.2:\(port)", name: "low", loop: loop)

        #expect(Self.until(loop) { low.opened.count == 1 && high.opened.count == 1 })
        #expect(high.link?.halfOpen ?? .max <= 4)
        for socket in silent { close(socket) }
    }

    @Test("What is not TLS ends the connection, and nothing else")
    func garbage() throws {
        let files = try PairFiles()
        let loop = try PollLoop()
        let (high, port) = try Self.listener(files.high, loop)
        let socket = try TestSocket.startConnect(
            to: try #require(SocketAddress("127.0.0.2:\(port)")),
            from: SocketAddress("127.0.0.1:0"))
        defer { close(socket) }
        let junk = [UInt8](repeating: 0x47, count: 4096)
        _ = send(socket, junk, junk.count, Int32(MSG_NOSIGNAL))

        #expect(Self.until(loop) { high.link?.failedHandshakes == 1 })
        #expect(high.link?.machine.phase == .listening)
    }

    @Test("Dates do not count: a pinned certificate may be of the past or of the future")
    func dates() throws {
        let directory = try TemporaryDirectory()
        let mint = try CertificateMint()
        for (index, validity) in [CertificateMint.Validity.expired, .notYet].enumerated() {
            let made = try mint.leaf("n\(index).example", validity: validity)
            try directory.write("n\(index).pem", made.certificatePEM)
            try directory.write("n\(index).key", made.keyPEM, mode: 0o600)
        }
        func load(_ own: Int, _ peer: Int) throws -> PinnedIdentity {
            let root = directory.path
            return try PinnedIdentity.load(
                certificate: "\(root)/n\(own).pem", key: "\(root)/n\(own).key",
                peer: "\(root)/n\(peer).pem")
        }
        var sides = [try load(0, 1), try load(1, 0)]
        sides.sort { $0.own.number < $1.own.number }
        let loop = try PollLoop()
        let (high, port) = try Self.listener(sides[1], loop)
        let low = try Side(
            sides[0], own: "127.0.0.1:1", peer: "127.0.0.2:\(port)", name: "low", loop: loop)

        #expect(Self.until(loop) { low.opened.count == 1 && high.opened.count == 1 })
    }

    @Test("A node's own certificate is not its peer's")
    func same() throws {
        let directory = try TemporaryDirectory()
        let made = try SelfSignedCertificate(name: "one")
        let certificate = try directory.write(
            "c.pem", String(decoding: made.certificatePEM, as: UTF8.self))
        let key = try directory.write(
            "c.key", String(decoding: made.keyPEM, as: UTF8.self), mode: 0o600)

        #expect(throws: CertificateProblem.self) {
            _ = try PinnedIdentity.load(certificate: certificate, key: key, peer: certificate)
        }
        chmod(key, 0o644)
        let problem = #expect(throws: CertificateProblem.self) {
            _ = try PinnedIdentity.load(certificate: certificate, key: key, peer: certificate)
        }
        #expect(problem?.cause == .mode)
    }
}
