internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Thousands of damaged messages from both sides against the real daemon.
    @Suite("Hostile peers")
    struct Hostile {}
}

extension Scenarios.Hostile {
    /// Damaged inputs in all; `make soak-hostile` sends many more.
    private static let count =
        ProcessInfo.processInfo.environment["EDGED_HOSTILE"].flatMap { Int($0) } ?? 4000
    /// Growth allowed behind the warm-up, which is the first quarter. Room for what an allocator
    /// keeps; a leak of 500 bytes per input shows in the long run.
    private static let growthKiBMax = 6 << 10

    /// A sanitizer's allocator keeps what was freed.
    private static let isSanitized =
        ProcessInfo.processInfo.environment.keys.contains { $0.hasSuffix("SAN_OPTIONS") }

    private struct Attack {
        let edged: Edged
        let tls: ClientTLS
        let hellos: [[UInt8]]

        /// One connection with something wrong about it. What comes back does not matter here.
        func send(_ index: Int, _ random: inout SeededRandom) throws {
            let requests = Mutation.requests
            let request = requests[Int.random(in: 0..<requests.count, using: &random)]
            let client: RawClient
            switch index % 4 {
            case 0:
                client = try RawClient(edged.https)
                let hello = hellos[Int.random(in: 0..<hellos.count, using: &random)]
                try? client.send(bytes: Mutation.mutate(hello, &random))
            case 1:
                client = try edged.connect()
                try? client.send(bytes: Mutation.mutate(request, &random))
            case 2:
                client = try RawClient(edged.https, tls: tls)
                try? client.send(bytes: Mutation.mutate(request, &random))
            default:
                client = try edged.connect()
                try? client.send("GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n")
                _ = client.read(within: .milliseconds(50))
            }
            // Some wait for an answer, some have their end seen, some just go.
            switch Int.random(in: 0..<4, using: &random) {
            case 0: _ = client.read(within: .milliseconds(2))
            case 1: client.finishSending()
            case 2: client.reset()
            default: break
            }
            client.close()
        }
    }

    @Test("damaged hellos, requests and answers end no process and leave nothing behind")
    func storm() throws {
        let seed =
            ProcessInfo.processInfo.environment["EDGE_TEST_SEED"].flatMap { UInt64($0) }
            ?? 20_261_122
        let place: Comment = "seed \(seed) (EDGE_TEST_SEED=\(seed) repeats it)"
        let good = try Nginx()
        let bad = try HostileUpstream(seed: seed)
        defer { bad.stop() }
        var options = Edged.Options()
        options.certificates = ["app": ["app.test"]]
        let edged = try Edged(
            """
            sites:
              - { hosts: app.test, upstream: good }
              - { hosts: bad.test, upstream: bad }
            upstreams:
              good: { servers: [\(good.server)], health: off, timeouts: { keep_alive: 100ms } }
              bad: { servers: [\(bad.server)], health: off, timeouts: { keep_alive: 100ms, response: 1s } }
            timeouts: { handshake: 1s, request_head: 1s, body: 1s, keep_alive: 1s }
            """, options)
        defer { edged.stop() }
        let attack = Attack(
            edged: edged,
            tls: try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM),
            hellos: [
                try Mutation.recordHello(.v12 ... .v13), try Mutation.recordHello(.v12 ... .v12),
            ])
        let pid = try edged.proxyPID()
        let base = ProcessFigures(of: pid)?.descriptorCount ?? 0

        var warm = 0
        for index in 0..<Self.count {
            if index == Self.count / 4 { warm = ProcessFigures(of: pid)?.residentKiB ?? 0 }
            var random = SeededRandom(seed: seed &+ UInt64(index))
            do {
                try attack.send(index, &random)
            } catch {
                Issue.record("input \(index) of seed \(seed): \(error)")
                break
            }
        }

        #expect(try edged.proxyPID() == pid, place)
        #expect(bad.count > Self.count / 8, "the hostile upstream was asked")
        #expect(
            eventually(within: .seconds(6)) {
                (ProcessFigures(of: pid)?.descriptorCount ?? .max) <= base
            }, place)
        #expect(eventually { (try? edged.metric("edged_connections_open")) == 0 }, place)
        #expect(eventually { (try? edged.metric("edged_requests_active")) == 0 }, place)
        let grown = (ProcessFigures(of: pid)?.residentKiB ?? .max) - warm
        #expect(
            grown < Self.growthKiBMax || Self.isSanitized,
            "\(grown) KiB more since the warm-up; seed \(seed)")
        #expect(try edged.failures("internal_error") == 0, place)
        #expect(try edged.get("/echo").status == 200)
        let client = try edged.connectTLS()
        #expect(try client.get("/echo", host: "app.test").status == 200)
        client.close()
    }
}
