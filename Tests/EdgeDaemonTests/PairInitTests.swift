import EdgeConfig
import EdgeControlAPI
import EdgeCore
import EdgePair
import EdgeTLS
import EdgeTesting
import Glibc
import Testing

@testable import EdgeDaemon

@Suite("Making a pair") struct PairInitTests {
    private let directory: TemporaryDirectory
    private let first: Configuration.Pair
    private let second: Configuration.Pair

    init() throws {
        directory = try TemporaryDirectory()
        let own = try #require(SocketAddress("127.0.0.1:1"))
        let peer = try #require(SocketAddress("127.0.0.2:1"))
        first = Configuration.Pair(
            own: own, peer: peer, name: "lb-01", peerName: "lb-02",
            directory: directory.file("first"))
        second = Configuration.Pair(
            own: peer, peer: own, name: "lb-02", peerName: "lb-01",
            directory: directory.file("second"))
    }

    @discardableResult
    private func run(
        _ pair: Configuration.Pair, pins: String? = nil, replaces: Bool = false
    ) throws(PairInit.Refusal) -> [String] {
        try PairInit(
            pair: pair, runAs: nil,
            options: PairInit.Options(peerCertificate: pins, replaces: replaces)
        ).run()
    }

    private func identity(_ pair: Configuration.Pair) throws -> PinnedIdentity {
        try PinnedIdentity.load(
            certificate: pair.certificate, key: pair.key, peer: pair.peerCertificate)
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        stat(path, &status)
        return status.st_mode & 0o777
    }

    @Test("What is put in place is on the disk before its name is, and the name before it is said")
    func synced() throws {
        var synced: [String] = []
        let keyPath = first.key
        var wasThere: [Bool] = []
        var fails = -1
        func run() throws {
            synced = []
            wasThere = []
            try _ = PairInit(pair: first, runAs: nil, options: PairInit.Options()) { descriptor in
                var buffer = [CChar](repeating: 0, count: 4096)
                let count = readlink("/proc/self/fd/\(descriptor)", &buffer, buffer.count - 1)
                synced.append(
                    String(
                        decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) },
                        as: UTF8.self))
                wasThere.append(access(keyPath, F_OK) == 0)
                return synced.count == fails ? -1 : 0
            }.run()
        }
        fails = 2
        #expect(throws: PairInit.Refusal.self) { try run() }
        #expect(access(first.key, F_OK) != 0 && access(first.key + ".new", F_OK) != 0)
        #expect(rmdir(first.directory) == 0)
        fails = -1

        try run()

        let folder = first.directory
        #expect(
            synced == [
                directory.path, first.key + ".new", folder, first.certificate + ".new", folder,
            ])
        #expect(wasThere == [false, false, true, true, true])
    }

    @Test("Two nodes make their certificates, carry them across, and are a pair")
    func pair() throws {
        let said = try run(first)
        try run(second)
        #expect(said.contains("other node: not known yet"))
        #expect(mode(first.directory) == 0o750)
        #expect(mode(first.key) == 0o600)
        #expect(mode(first.certificate) == 0o644)

        try run(first, pins: second.certificate)
        try run(second, pins: first.certificate)

        let (one, other) = (try identity(first), try identity(second))
        #expect(one.own == other.peer)
        #expect(one.peer == other.own)
        #expect(one.own.number != other.own.number)
        #expect("\(one.own)".split(separator: ":").count == 32)
    }

    @Test("Said again it changes nothing; to replace is another word")
    func again() throws {
        try run(first)
        try run(second)
        try run(first, pins: second.certificate)
        let before = try identity(first)

        try run(first)
        try run(first, pins: second.certificate)
        #expect(try identity(first) == before)

        try run(second, replaces: true)
        #expect(throws: PairInit.Refusal.self) { try run(first, pins: second.certificate) }
        #expect(try identity(first) == before)
        try run(first, pins: second.certificate, replaces: true)
        let after = try identity(first)
        #expect(after.own == before.own, "only the other one's was replaced")
        #expect(after.peer != before.peer)
    }

    @Test("A key, a node's own certificate and what is none are not pinned")
    func refused() throws {
        try run(first)
        try run(second)
        let key = directory.file("both.pem")
        let text = try directory.read("second/node.pem") + directory.read("second/node.key")
        try directory.write("both.pem", text)
        try directory.write("empty.pem", "")

        for (file, words) in [
            (key, "private key"), (first.certificate, "own certificate"),
            (directory.file("empty.pem"), "no certificate"), ("/nowhere", "No such file"),
        ] {
            let refusal = #expect(throws: PairInit.Refusal.self) { try run(first, pins: file) }
            #expect(refusal?.lines.joined().contains(words) == true, "\(refusal?.lines ?? [])")
        }
        #expect(access(first.peerCertificate, F_OK) != 0)
    }

    @Test("The folder is for the proxy's group whatever the umask; one of others is refused")
    func folder() throws {
        let mask = umask(0o077)
        defer { umask(mask) }
        try run(first)
        umask(mask)
        #expect(mode(first.directory) == 0o750)

        for open: mode_t in [0o770, 0o757] {
            #expect(chmod(first.directory, open) == 0)
            let refusal = #expect(throws: PairInit.Refusal.self) { try run(first) }
            #expect(refusal?.lines.first?.contains("others may write there") == true)
        }
        #expect(chmod(first.directory, 0o700) == 0)
        try run(first)
        guard geteuid() == 0 else { return }
        #expect(chown(first.directory, 12_345, 0) == 0)
        let refusal = #expect(throws: PairInit.Refusal.self) { try run(first) }
        #expect(refusal?.lines.first?.contains("belongs to user 12345") == true)
    }

    @Test("A key without its certificate is not overwritten unasked")
    func half() throws {
        try run(first)
        unlink(first.certificate)

        #expect(throws: PairInit.Refusal.self) { try run(first) }
        try run(first, replaces: true)
        #expect(access(first.certificate, R_OK) == 0)
    }
}

@Suite("Ticket keys on their way to the other node") struct PairTicketTests {
    private static let now = Instant(nanoseconds: 50_000_000_000_000)

    private static func key(origin: UInt64, age: UInt64) -> TicketKey {
        var key = TicketKey(
            random: (0..<UInt8(TicketKey.randomBytes)).map { $0 },
            madeAt: Instant(nanoseconds: now.nanoseconds - age), createdSeconds: 1_700_000_000)
        key.origin = origin
        return key
    }

    @Test("A key is the same key there, as old, and its maker's", arguments: [UInt64(0), 77])
    func carried(origin: UInt64) throws {
        let key = Self.key(origin: origin, age: 3_600_000_000_000)

        let sent = PairTicketKey(key, own: 5, now: Self.now)
        let there = Instant(nanoseconds: 9_000_000_000_000)
        let arrived = TicketKey(sent, own: 6, now: there)

        #expect(sent.origin == (origin == 0 ? 5 : origin))
        #expect(arrived.id == key.id)
        #expect(arrived.cipherKey == key.cipherKey)
        #expect(arrived.macKey == key.macKey)
        #expect(there.nanoseconds(since: arrived.madeAt) == 3_600_000_000_000)
        #expect(TicketKey(sent, own: sent.origin, now: there).origin == 0, "back at its maker")
    }

    @Test("A machine that has just started knows no time before")
    func young() {
        let sent = PairTicketKey(Self.key(origin: 0, age: 8_000_000_000_000), own: 5, now: Self.now)

        let arrived = TicketKey(sent, own: 6, now: Instant(nanoseconds: 100))

        #expect(arrived.madeAt == Instant(nanoseconds: 0))
    }
}

@Suite("Who is the standby") struct PairStandbyTests {
    @Test("Who has an address goes last, who has none first, whatever keeps it from having any")
    func standby() {
        func side(_ states: VIPState...) -> PairReload.Side? {
            var reply = VIPReply(now: 0, node: "lb-01", fitness: "fit")
            reply.instances = states.map {
                VIPInstance(
                    name: "lan", routerID: 1, interface: "eth0", link: "up", addresses: [],
                    state: $0, since: 0, cause: "", priority: 100, intervalMilliseconds: 20)
            }
            return reply.standby
        }

        #expect(side() == nil)
        #expect(side(.backup, .backup) == .here)
        #expect(side(.master) == .there)
        #expect(side(.backup, .master) == .there)
        #expect(side(.fault, .initialize) == .here)
    }
}
