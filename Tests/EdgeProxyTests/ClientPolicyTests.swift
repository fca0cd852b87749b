import EdgeCore
import EdgeHTTP
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: what clients may, and are told") struct ClientPolicyTests {
    private static func bench(_ change: (inout ClientPolicy) -> Void) throws -> Bench {
        var options = Bench.Options()
        change(&options.client)
        return try Bench(options)
    }

    private static func page(_ text: String, _ kind: ErrorPage.Kind = .html) -> ErrorPage {
        ErrorPage(Array(text.utf8), kind: kind)
    }

    // MARK: - Error pages

    @Test("A page is filled in and sent with its own type and length, to HEAD without content")
    func page() throws {
        let bench = try Self.bench {
            $0.errorPages.add(Self.page("<b>{{status}}</b> {{reason}} {{id}} {{x}}"), status: 404)
        }
        let client = bench.client()

        bench.send(client, "GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
        let answer = bench.ring.takeSent(to: client)
        bench.send(client, "HEAD / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
        let toHead = bench.ring.takeSent(to: client)

        let content = "<b>404</b> no_route - {{x}}"
        #expect(
            answer == """
                HTTP/1.1 404 Not Found\r\nContent-Type: text/html; charset=utf-8\r
                Cache-Control: no-store\r\nContent-Length: \(content.utf8.count)\r\n\r\n\(content)
                """)
        #expect(toHead == answer.dropLast(content.count))
    }

    @Test("The page's ID is the one that the upstream was given")
    func pageID() throws {
        let bench = try Self.bench {
            $0.errorPages.add(Self.page("{\"id\":\"{{id}}\"}", .json), hundred: 5)
        }
        let client = bench.client()

        bench.send(client, bench.get())
        let request = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, "this is no answer\r\n")
        let answer = bench.ring.takeSent(to: client)

        let id = try #require(request.components2("X-Request-ID: ").last).prefix(32)
        #expect(answer.hasPrefix("HTTP/1.1 502"))
        #expect(answer.contains("Content-Type: application/json\r\n"))
        #expect(answer.hasSuffix("{\"id\":\"\(id)\"}"))
    }

    @Test("A page that is larger than what is put together at once arrives whole")
    func largePage() throws {
        let text = String(repeating: "0123456789abcdef", count: (ErrorPage.byteCountMax - 16) / 16)
        let bench = try Self.bench {
            $0.errorPages.add(Self.page("\(text){{status}}"), hundred: 4)
        }
        let client = bench.client()
        bench.ring.setRoom(client, 5_000)

        bench.send(client, "GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
        bench.ring.setRoom(client, .max)
        bench.settle()

        #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\n\(text)404"))
        bench.send(client, bench.get())
        #expect(bench.upstream >= 0)
    }

    @Test("A page for a status goes before the one for its hundred; others keep the plain answer")
    func choice() {
        var pages = ErrorPages()
        pages.add(Self.page("one"), status: 503)
        pages.add(Self.page("all"), hundred: 5)

        #expect(pages.page(for: 503) == Self.page("one"))
        #expect(pages.page(for: 500) == Self.page("all"))
        #expect(pages.page(for: 599) == Self.page("all"))
        for status: UInt16 in [0, 200, 308, 399, 400, 404, 499, 600] {
            #expect(pages.page(for: status) == nil)
        }
    }

    @Test("A HEAD that is refused, or does not end, is answered without content")
    func refusedHEAD() throws {
        for (text, wait, status) in [
            ("HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n", 0, 400),
            ("\r\nHEAD / HTTP/9.9\r\n", 0, 505), ("HEAD / HTTP/1.1\r\nHost: a", 11, 408),
        ] {
            let bench = try Bench()
            let client = bench.client()
            bench.send(client, text)
            bench.pass(.seconds(wait))

            let answer = bench.ring.takeSent(to: client)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
            #expect(answer.contains("Content-Length: ") && answer.hasSuffix("\r\n\r\n"))
        }
    }

    // MARK: - Bodies

    @Test("A body that is announced too long is a 413 at once, without an upstream")
    func declared() throws {
        let bench = try Self.bench { $0.requestBodyMax = 5 }
        let client = bench.client()

        bench.send(
            client,
            "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 6\r\n"
                + "Expect: 100-continue\r\n\r\n")

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 413 Content Too Large\r\n"))
        #expect(bench.ring.isSendingShut(client))
        #expect(bench.upstream == -1)
        #expect(bench.count(ReasonCode.clientBodyTooLarge) == 1)
    }

    @Test("A chunked body that becomes too long is a 413 and never ends for the upstream")
    func chunked() throws {
        let bench = try Self.bench { $0.requestBodyMax = 5 }
        let head = "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        let fits = bench.client()
        bench.send(fits, head + "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
        #expect(bench.ring.takeSent(to: bench.upstream).hasSuffix("0\r\n\r\n"))
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: fits).hasSuffix("ok"))
        let client = bench.client()

        bench.send(client, head + "3\r\nabc\r\n")
        bench.send(client, "3\r\ndef\r\n0\r\n\r\n")

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 413 "))
        #expect(bench.count(ReasonCode.clientBodyTooLarge) == 1)
        #expect(!bench.ring.takeSent(to: bench.upstream).contains("0\r\n\r\n"))
        #expect(bench.ring.isClosed(bench.upstream))
    }

    // MARK: - Answers

    @Test("An answer that is broken before anything of it was sent is a 502, later it is cut")
    func unsent() throws {
        let bench = try Bench()
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, head + "2\r\nok\r\nno chunk")
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502 "))
        #expect(bench.count(Counter.responses2xx) == 0)
        #expect(bench.count(Counter.responses5xx) == 1)

        bench.send(client, bench.get())
        bench.send(bench.upstream, head)
        bench.send(bench.upstream, "2\r\nok\r\nno chunk")

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && !answer.contains("502"))
        #expect(bench.ring.isClosed(client))
        #expect(bench.count(Counter.responses2xx) == 1)
    }

    @Test("Interim answers stay when the answer behind them is taken back")
    func interimStays() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())

        bench.send(
            bench.upstream,
            "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx")

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 502 "))
    }

    @Test("Trailers are dropped where Connection names fields that they may hold")
    func namedTrailers() throws {
        let bench = try Bench()
        let client = bench.client()
        let fields = "Connection: X-Secret\r\nTransfer-Encoding: chunked\r\n"
        let body = "1\r\nx\r\n0\r\nX-Secret: 1\r\n\r\n"

        bench.send(client, "POST / HTTP/1.1\r\nHost: home.example\r\n\(fields)\r\n\(body)")
        let request = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\n\(fields)\r\n\(body)")
        let answer = bench.ring.takeSent(to: client)

        for text in [request, answer] {
            #expect(text.hasSuffix("\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
        }
    }

    // MARK: - Forwarding

    @Test("A trusted client's word counts, anybody else's is replaced")
    func trust() throws {
        let block = try #require(CIDR("192.0.2.1/32"))
        let bench = try Self.bench { $0.trusted = CIDRList([block]) }
        let claims = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n"

        for expected in [
            "X-Forwarded-Proto: https\r\nX-Forwarded-For: 9.9.9.9, 192.0.2.1\r\n",
            "X-Forwarded-For: 192.0.2.2\r\nX-Forwarded-Proto: http\r\n",
        ] {
            let client = bench.client()
            bench.send(client, bench.get("/", claims))
            #expect(bench.ring.takeSent(to: bench.upstream).contains(expected))
            bench.send(bench.upstream, Bench.ok)
            bench.ring.ends(client)
            bench.settle()
        }
    }

    // MARK: - Upgrades

    @Test("A listed protocol is switched to, one that is not listed is not asked for")
    func upgrade() throws {
        let bench = try Self.bench { $0.upgrades = [[UpgradeProtocol("spdy/3.1")]] }
        func ask(_ name: String) -> String {
            "POST /exec HTTP/1.1\r\nHost: home.example\r\nConnection: Upgrade\r\n"
                + "Upgrade: \(name)\r\nContent-Length: 0\r\n\r\n"
        }
        let client = bench.client()
        bench.send(client, ask("h2c"))
        #expect(!bench.ring.takeSent(to: bench.upstream).contains("Upgrade"))
        bench.send(bench.upstream, Bench.ok)
        _ = bench.ring.takeSent(to: client)

        bench.send(client, ask("SPDY/3.1"))
        let request = bench.ring.takeSent(to: bench.upstream)
        bench.send(
            bench.upstream,
            "HTTP/1.1 101 Switching\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\nhello")
        let answer = bench.ring.takeSent(to: client)
        bench.send(client, "up")

        #expect(request.hasSuffix("Upgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n"))
        #expect(
            answer.hasSuffix("Upgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\nhello"))
        #expect(bench.ring.takeSent(to: bench.upstream) == "up")
    }

    @Test("A switch to another protocol than was asked for is a 502")
    func otherSwitch() throws {
        let bench = try Self.bench { $0.upgrades = [[UpgradeProtocol("spdy/3.1")]] }
        let client = bench.client()
        bench.send(client, bench.get("/", "Connection: upgrade\r\nUpgrade: spdy/3.1\r\n"))

        bench.send(
            bench.upstream,
            "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502 "))
    }

    @Test("A tunnel may rest for its own time")
    func tunnel() throws {
        let bench = try Self.bench { $0.tunnel = 100_000_000_000 }
        let client = bench.client()
        bench.send(client, RequestTests.upgrade(bench))
        bench.send(bench.upstream, RequestTests.switching)

        bench.pass(.seconds(90))
        bench.send(client, "still here")
        bench.pass(.seconds(95))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.seconds(20))

        bench.expectEmpty()
    }
}
