import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: requests and answers") struct RequestTests {
    @Test("A request is forwarded and its answer comes back")
    func forwarded() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, bench.get("/a?b", "X-One: 1\r\n"))
        let request = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, Bench.ok)

        #expect(request.hasPrefix("GET /a?b HTTP/1.1\r\n"))
        #expect(request.contains("Host: home.example\r\n"))
        #expect(request.contains("X-One: 1\r\n"))
        #expect(request.contains("X-Forwarded-For: 192.0.2.1\r\n"))
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(answer.hasSuffix("\r\n\r\nok"))
        #expect(bench.count(Counter.responses2xx) == 1)
        #expect(bench.count(Counter.requestsActive) == 0)
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Head and body of one segment make one send upstream")
    func oneSend() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 5\r\n\r\nhello")

        #expect(bench.ring.sendCalls(to: bench.upstream) == 1)
        #expect(bench.ring.takeSent(to: bench.upstream).hasSuffix("\r\n\r\nhello"))
    }

    @Test("Head and body of one segment make one send on a reused connection too")
    func oneSendReused() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        let before = bench.ring.sendCalls(to: bench.upstream)

        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 5\r\n\r\nhello")

        #expect(bench.ring.opened.count == 1)
        #expect(bench.ring.sendCalls(to: bench.upstream) == before + 1)
    }

    @Test("Answer head and body of one segment make one send to the client")
    func oneAnswer() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.sendCalls(to: client) == 1)
    }

    @Test("Connections are kept alive and reused on both sides")
    func reuse() throws {
        let bench = try Bench()
        let client = bench.client()

        for number in 0..<5 {
            bench.send(client, bench.get("/\(number)"))
            #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("GET /\(number) "))
            bench.send(bench.upstream, Bench.ok)
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        }

        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.upstreamReused) == 4)
        #expect(bench.ring.isReceiving(client))
    }

    @Test("Pipelined requests are answered one after the other")
    func pipelined() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, bench.get("/1") + bench.get("/2") + bench.get("/3"))
        for number in 1...3 {
            let request = bench.ring.takeSent(to: bench.upstream)
            #expect(request.hasPrefix("GET /\(number) "))
            #expect(request.components("GET ") == 1)
            bench.send(
                bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\(number)")
        }

        let answers = bench.ring.takeSent(to: client)
        #expect(answers.components("HTTP/1.1 200") == 3)
        #expect(answers.hasSuffix("3"))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Much pipelining stops reading and loses nothing")
    func flood() throws {
        let bench = try Bench()
        let client = bench.client()
        let total = 1_500

        bench.ring.receives(
            client, (0..<total).map { bench.get("/\($0)") }.joined())
        bench.settle()
        #expect(!bench.ring.isReceiving(client))
        for number in 0..<total {
            let request = bench.ring.takeSent(to: bench.upstream)
            try #require(request.hasPrefix("GET /\(number) "))
            bench.send(bench.upstream, Bench.ok)
        }

        #expect(bench.ring.takeSent(to: client).components("HTTP/1.1 200") == total)
        #expect(bench.ring.isReceiving(client))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    private static let chunkedRequest =
        "POST /x HTTP/1.1\r\nHost: home.example\r\nTE: trailers\r\n"
        + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        + "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n"
    private static let chunkedAnswer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "3\r\nabc\r\n2\r\nde\r\n0\r\nX-End: 1\r\n\r\n"

    @Test("Chunked bodies with trailers go both ways")
    func chunked() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, Self.chunkedRequest)
        let request = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, Self.chunkedAnswer)

        #expect(request.contains("Transfer-Encoding: chunked\r\n"))
        #expect(request.hasSuffix("\r\n\r\nb\r\nhello world\r\n0\r\nX-Sum: 7\r\n\r\n"))
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.contains("3\r\nabc\r\n2\r\nde\r\n0\r\n"))
        #expect(answer.hasSuffix("\r\n\r\n"))
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1)
    }

    @Test("Any cut of a request gives the same request upstream")
    func requestCuts() throws {
        let whole = Array(Self.chunkedRequest.utf8)
        func body(_ text: String) -> String {
            // Chunk boundaries may follow the segments; content may not change.
            text.split(separator: "\r\n\r\n", maxSplits: 1).last.map { dechunk(String($0)) } ?? ""
        }
        for cut in 1..<whole.count {
            let bench = try Bench()
            let client = bench.client()
            bench.ring.receives(client, whole[..<cut])
            bench.settle()
            bench.ring.receives(client, whole[cut...])
            bench.settle()

            let request = bench.ring.takeSent(to: bench.upstream)
            try #require(request.hasPrefix("POST /x HTTP/1.1\r\n"), "cut at \(cut)")
            try #require(body(request) == "hello world", "cut at \(cut)")
            try #require(request.hasSuffix("0\r\nX-Sum: 7\r\n\r\n"), "cut at \(cut)")
        }
    }

    @Test("Any cut of an answer gives the same answer to the client")
    func answerCuts() throws {
        let answers = [
            Self.chunkedAnswer, Bench.ok,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + Bench.ok,
        ]
        for text in answers {
            let whole = Array(text.utf8)
            let bench = try Bench()
            let client = bench.client()
            for cut in 1..<whole.count {
                bench.send(client, bench.get())
                bench.ring.receives(bench.upstream, whole[..<cut])
                bench.settle()
                bench.ring.receives(bench.upstream, whole[cut...])
                bench.settle()

                let answer = bench.ring.takeSent(to: client)
                let isChunked = text.contains("chunked")
                let content = answer.components2("\r\n\r\n").last ?? ""
                if isChunked {
                    let body = answer.split(separator: "\r\n\r\n", maxSplits: 1).last ?? ""
                    try #require(dechunk(String(body)) == "abcde", "cut at \(cut)")
                } else {
                    try #require(content == "ok", "cut at \(cut)")
                }
            }
            #expect(bench.ring.opened.count == 1)
        }
    }

    @Test("One byte at a time, both ways")
    func trickle() throws {
        let bench = try Bench()
        let client = bench.client()

        for byte in Self.chunkedRequest.utf8 {
            bench.ring.receives(client, [byte])
            bench.settle()
        }
        #expect(bench.ring.takeSent(to: bench.upstream).hasSuffix("0\r\nX-Sum: 7\r\n\r\n"))
        for byte in Self.chunkedAnswer.utf8 {
            bench.ring.receives(bench.upstream, [byte])
            bench.settle()
        }

        #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\n"))
        #expect(bench.count(Counter.requestsActive) == 0)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("An answer that ends with the connection is passed on as chunks")
    func untilClose() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, bench.get())
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\n\r\nabc")
        bench.send(bench.upstream, "def")
        bench.ring.ends(bench.upstream)
        bench.settle()

        #expect(bench.ring.takeSent(to: client).hasSuffix("abc\r\n3\r\ndef\r\n0\r\n\r\n"))
        #expect(bench.ring.isReceiving(client))
        #expect(bench.ring.isClosed(bench.upstream))
    }

    @Test("An HTTP/1.0 client gets its answer until the end of the connection")
    func http10() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, "GET / HTTP/1.0\r\nHost: home.example\r\n\r\n")
        bench.send(
            bench.upstream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasSuffix("\r\n\r\nab"))
        #expect(bench.ring.isSendingShut(client))
        bench.ring.ends(client)
        bench.settle()
        #expect(bench.ring.isClosed(client) && !bench.ring.wasReset(client))
    }

    @Test("An early answer reaches the client, and the connection is not used again")
    func early() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 100\r\n\r\nhello")
        bench.send(bench.upstream, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 413"))
        #expect(answer.contains("Connection: close"))
        #expect(bench.ring.isSendingShut(client))
        #expect(bench.ring.isClosed(bench.upstream))
        bench.send(client, String(repeating: "x", count: 95))
        bench.ring.ends(client)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("A client that waits for 100 gets it at once, one that does not gets none")
    func expectation() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(
            client,
            "PUT / HTTP/1.1\r\nHost: home.example\r\nExpect: 100-continue\r\n"
                + "Content-Length: 2\r\n\r\n")
        #expect(bench.ring.takeSent(to: client) == "HTTP/1.1 100 Continue\r\n\r\n")
        bench.send(client, "hi")
        bench.send(bench.upstream, "HTTP/1.1 100 Continue\r\n\r\n" + Bench.ok)

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK"))
        #expect(bench.count(Counter.responses1xx) == 1)
    }

    @Test("Interim answers are passed on, but not without end")
    func interim() throws {
        let bench = try Bench()
        let client = bench.client()
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

        bench.send(client, bench.get())
        bench.send(bench.upstream, String(repeating: hint, count: 16))
        #expect(bench.ring.takeSent(to: client).components("HTTP/1.1 103") == 16)
        bench.send(bench.upstream, hint)

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamBadResponse) == 1)
    }

    @Test("A HEAD's answer has no body, whatever its length says")
    func head() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, "HEAD / HTTP/1.1\r\nHost: home.example\r\n\r\n")
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
        bench.send(client, bench.get("/next"))

        #expect(bench.ring.opened.count == 1)
        #expect(bench.ring.takeSent(to: bench.upstream).contains("GET /next "))
    }

    @Test("Nobody's host is a 404, and the connection goes on")
    func noRoute() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, "GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 404"))
        #expect(bench.count(ReasonCode.noRoute) == 1)
        bench.send(client, bench.get())

        #expect(bench.ring.opened.count == 1)
    }

    @Test("A listener that redirects answers with https and its port")
    func redirect() throws {
        let bench = try Bench()
        let client = bench.client(Bench.redirectListener)

        bench.send(client, "GET /a/b?c HTTP/1.1\r\nHost: home.example:80\r\n\r\n")

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 308"))
        #expect(answer.contains("Location: https://home.example:8443/a/b?c\r\n"))
        bench.send(client, "GET http://home.example?c HTTP/1.1\r\nHost: home.example\r\n\r\n")
        let other = bench.ring.takeSent(to: client)
        #expect(other.contains("Location: https://home.example:8443/?c\r\n"))
        #expect(bench.ring.isReceiving(client))
    }

    @Test(
        "Broken requests are refused with their status and nothing goes upstream",
        arguments: [
            ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/3.0\r\nHost: home.example\r\n\r\n", 505),
            (
                "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 1\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n", 400
            ),
            ("GET /\(String(repeating: "a", count: 20_000)) HTTP/1.1\r\n", 414),
        ] as [(String, Int)])
    func broken(request: String, status: Int) throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, request)

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 \(status) "))
        #expect(bench.ring.opened.isEmpty)
        #expect(bench.ring.isSendingShut(client))
        bench.ring.ends(client)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("A broken chunk ends the request on both sides")
    func brokenBody() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(
            client,
            "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n")
        bench.send(client, "zz\r\n")

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 400"))
        #expect(bench.ring.isClosed(bench.upstream))
        #expect(!bench.ring.takeSent(to: bench.upstream).contains("0\r\n\r\n"))
        bench.ring.ends(client)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("A client that was refused names no exchange any more")
    func refusedNumber() throws {
        let bench = try Bench()
        let client = bench.client()
        let slot = bench.worker.channels[0].pointee.descriptor == client ? 0 : 1

        bench.send(
            client,
            "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")

        let number = bench.worker.downstreams[slot].pointee.exchange
        #expect(number == -1)
    }

    @Test("An upgrade becomes a tunnel; the end of one side ends both")
    func tunnel() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, Self.upgrade(bench))
        bench.send(bench.upstream, Self.switching + "one")
        #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\none"))
        _ = bench.ring.takeSent(to: bench.upstream)
        bench.send(client, "two")
        #expect(bench.ring.takeSent(to: bench.upstream) == "two")
        bench.send(bench.upstream, "three")
        #expect(bench.ring.takeSent(to: client) == "three")
        bench.ring.ends(client)
        bench.settle()

        #expect(bench.ring.isSendingShut(bench.upstream))
        bench.ring.ends(bench.upstream)
        bench.settle()
        bench.expectEmpty()
    }

    static func upgrade(_ bench: Bench) -> String {
        bench.get(
            "/ws",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
    }

    static let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

    @Test("What a client sends before its upgrade is accepted goes up with it")
    func tunnelHeld() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, Self.upgrade(bench) + "early")
        _ = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, Self.switching)

        #expect(bench.ring.takeSent(to: bench.upstream) == "early")
        bench.send(client, "+")
        #expect(bench.ring.takeSent(to: bench.upstream).hasSuffix("+"))
    }
}

extension String {
    /// How often `part` occurs.
    func components(_ part: String) -> Int { ranges(of: part).count }

    func components2(_ separator: String) -> [String] {
        split(separator: separator, omittingEmptySubsequences: false).map { String($0) }
    }
}

/// The content of chunked text.
func dechunk(_ text: String) -> String {
    var result = ""
    var rest = Substring(text)
    while let end = rest.range(of: "\r\n"), let size = Int(rest[..<end.lowerBound], radix: 16),
        size > 0
    {
        rest = rest[end.upperBound...]
        result += rest.prefix(size)
        rest = rest.dropFirst(size + 1)
    }
    return result
}

extension Substring {
    func range(of part: String) -> Range<Index>? { firstRange(of: part) }
}
