internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// BEHAVIOUR 19 to 25 and 31, for upstreams that speak HTTP/2: what is wrong with an answer is
    /// the upstream's fault and never a whole answer, and what was not done is done elsewhere.
    @Suite("HTTP/2 upstreams")
    struct HTTP2Origin {}
}

extension Scenarios.HTTP2Origin {
    private static let h2 = "protocol: h2"
    private static let ok = HPACKBlock([(":status", "200")])

    private static func head(_ fields: (String, String)...) -> HPACKBlock { HPACKBlock(fields) }

    // MARK: - Answers that are none

    /// What the server sends on the request's stream; no client may take it for an answer.
    struct Answer: Sendable {
        let name: String
        let frames: @Sendable (UInt32) -> [RawFrame]

        init(_ name: String, _ frames: @escaping @Sendable (UInt32) -> [RawFrame]) {
            self.name = name
            self.frames = frames
        }

        /// A head, then content.
        init(_ name: String, _ block: HPACKBlock) {
            self.init(name) { [.headers($0, block, end: false), .data($0, "never", end: true)] }
        }
    }

    private static let heads: [Answer] = [
        .init("no :status", head(("x-a", "b"))),
        .init("a :status of two digits", head((":status", "20"))),
        .init("of four", head((":status", "2000"))),
        .init("a :status that is no number", head((":status", "2x0"))),
        .init("an empty one", head((":status", ""))),
        .init("two of them", head((":status", "200"), (":status", "200"))),
        .init("a pseudo-field of requests", head((":status", "200"), (":path", "/"))),
        .init("one that nobody knows", head((":status", "200"), (":x", "/"))),
        .init("a pseudo-field behind others", head(("x-a", "b"), (":status", "200"))),
        .init("a name in upper case", head((":status", "200"), ("X-A", "b"))),
        .init("an empty name", head((":status", "200"), ("", "b"))),
        .init("a name with a colon", head((":status", "200"), ("a:b", "b"))),
        .init("a line end in a value", head((":status", "200"), ("x-a", "b\r\nx-c: d"))),
        .init("NUL in a value", head((":status", "200"), ("x-a", "b\0c"))),
        .init("connection", head((":status", "200"), ("connection", "close"))),
        .init("transfer-encoding", head((":status", "200"), ("transfer-encoding", "chunked"))),
        .init("upgrade", head((":status", "200"), ("upgrade", "h2c"))),
        .init("a length that is no number", head((":status", "200"), ("content-length", "5x"))),
        .init(
            "two lengths",
            head((":status", "200"), ("content-length", "5"), ("content-length", "6"))),
        .init("101", head((":status", "101"))),
        .init("an interim answer that ends the stream") {
            [.headers($0, head((":status", "103")), end: true)]
        },
        .init("interim answers without end") { stream in
            (0..<40).map { _ in .headers(stream, head((":status", "103")), end: false) }
        },
        .init("content before a head") { [.data($0, "never", end: true)] },
        .init("nothing but trailers' end") { [.data($0, end: true)] },
        .init("a head beyond the limit") { stream in
            let bytes =
                (ok + HPACKBlock((0..<9).map { ("x-\($0)", String(repeating: "v", count: 15_000)) }))
                .bytes
            let parts = stride(from: 0, to: bytes.count, by: 16_000).map {
                Array(bytes[$0..<min($0 + 16_000, bytes.count)])
            }
            return [.headers(stream, HPACKBlock(parts[0]), complete: false)]
                + parts.dropFirst().enumerated().map {
                    .continuation(stream, $1, complete: $0 == parts.count - 2)
                }
        },
        .init("CONTINUATION without end") { stream in
            [.headers(stream, ok, complete: false)]
                + (0..<200).map { _ in .continuation(stream, complete: false) }
        },
        .init("a block that can't be read") {
            [.headers($0, HPACKBlock([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]))]
        },
        .init("PUSH_PROMISE") {
            [.pushPromise($0, 2, HPACKBlock(HTTP2Client.fields())), .headers($0, ok, end: true)]
        },
        .init("a stream that nobody asked for") { [.headers($0 + 200, ok), .headers($0, ok)] },
        .init("a frame beyond its size") { stream in
            [RawFrame(.headers, .endHeaders, stream: stream, declaredLength: 20_000)]
        },
        .init("SETTINGS that are none") { _ in [.settings([5: 1])] },
        .init("PINGs without end") { _ in (0..<3000).map { _ in .ping() } },
        .init("DATA of nothing without end") { stream in
            (0..<3000).map { _ in .data(stream) }
        },
    ]

    /// By path: the answer of that number, or a good one.
    private static func misbehaving(_ answers: [Answer]) throws -> HTTP2Upstream {
        try HTTP2Upstream { service in
            while let request = service.nextRequest() {
                guard request.message.reset == nil else { continue }
                if let index = Int(request.message[":path"]?.dropFirst() ?? "") {
                    try service.send(answers[index].frames(request.stream))
                } else {
                    try service.respond(request.stream, "ok")
                }
            }
        }
    }

    @Test("what is no answer is a 502, whatever is wrong with it, and the next is served")
    func noAnswers() throws {
        let upstream = try Self.misbehaving(Self.heads)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, settings: Self.h2))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for (index, answer) in Self.heads.enumerated() {
            let name = Comment(rawValue: answer.name)
            let seen = try client.get("/\(index)")
            #expect(seen.status == 502, name)
            #expect(seen.isEnded && seen.reset == nil && !seen.text.contains("never"), name)
            #expect(try client.get().text == "ok", name)
        }
        #expect(client.goAway == nil && client.faults.isEmpty, "\(client.faults)")
        #expect(try edged.proxyPID() == pid)
        #expect(try edged.failures("internal_error") == 0)
        #expect(try edged.failures("client_protocol_error") == 0)
    }

    // MARK: - Answers that are cut

    private static let cuts: [Answer] = [
        .init("less content than said") {
            [
                .headers($0, head((":status", "200"), ("content-length", "10")), end: false),
                .data($0, "hello", end: true),
            ]
        },
        .init("more of it") {
            [
                .headers($0, head((":status", "200"), ("content-length", "3")), end: false),
                .data($0, "hello", end: true),
            ]
        },
        .init("none of it") {
            [.headers($0, head((":status", "200"), ("content-length", "3")), end: true)]
        },
        .init("RST_STREAM in the middle") {
            [.headers($0, ok, end: false), .data($0, "hello"), .reset($0, .internalError)]
        },
        .init("RST_STREAM that says NO_ERROR") {
            [.headers($0, ok, end: false), .data($0, "hello"), .reset($0, .noError)]
        },
        .init("trailers that do not end it") {
            [
                .headers($0, ok, end: false), .data($0, "hello"),
                .headers($0, head(("x-sum", "1")), end: false),
            ]
        },
        .init("trailers with a pseudo-field") {
            [
                .headers($0, ok, end: false), .data($0, "hello"),
                .headers($0, head((":status", "200")), end: true),
            ]
        },
        .init("GOAWAY for what is wrong") {
            [
                .headers($0, ok, end: false), .data($0, "hello"),
                .goAway(last: 0, .internalError),
            ]
        },
        .init("content on a stream that was never opened") {
            [.headers($0, ok, end: false), .data($0, "hello"), .data($0 + 100, "x")]
        },
    ]

    @Test("an answer that is cut is never whole, neither over HTTP/2 nor over HTTP/1.1")
    func cutAnswers() throws {
        let upstream = try Self.misbehaving(Self.cuts)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, settings: Self.h2))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for (index, answer) in Self.cuts.enumerated() {
            let name = Comment(rawValue: answer.name)
            let seen = try client.get("/\(index)")
            #expect(seen.status == 502 || seen.reset != nil && !seen.isEnded, name)
            #expect(try client.get().text == "ok", name)

            let raw = try RawClient(edged.http)
            defer { raw.close() }
            try raw.send("GET /\(index) HTTP/1.1\r\nHost: app.test\r\n\r\n")
            _ = raw.readToEnd(within: .milliseconds(500))
            let text = String(decoding: raw.received, as: UTF8.self)
            let isRefused = text.hasPrefix("HTTP/1.1 502")
            #expect(isRefused || !text.hasSuffix("0\r\n\r\n"), "\(answer.name): \(text)")
        }
        #expect(client.goAway == nil && client.faults.isEmpty, "\(client.faults)")
        #expect(try edged.failures("internal_error") == 0)
    }

    @Test("what follows the end of an answer changes nothing of it")
    func behindTheEnd() throws {
        let more: [Answer] = [
            .init("HEADERS") {
                [.headers($0, Self.ok, end: true), .headers($0, Self.ok, end: true)]
            },
            .init("DATA") { [.headers($0, Self.ok, end: true), .data($0, "x", end: true)] },
            .init("RST_STREAM") { [.headers($0, Self.ok, end: true), .reset($0, .noError)] },
        ]
        let upstream = try Self.misbehaving(more)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, settings: Self.h2))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for (index, answer) in more.enumerated() {
            let seen = try client.get("/\(index)")
            #expect(seen.status == 200 && seen.isEnded, "\(answer.name)")
            #expect(seen.body.isEmpty && seen.reset == nil, "\(answer.name)")
            #expect(try client.get().text == "ok", "\(answer.name)")
        }
        #expect(client.goAway == nil && client.faults.isEmpty, "\(client.faults)")
    }

    // MARK: - Done elsewhere

    @Test("a stream that is refused is served by another member, whatever its method")
    func refused() throws {
        let refusing = try HTTP2Upstream { service in
            while let stream = service.nextHead() {
                try service.send(.reset(stream, .refusedStream))
            }
        }
        defer { refusing.stop() }
        let serving = try HTTP2Upstream(answering: "ok")
        defer { serving.stop() }
        let edged = try Edged(oneSite(refusing.server, serving.server, settings: Self.h2))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for _ in 0..<4 {
            #expect(try client.get().text == "ok")
            // Together, so that the content is kept with the head until it has gone.
            let stream = client.nextStream
            try client.send(
                .headers(stream, HPACKBlock(HTTP2Client.fields("POST")), end: false),
                .data(stream, "content", end: true))
            #expect(try client.response(stream).text == "ok")
        }

        #expect(!refusing.requests.isEmpty)
        let served = serving.requests.filter { $0[":method"] == "POST" }
        #expect(served.count == 4 && served.allSatisfy { $0.text == "content" })
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    @Test("what a GOAWAY leaves out goes over another connection; what it covers is answered")
    func goAway() throws {
        let upstream = try HTTP2Upstream { service in
            guard service.index == 0 else {
                while let request = service.nextRequest() {
                    try service.respond(request.stream, "second")
                }
                return
            }
            // Three requests: it takes the first.
            var streams: [UInt32] = []
            while streams.count < 3, let request = service.nextRequest() {
                streams.append(request.stream)
            }
            guard let first = streams.min() else { return }
            try service.send(.goAway(last: first))
            try service.respond(first, "first")
            service.drain()
        }
        defer { upstream.stop() }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server, settings: Self.h2), options)
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let streams = try ["GET", "POST", "GET"].map {
            try client.request(HTTP2Client.fields($0))
        }
        let texts = try streams.map { try client.response($0).text }

        #expect(texts.sorted() == ["first", "second", "second"])
        #expect(upstream.wait { $0.first?.ending == .closed })
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    // MARK: - Windows

    @Test("an upload that the upstream's window stalls stalls no other, and arrives whole")
    func stalledUpload() throws {
        let upstream = try HTTP2Upstream(settings: [RawFrame.Setting.initialWindowSize: 0]) {
            service in
            guard let stalled = service.nextHead() else { return }
            guard let other = service.nextHead() else { return }
            try service.respond(other, "other")
            // Only now the content may come.
            try service.send(.windowUpdate(stalled, 1 << 20), .windowUpdate(0, 1 << 20))
            var next = service.nextRequest()
            if next?.stream == other { next = service.nextRequest() }
            guard let request = next else { return }
            let isWhole = request.message.body == (0..<500_000).map { UInt8($0 & 0xFF) }
            try service.respond(stalled, isWhole ? "whole" : "not")
            service.drain()
        }
        defer { upstream.stop() }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server, settings: Self.h2), options)
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let body = (0..<500_000).map { UInt8($0 & 0xFF) }

        let stalled = try client.request(HTTP2Client.fields("POST"), end: false)
        // As much as the client's own window allows.
        try client.send(.data(stalled, Array(body[..<16_384])), .data(stalled, [body[16_384]]))
        #expect(upstream.wait { $0.first?.requests.isEmpty == false })
        #expect(try client.get().text == "other")
        #expect(client.messages[stalled] == nil)
        try client.sendContent(stalled, Array(body[16_385...]))

        #expect(try client.response(stalled).text == "whole")
        #expect(upstream.connections.first?.faults == [])
        #expect(client.faults.isEmpty, "\(client.faults)")
    }

    // MARK: - Secrets

    @Test("fields that are never to be indexed go on as such, both ways, and in trailers")
    func neverIndexed() throws {
        let secret = HPACKBlock.literal("x-secret", "s", .never)
        let upstream = try HTTP2Upstream { service in
            while let request = service.nextRequest() {
                try service.send(
                    .headers(
                        request.stream,
                        Self.ok + .literal("set-cookie", "a=b", .never) + .literal("x-open", "c"),
                        end: false),
                    .data(request.stream, "ok"),
                    .headers(request.stream, .literal("x-sum", "d", .never), end: true))
            }
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, settings: Self.h2))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let stream = client.nextStream
        let fields = HPACKBlock(HTTP2Client.fields("POST")) + .literal("x-open", "o") + secret
        try client.send(
            .headers(stream, fields, end: false), .data(stream, "a"),
            .headers(stream, .literal("x-end", "e", .never), end: true))
        let answer = try client.response(stream)

        let request = try #require(upstream.requests.first)
        func isNever(_ fields: [HTTP2Field]?, _ name: String) -> Bool? {
            fields?.first { $0.name == name }?.isNeverIndexed
        }
        #expect(isNever(request.fields, "x-secret") == true)
        #expect(isNever(request.fields, "x-open") == false)
        #expect(isNever(request.trailers, "x-end") == true)
        #expect(isNever(answer.fields, "set-cookie") == true)
        #expect(isNever(answer.fields, "x-open") == false)
        #expect(isNever(answer.trailers, "x-sum") == true)
        #expect(client.faults.isEmpty, "\(client.faults)")
    }
}
