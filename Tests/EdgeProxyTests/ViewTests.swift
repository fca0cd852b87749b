import EdgeCore
import EdgeHTTP
import EdgeRouting
import EdgeSystem
import EdgeTLS
import EdgeTesting
import Synchronization
import Testing

@testable import EdgeProxy

/// Two places that clients come from: `lan` by interface 2, `public` by interface 3 and with a
/// PROXY header from 192.0.2.1.
private enum TwoViews {
    static let forwarder = SocketAddress(ipv4: 0xC000_0201, port: 40_000)

    static var configurations: [ViewConfiguration] {
        var lan = ViewConfiguration(name: "lan")
        lan.interfaces = ["eth0"]
        var open = ViewConfiguration(name: "public")
        open.interfaces = ["wg0"]
        open.requiresProxyHeader = true
        return [lan, open]
    }

    static func routing(
        lan: [Router.Host] = [host("home.example", 0)],
        open: [Router.Host] = [host("open.example", 0)], hasPublic: Bool = true,
        access: [[RuleConfiguration]] = [], rules: [RequestRules?] = [],
        denied: CIDRList = CIDRList()
    ) -> Routing {
        let trusted = CIDRList(["192.0.2.0/24"].compactMap { CIDR($0) })
        var views: [(UInt16, ClientView)] = [
            (0, ClientView(name: "lan", index: 0, looksAtHellos: true, denied: denied))
        ]
        if hasPublic {
            views.append(
                (
                    1,
                    ClientView(
                        name: "public", index: 1, requiresProxyHeader: true,
                        trustedProxies: trusted, profile: 1, looksAtHellos: true)
                ))
        }
        let names = hasPublic ? configurations : [configurations[0]]
        return Routing(
            views: views, isDivided: true,
            places: ViewTable(names, listeners: [nil, nil, nil, nil], interfaces: [:]),
            router: Router(
                [Router.View(hosts: lan), Router.View(hosts: open, hostPolicy: 1)]),
            access: AccessRules(access),
            profiles: [ServerProfile(fallback: nil), ServerProfile(fallback: nil)], rules: rules)
    }

    static func host(_ pattern: String, _ pool: Int32, policy: Int32 = -1) -> Router.Host {
        var host = Router.Host(pattern: pattern, site: 0, pool: pool)
        host.policy = policy
        return host
    }

    /// Interfaces that change under way.
    final class Interfaces: Sendable {
        let list = Mutex([
            NetworkInterface(index: 1, name: "lo"), NetworkInterface(index: 2, name: "eth0"),
            NetworkInterface(index: 3, name: "wg0"),
        ])
        let reads = Mutex(0)

        func read() -> [NetworkInterface] {
            reads.withLock { $0 += 1 }
            return list.withLock { $0 }
        }
    }

    static func bench(
        _ routing: Routing = routing(), _ interfaces: Interfaces = Interfaces()
    ) throws -> Bench {
        var options = Bench.Options()
        options.routing = routing
        options.interfaces = { interfaces.read() }
        return try Bench(options)
    }
}

@Suite("Views of a worker") struct ViewTests {
    private static func arrive(_ bench: Bench, _ interface: Int32, _ listener: Int32) -> Int32 {
        bench.ring.arrival = { _ in interface }
        return bench.client(listener)
    }

    @Test("A connection that arrives where no view is gets closed and counted")
    func nowhere() throws {
        let bench = try TwoViews.bench()

        for interface: Int32 in [0, 1, 9] {
            let client = Self.arrive(bench, interface, Bench.listener)
            #expect(client < 0 || bench.ring.isClosed(client), "\(interface)")
        }
        #expect(bench.count(ReasonCode.noView) == 3)
        #expect(bench.count(.connectionsRefused) == 3)
    }

    @Test("A host of another view is nobody's, whatever the connection asks for")
    func hosts() throws {
        let bench = try TwoViews.bench()
        let client = Self.arrive(bench, 2, Bench.listener)

        bench.send(client, "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n")
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 404"))
        bench.send(client, bench.get())
        #expect(bench.ring.opened.count == 1)
    }

    @Test("An interface that goes and comes back is its view's again with the first connection")
    func comesBack() throws {
        let interfaces = TwoViews.Interfaces()
        let bench = try TwoViews.bench(TwoViews.routing(), interfaces)
        let before = interfaces.reads.withLock { $0 }
        #expect(Self.arrive(bench, 3, Bench.listener) >= 0)
        #expect(interfaces.reads.withLock { $0 } == before)

        interfaces.list.withLock { $0[2] = NetworkInterface(index: 12, name: "wg0") }
        let client = Self.arrive(bench, 12, Bench.listener)
        bench.send(client, "PROXY TCP4 198.51.100.7 192.0.2.1 5000 443\r\n")
        bench.send(client, "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n")

        #expect(bench.ring.takeSent(to: bench.upstream).contains("X-Real-IP: 198.51.100.7\r\n"))
        #expect(Self.arrive(bench, 3, Bench.listener) < 0 || bench.count(ReasonCode.noView) == 1)
    }

    @Test("An interface that has another one's number, or another name, is not taken for it")
    func reusedNumber() throws {
        let interfaces = TwoViews.Interfaces()
        let bench = try TwoViews.bench(TwoViews.routing(), interfaces)
        bench.send(Self.arrive(bench, 2, Bench.listener), bench.get())
        #expect(bench.ring.opened.count == 1)

        interfaces.list.withLock { $0[1] = NetworkInterface(index: 2, name: "guest0") }
        bench.ring.interfacesRemain = false
        let client = Self.arrive(bench, 2, Bench.listener)
        #expect(client < 0 || bench.ring.isClosed(client))
        #expect(bench.count(ReasonCode.noView) == 1)

        interfaces.list.withLock { $0[1] = NetworkInterface(index: 2, name: "eth0") }
        #expect(Self.arrive(bench, 2, Bench.listener) >= 0)
        #expect(bench.count(ReasonCode.noView) == 1)
    }

    @Test("What is made upon an interface belongs to it")
    func macvlan() throws {
        let interfaces = TwoViews.Interfaces()
        interfaces.list.withLock {
            $0.append(NetworkInterface(index: 7, name: "vrrp.1", parent: 2, kind: "macvlan"))
            $0.append(NetworkInterface(index: 8, name: "vlan.9", parent: 2, kind: "vlan"))
        }
        let bench = try TwoViews.bench(TwoViews.routing(), interfaces)

        bench.send(Self.arrive(bench, 7, Bench.listener), bench.get())
        #expect(bench.ring.opened.count == 1)
        _ = Self.arrive(bench, 8, Bench.listener)
        #expect(bench.count(ReasonCode.noView) == 1)
    }

    @Test("A PROXY header tells the client, in one piece with the request or byte by byte")
    func header() throws {
        let text =
            "PROXY TCP4 198.51.100.7 192.0.2.1 5000 443\r\n"
            + "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n"
        for piece in [1, 7, 44, 45, 1000] {
            let bench = try TwoViews.bench()
            let client = Self.arrive(bench, 3, Bench.listener)
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: piece) {
                bench.ring.receives(client, bytes[start..<min(start + piece, bytes.count)])
                bench.settle()
            }

            let head = bench.ring.takeSent(to: bench.upstream)
            #expect(head.contains("X-Forwarded-For: 198.51.100.7\r\n"), "\(piece): \(head)")
            bench.send(bench.upstream, Bench.ok)
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 200"), "\(piece)")
        }
    }

    @Test("A header that says nothing keeps the socket's address")
    func local() throws {
        let bench = try TwoViews.bench()
        let client = Self.arrive(bench, 3, Bench.listener)

        bench.send(client, "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: open.example\r\n\r\n")

        let peer = try #require(bench.ring.address(of: client))
        let head = bench.ring.takeSent(to: bench.upstream)
        #expect(head.contains("X-Real-IP: \(peer.addressText)\r\n"))
    }

    @Test("Without the header, with a wrong one or too late, the connection closes without a word")
    func wrong() throws {
        for text in ["GET / HTTP/1.1\r\n", "PROXY TCP4 198.51.100.7\r\n", "\u{16}\u{3}\u{1}"] {
            let bench = try TwoViews.bench()
            let client = Self.arrive(bench, 3, Bench.listener)
            bench.send(client, text)
            #expect(bench.ring.isClosed(client) && bench.ring.sent(to: client).isEmpty, "\(text)")
            #expect(bench.count(ReasonCode.clientProxyHeaderInvalid) == 1, "\(text)")
        }
        let bench = try TwoViews.bench()
        let client = Self.arrive(bench, 3, Bench.tlsListener)
        bench.send(client, "PROXY TC")
        bench.pass(.milliseconds(900))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.milliseconds(200))

        #expect(bench.ring.isClosed(client) && bench.ring.sent(to: client).isEmpty)
        #expect(bench.count(ReasonCode.clientProxyHeaderTimeout) == 1)
        bench.expectEmpty()
    }

    @Test("Who is not trusted is closed before a byte is read")
    func untrusted() throws {
        let bench = try TwoViews.bench()
        bench.ring.arrival = { _ in 3 }
        bench.ring.incoming(Bench.listener, [SocketAddress(ipv4: 0xC633_6401, port: 4)])
        bench.settle()

        #expect(bench.count(ReasonCode.clientNotTrusted) == 1)
        bench.expectEmpty()
    }

    @Test("A relayed connection gets what came behind the header")
    func relayed() throws {
        let bench = try TwoViews.bench()
        let client = Self.arrive(bench, 3, Bench.tcpListener)
        #expect(bench.ring.opened.isEmpty)

        bench.send(client, "PROXY TCP4 198.51.100.7 192.0.2.1 5000 6443\r\nhello")
        #expect(bench.ring.takeSent(to: bench.upstream) == "hello")
        bench.send(bench.upstream, "and back")
        #expect(bench.ring.takeSent(to: client) == "and back")
    }

    @Test(
        "An end in the middle of a header or hello is answered by nothing",
        arguments: zip(
            [3, 3, 2] as [Int32], [Bench.listener, Bench.tlsListener, Bench.tlsListener]))
    func endsEarly(interface: Int32, listener: Int32) throws {
        let bench = try TwoViews.bench()
        let client = Self.arrive(bench, interface, listener)
        let header: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21]
        bench.ring.receives(
            client, interface == 3 ? header : Array(HelloBuilder().bytes.prefix(50)))
        bench.settle()
        bench.ring.ends(client)
        bench.settle()

        #expect(bench.ring.isClosed(client) && bench.ring.sent(to: client).isEmpty)
        #expect(bench.count(ReasonCode.clientBadRequest) == 0)
        bench.expectEmpty()
    }

    @Test(
        "A view that a reload takes away begins nothing on connections that it had taken",
        arguments: [Bench.tlsListener, Bench.tcpListener])
    func goneEarly(listener: Int32) throws {
        for isSplit in [false, true] {
            let bench = try TwoViews.bench()
            let client = Self.arrive(bench, 3, listener)
            var bytes = Array("PROXY TCP4 198.51.100.7 192.0.2.1 5000 80\r\n".utf8)
            if listener == Bench.tlsListener {
                if isSplit {
                    bench.ring.receives(client, bytes)
                    bench.settle()
                    bytes = []
                }
                bytes += HelloBuilder.browser("open.example").bytes
            }
            bench.apply(2, routing: TwoViews.routing(hasPublic: false))
            bench.ring.receives(client, bytes)
            bench.settle()

            #expect(bench.ring.isClosed(client) && bench.ring.sent(to: client).isEmpty)
            #expect(bench.ring.opened.isEmpty)
            #expect(bench.count(ReasonCode.noView) == 1)
            bench.expectEmpty()
        }
    }

    @Test("Interfaces that cannot be read for a moment are those that were there before")
    func unreadable() throws {
        let interfaces = TwoViews.Interfaces()
        let bench = try TwoViews.bench(TwoViews.routing(), interfaces)
        interfaces.list.withLock { $0 = [] }
        bench.apply(2, routing: TwoViews.routing())
        bench.pass(.seconds(3))

        bench.send(Self.arrive(bench, 2, Bench.listener), bench.get())
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(ReasonCode.noView) == 0)
    }

    @Test(
        "A challenge is a token: nothing else goes past the redirect",
        arguments: [
            ("token-_09", true), ("../../admin", false), ("..%2f..%2fadmin", false),
            ("a/b", false), ("a;b", false), ("..", false), ("", false),
        ])
    func challenge(name: String, isPassed: Bool) throws {
        var options = Bench.Options()
        options.challengePool = 0
        let bench = try Bench(options)
        let client = bench.client(Bench.redirectListener)

        bench.send(client, bench.get("/.well-known/acme-challenge/\(name)"))
        #expect(bench.ring.opened.count == (isPassed ? 1 : 0))
        if !isPassed {
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 308"))
        }
    }

    @Test("A view that a reload takes away serves nothing more on its connections")
    func gone() throws {
        let bench = try TwoViews.bench()
        let client = Self.arrive(bench, 3, Bench.listener)
        bench.send(client, "PROXY TCP4 198.51.100.7 192.0.2.1 5000 80\r\n")
        bench.apply(2, routing: TwoViews.routing(hasPublic: false))

        for name in ["open.example", "home.example"] {
            bench.send(client, "GET / HTTP/1.1\r\nHost: \(name)\r\n\r\n")
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 421"), "\(name)")
        }
        #expect(bench.ring.opened.isEmpty)
    }

    // MARK: - Passthrough

    private static var passed: Routing {
        var site = TwoViews.host("registry.example", 0)
        site.isPassthrough = true
        var challenge = TwoViews.host("*", 0)
        challenge.isPassthrough = true
        challenge.protocols = ["acme-tls/1"]
        return TwoViews.routing(lan: [site, challenge, TwoViews.host("home.example", 0)])
    }

    @Test(
        "A hello for a site that is passed through goes on as it came",
        arguments: [1, 5, 100, 4000])
    func passthrough(piece: Int) throws {
        let bench = try TwoViews.bench(Self.passed)
        let client = Self.arrive(bench, 2, Bench.tlsListener)
        let hello = HelloBuilder.browser("Registry.Example").bytes
        let bytes = hello + Array("0-RTT or whatever".utf8)
        for start in stride(from: 0, to: bytes.count, by: piece) {
            bench.ring.receives(client, bytes[start..<min(start + piece, bytes.count)])
            bench.settle()
        }

        #expect(bench.ring.takeBytes(to: bench.upstream).elementsEqual(bytes))
        bench.send(bench.upstream, "hello back")
        #expect(bench.ring.takeSent(to: client) == "hello back")
        bench.ring.ends(client)
        bench.settle()
        bench.ring.ends(bench.upstream)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("A protocol decides before the name")
    func protocols() throws {
        let bench = try TwoViews.bench(Self.passed)
        var hello = HelloBuilder()
        hello.extensions = [
            HelloBuilder.serverName("home.example"), HelloBuilder.protocols("acme-tls/1"),
        ]

        bench.ring.receives(Self.arrive(bench, 2, Bench.tlsListener), hello.bytes)
        bench.settle()
        #expect(bench.ring.takeBytes(to: bench.upstream).elementsEqual(hello.bytes))
    }

    @Test(
        "A hello that does not come is given up in its time, and one that is broken gets an alert")
    func broken() throws {
        let bench = try TwoViews.bench(Self.passed)
        let slow = Self.arrive(bench, 2, Bench.tlsListener)
        bench.ring.receives(slow, HelloBuilder().bytes.prefix(50))
        bench.settle()
        let bad = Self.arrive(bench, 2, Bench.tlsListener)
        bench.ring.receives(
            bad, [22, 3, 1, 0, 4, 1, 0, 0, 200] + [UInt8](repeating: 0, count: 300))
        bench.settle()
        #expect(bench.ring.sent(to: bad).first == 21)
        bench.pass(.seconds(6))

        #expect(bench.ring.isClosed(slow) && bench.ring.sent(to: slow).isEmpty)
        #expect(bench.count(ReasonCode.clientHelloTimeout) == 1)
        bench.ring.ends(bad)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("Whom a view denies gets no connection passed on either")
    func denied() throws {
        var site = TwoViews.host("registry.example", 0)
        site.isPassthrough = true
        let all = CIDRList(["192.0.2.0/24"].compactMap { CIDR($0) })
        let bench = try TwoViews.bench(TwoViews.routing(lan: [site], denied: all))

        let raw = Self.arrive(bench, 2, Bench.tcpListener)
        let named = Self.arrive(bench, 2, Bench.tlsListener)
        bench.ring.receives(named, HelloBuilder.browser("registry.example").bytes)
        bench.settle()

        #expect(bench.ring.opened.isEmpty)
        #expect(bench.ring.isClosed(raw) && bench.ring.isClosed(named))
        #expect(bench.count(ReasonCode.clientForbidden) == 2)
        bench.expectEmpty()
    }

    @Test("A request for a site that is passed through is for another connection")
    func notHere() throws {
        let bench = try TwoViews.bench(Self.passed)
        let client = Self.arrive(bench, 2, Bench.listener)

        bench.send(client, "GET / HTTP/1.1\r\nHost: registry.example\r\n\r\n")
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 404"))
        #expect(bench.ring.opened.isEmpty)
    }
}

@Suite("Rules of a worker") struct RuleTests {
    /// `home.example` in `lan` under one set of rules.
    private static func bench(
        _ rules: RequestRules, _ access: RuleConfiguration = RuleConfiguration()
    ) throws -> (Bench, Int32) {
        let host = TwoViews.host("home.example", 0, policy: 0)
        let bench = try TwoViews.bench(
            TwoViews.routing(lan: [host], access: [[access]], rules: [rules]))
        bench.ring.arrival = { _ in 2 }
        return (bench, bench.client())
    }

    private static func answer(
        _ rules: RequestRules, _ access: RuleConfiguration, _ request: String
    )
        throws -> String
    {
        let (bench, client) = try bench(rules, access)
        bench.send(client, request)
        #expect(bench.ring.opened.isEmpty)
        return bench.ring.takeSent(to: client)
    }

    private static let none = RequestRules(head: nil)
    private static let get = "GET /a/b?c=d HTTP/1.1\r\nHost: home.example\r\n\r\n"

    @Test("Who may not come gets 403, which method is not there 405 with those that are")
    func access() throws {
        var rules = RuleConfiguration()
        rules.denied = ["192.0.0.0/8"].compactMap { CIDR($0) }
        #expect(try Self.answer(Self.none, rules, Self.get).hasPrefix("HTTP/1.1 403"))

        rules = RuleConfiguration()
        rules.methods = ["POST", "PUT"]
        let answer = try Self.answer(Self.none, rules, Self.get)
        #expect(answer.hasPrefix("HTTP/1.1 405"))
        #expect(answer.contains("Allow: POST, PUT\r\n"))
    }

    @Test("Maintenance is a 503, a redirect what its template says")
    func answers() throws {
        let open = RuleConfiguration()
        let maintained = RequestRules(head: nil, isUnderMaintenance: true)
        #expect(try Self.answer(maintained, open, Self.get).hasPrefix("HTTP/1.1 503"))

        let location = try TextTemplate(
            [.text(Array("https://new.example".utf8)), .path, .query], view: [])
        let moved = RequestRules(head: nil, redirect: (location, 307))
        let answer = try Self.answer(moved, open, Self.get)
        #expect(answer.hasPrefix("HTTP/1.1 307"))
        #expect(answer.contains("Location: https://new.example/a/b?c=d\r\n"))
    }

    @Test("Answers of our own carry what rules add, but not what describes an upstream's content")
    func ownAnswers() throws {
        let edits = try FieldEdits(
            [
                .init(.set, Array("X-View".utf8), [.view, .text([0x2F]), .path]),
                .init(.add, Array("Cache-Control".utf8), [.text(Array("public".utf8))]),
                .init(.set, Array("Content-Type".utf8), [.text(Array("image/png".utf8))]),
            ], view: Array("lan".utf8))
        let head = HeadRules(
            responseEdits: edits,
            secureResponseEdits: try FieldEdits(
                [.init(.set, Array("Strict-Transport-Security".utf8), [])], view: []))
        let open = RuleConfiguration()
        var denied = RuleConfiguration()
        denied.denied = ["192.0.0.0/8"].compactMap { CIDR($0) }
        let location = try TextTemplate([.text(Array("/x".utf8))], view: [])

        let answers = [
            try Self.answer(RequestRules(head: head), denied, Self.get),
            try Self.answer(RequestRules(head: head, isUnderMaintenance: true), open, Self.get),
            try Self.answer(RequestRules(head: head, redirect: (location, 302)), open, Self.get),
        ]
        for (status, answer) in zip(["403", "503", "302"], answers) {
            #expect(answer.hasPrefix("HTTP/1.1 \(status)"))
            #expect(answer.contains("X-View: lan//a/b\r\n"), "\(answer)")
            #expect(!answer.contains("public") && !answer.contains("image/png"))
            #expect(!answer.contains("Strict-Transport"), "in the clear")
        }
        // An upstream that fails.
        let (bench, client) = try Self.bench(RequestRules(head: head))
        bench.send(client, Self.get)
        _ = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 502"), "\(answer)")
        #expect(answer.contains("X-View: lan//a/b\r\n"), "\(answer)")
    }

    @Test("A body may be as long as the innermost rule says")
    func body() throws {
        let rules = RequestRules(head: nil, bodyMax: 4)
        let request = "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 5\r\n\r\nhello"
        #expect(try Self.answer(rules, RuleConfiguration(), request).hasPrefix("HTTP/1.1 413"))
    }

    @Test("Both heads are edited, and what the answer's edits ask for is kept until then")
    func edits() throws {
        let head = HeadRules(
            requestEdits: try FieldEdits(
                [.init(.set, Array("X-View".utf8), [.view, .text([0x2F]), .client])],
                view: Array("lan".utf8)),
            responseEdits: try FieldEdits(
                [
                    .init(.remove, Array("Server".utf8)),
                    .init(.set, Array("X-Path".utf8), [.path, .query]),
                ], view: []),
            prefix: Array("/a".utf8), replacement: Array("/v2".utf8))
        let (bench, client) = try Self.bench(RequestRules(head: head))

        bench.send(client, "GET /a/b?c=d HTTP/1.1\r\nHost: home.example\r\nX-View: me\r\n\r\n")
        let request = bench.ring.takeSent(to: bench.upstream)
        #expect(request.hasPrefix("GET /v2/b?c=d HTTP/1.1\r\n"))
        #expect(request.contains("X-View: lan/192.0.2.") && !request.contains("X-View: me"))
        bench.send(
            bench.upstream, "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok")
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.contains("X-Path: /a/b?c=d\r\n") && !answer.contains("Server:"))
        #expect(answer.hasSuffix("\r\n\r\nok"))
    }

    @Test("Rules that a reload takes away change no answer any more")
    func gone() throws {
        let head = HeadRules(
            responseEdits: try FieldEdits([.init(.set, Array("X-A".utf8), [.path])], view: []))
        let (bench, client) = try Self.bench(RequestRules(head: head))
        bench.send(client, Self.get)
        let upstream = bench.upstream
        bench.apply(2, routing: TwoViews.routing())

        bench.send(upstream, Bench.ok)
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 200") && !answer.contains("X-A:"))
    }
}
