internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// The kit against programs that are not ours: nghttpd, curl and nghttp.
@Suite("HTTP/2 kit")
struct HTTP2KitTests {
    // MARK: - HPACK

    @Test("every representation of a field reads back through nghttp2")
    func representations() throws {
        let inflater = try HPACKInflater()
        let long = String(repeating: "value", count: 60)

        var block = HPACKBlock.tableSize(0) + .tableSize(4096) + .indexed(2)
        for form in HPACKBlock.Form.allCases {
            for huffman in [false, true] {
                block += .literal("x-\(form)", long, form, huffman: huffman)
                block += .literal(nameAt: 4, "/\(form)", form, huffman: huffman)
            }
        }
        // The newest entry of the dynamic table, and the oldest of the four.
        block += .indexed(62) + .indexed(65)
        let fields = try inflater.decode(block.bytes)

        let forms = ["indexed", "plain", "never"].flatMap { form in
            [String](repeating: "x-\(form): \(long)|:path: /\(form)", count: 2)
        }
        let expected =
            [":method: GET"] + forms.flatMap { $0.components(separatedBy: "|") }
            + [":path: /indexed", "x-indexed: \(long)"]
        #expect(fields.map(\.description) == expected)
        #expect(
            fields.filter(\.isNeverIndexed).map(\.name) == ["x-never", ":path", "x-never", ":path"])
    }

    @Test("every byte has its Huffman code, at every place in a byte")
    func huffman() throws {
        let inflater = try HPACKInflater()
        let all = (0...255).map { UInt8($0) }
        for start in 0..<8 {
            let text = Array(repeating: UInt8(ascii: "0"), count: start) + all
            let block = HPACKBlock.literal(Array("x".utf8), text, huffman: true)
            #expect(try inflater.decode(block.bytes).map(\.valueBytes) == [text])
        }
    }

    @Test("blocks that are broken on purpose are broken")
    func brokenBlocks() throws {
        let bad: [HPACKBlock] = [
            .indexed(0), .indexed(62), .literal(nameAt: 70, "a"), .tableSize(4097),
            .indexed(2) + .tableSize(0), HPACKBlock([0x40, 0x01]),
            HPACKBlock([0x00] + HPACKBlock.string(raw: [0x00], huffman: true)),
        ]
        for (index, block) in bad.enumerated() {
            #expect(throws: KitError.self, "block \(index)") {
                try HPACKInflater().decode(block.bytes)
            }
        }
    }

    // MARK: - The client, against nghttpd

    private func client(
        _ server: Nghttpd, settings: KeyValuePairs<UInt16, UInt32> = [:]
    ) throws -> HTTP2Client {
        try HTTP2Client(
            server.address,
            tls: ClientTLS(
                serverName: "app.test", trusting: server.mint.rootPEM, alpn: ["h2"]),
            settings: settings)
    }

    @Test("the client gets files, several at once, large ones by its windows")
    func downloads() throws {
        let server = try Nghttpd(["--trailer", "x-after: 1"])
        defer { server.stop() }
        let large = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        try large.write(to: URL(fileURLWithPath: server.file("large")))
        let client = try client(server)
        defer { client.close() }

        let streams = try ["/", "/large", "/none"].map {
            try client.request(HTTP2Client.fields("GET", $0))
        }
        let answers = try streams.map { try client.response($0) }

        #expect(answers.map(\.status) == [200, 200, 404])
        #expect(answers[0].text == "hello, world" && Data(answers[1].body) == large)
        #expect(answers[0].trailers?.map(\.description) == ["x-after: 1"])
        #expect(client.settings[RawFrame.Setting.maxConcurrentStreams] == 100)
        #expect(client.faults.isEmpty && client.isAlive())
    }

    @Test("the client sends content as far as windows go, and waits for more")
    func uploads() throws {
        let server = try Nghttpd(["--echo-upload"])
        defer { server.stop() }
        let client = try client(server)
        defer { client.close() }
        let content = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 11) }

        let answer = try client.post("/", content, trailers: [("x-sum", "1")])

        #expect(answer.status == 200 && answer.body == content)
        #expect(client.faults.isEmpty)
    }

    @Test("a window that is not given back stops the answer, whatever is announced meanwhile")
    func windows() throws {
        let server = try Nghttpd()
        defer { server.stop() }
        let client = try client(server, settings: [RawFrame.Setting.initialWindowSize: 3])
        defer { client.close() }
        client.returnsCredit = false

        let stream = try client.request(HTTP2Client.fields())
        #expect(client.wait { client.messages[stream]?.body.count == 3 })
        #expect(client.isAlive())
        #expect(client.messages[stream]?.body.count == 3)
        try client.send(.settings([RawFrame.Setting.initialWindowSize: 5]))
        #expect(client.wait { client.messages[stream]?.body.count == 5 })
        #expect(client.isAlive())
        try client.send(.windowUpdate(stream, 100))

        #expect(try client.response(stream).text == "hello, world")
        #expect(client.faults.isEmpty)
    }

    @Test("frames that are wrong are answered by what nghttp2 says to them")
    func wrongFrames() throws {
        let server = try Nghttpd()
        defer { server.stop() }
        let rows: [(RawFrame, RawFrame.Code)] = [
            (RawFrame(.ping, payload: [1, 2, 3]), .frameSizeError),
            (RawFrame(.settings, stream: 1), .protocolError),
            (.headers(1, .indexed(0)), .compressionError),
            (.windowUpdate(0, 0x7FFF_FFFF), .flowControlError),
            (RawFrame(.headers, stream: 1, declaredLength: 0x4001), .frameSizeError),
        ]
        for (frame, code) in rows {
            let client = try client(server)
            try client.send(frame)
            #expect(client.wait { client.ending != nil }, "\(frame)")
            #expect(client.goAway?.code == code, "\(frame)")
            client.close()
        }
    }

    // MARK: - The server, for curl and nghttp

    private func curl(_ words: String...) throws -> (exit: ProcessExit, output: String) {
        let run = try RunningProcess.run("curl", ["-sS", "--max-time", "10"] + words)
        return (run.exit, run.output + run.errors)
    }

    @Test("curl is answered, in the clear and over TLS")
    func curlRequests() throws {
        let mint = try CertificateMint()
        let directory = try TemporaryDirectory("kit")
        try directory.write("root.pem", mint.rootPEM)
        let script: HTTP2Upstream.Script = { service in
            while let request = service.nextRequest() {
                try service.respond(
                    request.stream, 200, request.message.body.reversed(),
                    fields: [("x-path", request.message[":path"] ?? "")],
                    trailers: [("x-after", "1")])
            }
        }
        let clear = try HTTP2Upstream(script: script)
        defer { clear.stop() }
        let secure = try HTTP2Upstream(
            tls: ServerTLS(mint.leaf("app.test"), alpn: ["h2"]), script: script)
        defer { secure.stop() }
        let body = String(repeating: "ab", count: 100_000)
        try directory.write("body", body)

        for (server, words) in [
            (clear, ["--http2-prior-knowledge", "http://\(clear.address)/a"]),
            (
                secure,
                [
                    "--http2", "--cacert", directory.file("root.pem"), "--connect-to",
                    "::\(secure.address)", "https://app.test/a",
                ]
            ),
        ] {
            let run = try RunningProcess.run(
                "curl",
                ["-sS", "-v", "--max-time", "10", "--data-binary", "@" + directory.file("body")]
                    + words)
            #expect(run.exit == .code(0), "\(run.errors)")
            #expect(run.output == String(body.reversed()))
            #expect(run.errors.contains("x-path: /a"))
            let seen = try #require(server.connections.first)
            #expect(seen.faults.isEmpty && seen.requests.first?[":method"] == "POST")
        }
        #expect(secure.connections.first?.alpn == "h2")
    }

    @Test("nghttp sees the resets, the GOAWAY and the refusals that are told to it")
    func nghttpRequests() throws {
        let server = try HTTP2Upstream { service in
            while let request = service.nextRequest(within: .seconds(5)) {
                switch request.message[":path"] ?? "" {
                case "/reset": try service.send(.reset(request.stream, .refusedStream))
                case "/away":
                    try service.send(.goAway(last: 0, .enhanceYourCalm))
                    return
                case "/bad": try service.send(.headers(request.stream, .indexed(0)))
                default: try service.respond(request.stream, "ok")
                }
            }
        }
        defer { server.stop() }
        func run(_ path: String) throws -> String {
            let arguments = ["-v", "-t", "5", "http://\(server.address)\(path)"]
            return try RunningProcess.run("nghttp", arguments).output
        }

        #expect(try run("/").contains(") :status: 200"))
        #expect(try run("/reset").contains("error_code=REFUSED_STREAM"))
        #expect(try run("/away").contains("error_code=ENHANCE_YOUR_CALM"))
        // nghttp's own word for a block it can't read.
        _ = try run("/bad")
        #expect(server.wait { $0.last?.goAway?.code == .compressionError })
    }
}
