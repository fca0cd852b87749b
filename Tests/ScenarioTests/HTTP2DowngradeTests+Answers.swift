internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios.HTTP2Downgrade {
    private static let start = "HTTP/1.1 200 OK\r\n"

    @Test("names are lower case, the hop's fields are gone, cookies stay apart, trailers come")
    func fields() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\n"
                    + "X-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n"
                    + "Set-Cookie: a=b\r\nX-Upper: Case\r\nSet-Cookie: c=d\r\n\r\n"
                    + "2\r\nok\r\n0\r\n\r\n"),
            .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let answer = try client.get()

        #expect(answer.text == "ok")
        #expect(answer.all("set-cookie") == ["a=b", "c=d"])
        #expect(
            answer.fields.map(\.name).sorted() == [
                ":status", "set-cookie", "set-cookie", "x-upper",
            ])
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("an upstream's trailers reach the client, but none that frame or route")
    func trailers() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                Self.start + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
                    + "Grpc-Status: 0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n"),
            .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let answer = try client.get()

        #expect(answer.text == "ok")
        #expect(answer.trailers?.map(\.description) == ["grpc-status: 0"])
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("answers without content have none, whatever the upstream sends")
    func empty() throws {
        let answers: [(String, String, String?)] = [
            ("HEAD", Self.start + "Content-Length: 5\r\n\r\n", "5"),
            ("HEAD", Self.start + "Transfer-Encoding: chunked\r\n\r\n", nil),
            ("GET", "HTTP/1.1 204 No\r\n\r\n", nil), ("GET", "HTTP/1.1 304 Not\r\n\r\n", nil),
            ("GET", Self.start + "Content-Length: 0\r\n\r\n", "0"),
            ("GET", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", nil),
        ]
        let upstream = try ScriptedUpstream(answers.flatMap { [.readRequest, .send($0.1)] })
        defer { upstream.stop() }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for (method, text, length) in answers {
            let answer = try client.response(client.request(HTTP2Client.fields(method)))
            #expect(answer.isEnded && answer.reset == nil && answer.body.isEmpty, "\(text)")
            #expect(answer.status == Int(text.dropFirst(9).prefix(3)))
            #expect(answer["content-length"] == length, "\(text)")
        }
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("interim answers but 100 are passed on before the answer; a 101 is not")
    func interim() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                    + Self.start + "Content-Length: 2\r\n\r\nok"),
            .readRequest,
            .send("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let answer = try client.get()

        #expect(answer.text == "ok")
        let hints = answer.interim.filter { $0.first?.value == "103" }
        #expect(hints.count == 1 && hints.first?.last?.description == "link: x")
        // RFC 9113 §8.6.
        #expect(try client.get().status == 502)
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("a 100 comes for those who expect it, and the content after it")
    func expectation() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let stream = try client.request(
            HTTP2Client.fields("POST", "/", with: [("expect", "100-continue")]), end: false)
        #expect(client.wait { client.messages[stream]?.interim.first?.first?.value == "100" })
        try client.send(.data(stream, "hello", end: true))

        #expect(try client.response(stream).text == "ok")
        #expect(upstream.requests.map(\.text) == ["hello"])
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    // MARK: - Answers that are none, or not whole

    @Test("what is no answer is a 502 on its stream, and the connection goes on")
    func broken() throws {
        let bad = [
            "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\nA: b\n\n", Self.start + "A : b\r\n\r\n",
            Self.start + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            Self.start + "Content-Length: x\r\n\r\n", Self.start + "A: b\u{0}\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            Self.start + "A: " + String(repeating: "b", count: 70_000),
        ]
        let upstream = try ScriptedUpstream { index in
            index < bad.count
                ? [.readRequest, .send(bad[index]), .readRequest]
                : [.readRequest, .respond(200, "ok"), .again]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for text in bad {
            let answer = try client.post("/", Array("a".utf8))
            #expect(answer.status == 502, "\(text.prefix(60))")
            #expect(answer.isEnded)
        }
        #expect(try client.get().text == "ok")
        #expect(client.faults.isEmpty, "\(client.faults)")
        #expect(try edged.failures("upstream_bad_response") == bad.count)
    }

    /// Rule 22. The head and what came of the content are there.
    private static let cut = [
        start + "Content-Length: 10\r\n\r\nhello",
        start + "Transfer-Encoding: chunked\r\n\r\na\r\nhello",
        start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: b\r\n",
    ]

    @Test(
        "an answer that is cut ends by RST_STREAM, never by END_STREAM", arguments: [false, true])
    func truncated(byReset: Bool) throws {
        let upstream = try ScriptedUpstream { index in
            [
                .readRequest, .send(Self.cut[index % Self.cut.count]), .pause(.milliseconds(30)),
                byReset ? .reset : .close,
            ]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for text in Self.cut {
            let answer = try client.post("/", Array("a".utf8))
            #expect(answer.status == 200 && !answer.isEnded, "\(text)")
            #expect([.internalError, .cancel, .protocolError].contains(answer.reset), "\(text)")
        }
        #expect(client.goAway == nil && client.isAlive())
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("an answer whose chunks are broken is a 502 or a reset, never a whole answer")
    func brokenChunks() throws {
        let bad = ["xyz\r\n", "5\r\nhello\r\nxyz\r\n", "5\r\nhello0\r\n\r\n"]
        let upstream = try ScriptedUpstream { index in
            [
                .readRequest, .send(Self.start + "Transfer-Encoding: chunked\r\n\r\n"),
                .send(bad[index % bad.count]), .readRequest,
            ]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for text in bad {
            let answer = try client.post("/", Array("a".utf8))
            #expect(answer.status == 502 || answer.reset != nil && !answer.isEnded, "\(text)")
        }
        #expect(client.goAway == nil && client.isAlive())
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("an answer before the content is complete comes whole, and the connection goes on")
    func early() throws {
        let upstream = try ScriptedUpstream { index in
            index == 0
                ? [.readHead, .respond(413, "too much"), .hold]
                : [.readRequest, .respond(200, "ok"), .again]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let stream = try client.request(HTTP2Client.fields("POST"), end: false)
        try client.send(.data(stream, "some"))
        #expect(client.wait { client.messages[stream]?.isEnded == true })

        let answer = try #require(client.messages[stream])
        #expect(answer.status == 413 && answer.text == "too much")
        // §8.1: NO_ERROR asks the client to stop sending, without taking the answer away.
        #expect(client.wait { client.resetCode(stream) != nil })
        #expect(client.resetCode(stream) == .noError)
        try client.send(.data(stream, "more", end: true))
        #expect(try client.get().text == "ok")
        #expect(client.goAway == nil)
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("a hundred streams at once each get their own answer")
    func many() throws {
        let upstream = try Nginx()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        for index in 0..<100 {
            let text = String(repeating: "\(index) ", count: 1 + index * 100)
            try text.write(toFile: upstream.file("f\(index)"), atomically: false, encoding: .utf8)
        }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let streams = try (0..<100).map {
            try client.request(HTTP2Client.fields("GET", "/f\($0)"))
        }

        for (index, stream) in streams.enumerated() {
            let answer = try client.response(stream)
            #expect(answer.text == String(repeating: "\(index) ", count: 1 + index * 100))
        }
        #expect(client.faults.isEmpty, "\(client.faults)")
    }
}
