import EdgeCore
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

@Suite("Worker: keys, sticky cookies, loops") struct KeyTests {
    private static func bench(_ change: (inout Bench.Options) -> Void) throws -> Bench {
        var options = Bench.Options()
        options.members = (1...6).map { Bench.member($0) }
        options.connectionsMax = 64
        change(&options)
        return try Bench(options)
    }

    /// One request that is served: by whom, as what, and with which answer.
    private struct Served {
        var member: SocketAddress?
        var request = ""
        var answer = ""

        /// Of the cookie `E` that the answer sets.
        var token: String? {
            let mark = "Set-Cookie: E="
            let line = answer.split(separator: "\r\n").first { $0.hasPrefix(mark) }
            return line.map { String($0.dropFirst(mark.count).prefix(16)) }
        }
    }

    private static func serve(
        _ bench: Bench, _ more: String = "", on client: Int32? = nil
    ) -> Served {
        let client = client ?? bench.client()
        bench.send(client, bench.get("/", more))
        var served = Served()
        for descriptor in bench.ring.openDescriptors where descriptor != client {
            let text = bench.ring.takeSent(to: descriptor)
            guard text.hasPrefix("GET ") else { continue }
            served.member = bench.ring.address(of: descriptor)
            served.request = text
            bench.send(descriptor, Bench.ok)
        }
        served.answer = bench.ring.takeSent(to: client)
        return served
    }

    // MARK: - Keys

    @Test(
        "The same key goes to the same server, whoever asks",
        arguments: [
            (.header("x-user"), "X-USER: %"), (.cookie("sid"), "Cookie: a=1; sid=%"),
            (.cookie("sid"), "Cookie: a=1\r\nCookie: b=2;sid=%;c=3"),
        ] as [(BalancePolicy.HashKey, String)])
    func keys(key: BalancePolicy.HashKey, line: String) throws {
        let bench = try Self.bench { $0.balance = .hash(key) }
        func ask(_ number: Int) -> SocketAddress? {
            let value = line.split(separator: "%", omittingEmptySubsequences: false)
                .joined(separator: "user\(number)")
            return Self.serve(bench, "\(value)\r\n").member
        }

        let first = (0..<12).map { ask($0) }
        let second = (0..<12).map { ask($0) }

        #expect(!first.contains(nil))
        #expect(first == second)
        #expect(Set(first).count >= 3, "keys are spread: \(first)")
    }

    @Test("A client's requests go to one server by its address, also where the field is missing")
    func clients() throws {
        for key in [BalancePolicy.HashKey.client, .header("x-user"), .cookie("sid")] {
            let bench = try Self.bench { $0.balance = .hash(key) }
            var members: Set<SocketAddress> = []
            for _ in 0..<12 {
                let client = bench.client()
                let served = (0..<3).map { _ in
                    Self.serve(bench, "X-User: \r\n", on: client).member
                }
                #expect(Set(served).count == 1)
                if let member = served[0] { members.insert(member) }
            }
            #expect(members.count >= 3)
        }
    }

    @Test("Connections of a TCP listener go by their client's address")
    func relays() throws {
        let bench = try Self.bench { $0.balance = .hash(.client) }
        func relay(_ address: UInt32, port: UInt16) -> SocketAddress? {
            bench.ring.incoming(
                Bench.tcpListener, [SocketAddress(ipv4: 0xC000_0200 + address, port: port)])
            bench.settle()
            return bench.ring.address(of: bench.upstream)
        }

        let first = (0..<8).map { relay($0, port: 1000) }
        let second = (0..<8).map { relay($0, port: 2000) }

        #expect(first == second)
        #expect(Set(first).count >= 2)
    }

    @Test("Without a key nothing of a request is looked at, and servers take turns")
    func none() throws {
        let bench = try Self.bench { _ in }
        let members = (0..<6).map { _ in Self.serve(bench, "Cookie: E=1\r\n").member }
        #expect(Set(members).count == 6)
    }

    // MARK: - Sticky cookies

    @Test("A client stays with the server that its cookie names, and servers do not see the cookie")
    func sticky() throws {
        let bench = try Self.bench { $0.sticky = StickyPolicy(cookie: "E") }
        for _ in 0..<6 {
            let first = Self.serve(bench, "Cookie: a=1\r\n")
            let token = try #require(first.token)
            #expect(
                first.answer.contains(
                    "\r\nSet-Cookie: E=\(token); Path=/; HttpOnly; SameSite=Lax\r\n"))
            for _ in 0..<3 {
                let next = Self.serve(bench, "Cookie: a=1; E=\(token); b=2\r\n")
                #expect(next.member == first.member)
                #expect(next.token == nil)
                #expect(next.request.contains("\r\nCookie: a=1; b=2\r\n"))
                #expect(!next.request.contains(token))
                #expect(next.answer.hasSuffix("ok"))
            }
        }
    }

    @Test(
        "A cookie that names nobody is replaced",
        arguments: ["", "x", "0000000000000000", "0123456789ABCDEF", "0123456789abcdef0"])
    func foreign(value: String) throws {
        let bench = try Self.bench { $0.sticky = StickyPolicy(cookie: "E") }
        let members = (0..<6).map { _ in Self.serve(bench, "Cookie: E=\(value)\r\n") }
        #expect(Set(members.map(\.member)).count == 6)
        #expect(members.allSatisfy { $0.token != nil && !$0.request.contains("Cookie") })
        #expect(Set(members.map(\.token)).count == 6)
    }

    @Test("Who asks when its server is gone gets another, and that one's cookie")
    func lost() throws {
        let bench = try Self.bench { $0.sticky = StickyPolicy(cookie: "E") }
        let first = Self.serve(bench)
        let token = try #require(first.token)
        let member = try #require(first.member)
        bench.ring.connectPolicy = { $0 == member ? -111 : 0 }
        for descriptor in bench.ring.openDescriptors
        where bench.ring.address(of: descriptor) == member {
            bench.ring.ends(descriptor)
        }
        bench.settle()

        let second = Self.serve(bench, "Cookie: E=\(token)\r\n")
        #expect(second.member != member)
        let other = try #require(second.token)
        #expect(other != token)

        bench.ring.connectPolicy = { _ in 0 }
        #expect(Self.serve(bench, "Cookie: E=\(other)\r\n").member == second.member)
    }

    @Test("A cookie names the same server after a reload that moves servers about")
    func reload() throws {
        let bench = try Self.bench { $0.sticky = StickyPolicy(cookie: "E") }
        let served = (0..<6).map { _ in Self.serve(bench) }
        bench.apply(2, [Bench.member(9)] + (2...5).reversed().map { Bench.member($0) })
        bench.settle()

        for before in served {
            let after = Self.serve(bench, "Cookie: E=\(before.token ?? "")\r\n")
            if before.member == Bench.member(1) || before.member == Bench.member(6) {
                #expect(after.member != before.member)
                #expect(after.token != nil)
            } else {
                #expect(after.member == before.member)
                #expect(after.token == nil)
            }
        }
    }

    @Test("Tokens are others with another secret, and tell nothing to those who lack it")
    func secret() throws {
        func tokens(_ seed: UInt64) throws -> Set<String> {
            let bench = try Self.bench {
                $0.sticky = StickyPolicy(cookie: "E")
                $0.secret = KeyedHash(seed: seed)
            }
            return Set((0..<6).compactMap { _ in Self.serve(bench).token })
        }

        #expect(try tokens(1).count == 6)
        #expect(try tokens(1) == tokens(1))
        #expect(try tokens(1).isDisjoint(with: tokens(2)))
    }

    @Test("Over HTTP/2 the cookie comes in crumbs, is kept from servers, and is set as well")
    func stickyStreams() throws {
        let bench = try Self.bench {
            $0.sticky = StickyPolicy(cookie: "E")
            $0.version = .http2
        }
        let client = try WirePeer(clientOf: bench)
        var servers: [Int32: WirePeer] = [:]
        /// Who has served the request, with which head, and the answer's head.
        func ask(_ cookies: [String]) throws -> (Int32, String, String) {
            let id = client.get("/", cookies.map { ("cookie", $0) })
            for descriptor in bench.ring.opened where servers[descriptor] == nil {
                servers[descriptor] = WirePeer(
                    bench, descriptor, try SessionPeer(isServer: true, WirePeer.wide))
            }
            WirePeer.exchange([client] + servers.values)
            let (descriptor, server) = try #require(
                servers.first { !$0.value.peer.open.isEmpty })
            let stream = try #require(server.peer.open.first)
            server.peer.answer(stream, 200, [("content-length", "0")])
            WirePeer.exchange([client, server])
            return (descriptor, server[stream].heads[0], client[id].heads[0])
        }

        let first = try ask(["a=1"])
        let mark = "set-cookie: E="
        let line = try #require(first.2.split(separator: "\r\n").first { $0.hasPrefix(mark) })
        let token = line.dropFirst(mark.count).prefix(16)
        #expect(line.dropFirst(mark.count + 16) == "; Path=/; HttpOnly; SameSite=Lax")

        for _ in 0..<3 {
            let next = try ask(["a=1", "E=\(token)", "b=2"])
            #expect(next.0 == first.0)
            #expect(!next.1.contains(token))
            #expect(next.1.contains("cookie: a=1; b=2\r\n"))
            #expect(!next.2.contains("set-cookie"))
        }
        #expect(try ask([]).0 != first.0)
    }

    // MARK: - Loops

    private static let mark = "edged-0123456789abcdef"

    @Test("A request that has passed before is a 508, told and counted, and goes nowhere")
    func loop() throws {
        let book = try LogBook()
        let bench = try Self.bench { $0.accessLog = book.log }
        let client = bench.client()

        bench.send(client, bench.get("/a", "CDN-Loop: other, \(Self.mark);x=1\r\n"))

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 508 Loop Detected\r\n"))
        #expect(bench.ring.opened.isEmpty)
        #expect(bench.count(ReasonCode.loopDetected) == 1)
        // The connection goes on.
        #expect(Self.serve(bench, on: client).answer.hasSuffix("ok"))
        let lines = try book.lines(of: bench)
        #expect(lines.first?["status"] as? Int == 508)
        #expect(lines.first?["reason"] as? String == ReasonCode.loopDetected.label)
    }

    @Test("What is forwarded carries our mark behind those of others, and comes back as a loop")
    func mark() throws {
        let bench = try Self.bench { _ in }
        let request = Self.serve(bench, "CDN-Loop: other\r\n").request
        #expect(request.contains("\r\nCDN-Loop: other\r\n"))
        #expect(request.contains("\r\nCDN-Loop: \(Self.mark)\r\n"))

        let client = bench.client()
        bench.send(client, request)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 508 "))

        let streams = try Self.bench { _ in }
        let peer = try WirePeer(clientOf: streams)
        let id = peer.get("/", [("cdn-loop", Self.mark)])
        #expect(peer[id].heads[0].hasPrefix("HTTP/1.1 508 "))
        #expect(streams.ring.opened.count == 0)
    }
}
