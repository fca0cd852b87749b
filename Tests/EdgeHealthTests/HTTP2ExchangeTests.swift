import EdgeHealth
import EdgeTesting
import EdgeUpstream
import Testing

/// An answer over HTTP/2, on the first stream of a connection.
func answer2(
    _ status: Int, _ content: [UInt8]? = nil, fields: [(String, String)] = [],
    trailers: [(String, String)]? = nil
) -> [UInt8] {
    let head = HPACKBlock([(":status", "\(status)")] + fields)
    var frames = [
        RawFrame.settings(), .settingsAcknowledge,
        .headers(1, head, end: content == nil && trailers == nil),
    ]
    if let content { frames.append(.data(1, content, end: trailers == nil)) }
    if let trailers { frames.append(.headers(1, HPACKBlock(trailers))) }
    return frames.flatMap(\.bytes)
}

@Suite("Checks over HTTP/2") struct HTTP2ExchangeTests {
    private let desk: HTTP2Desk

    init() throws { desk = try #require(HTTP2Desk(seed: 7)) }

    private func asked(
        _ answer: [UInt8], text: String? = nil, method: String = "GET", piece: Int = .max
    ) -> CheckOutcome? {
        let request = HealthPolicy.Request(
            method: method, statuses: [200...299], bodyContains: text)
        return Interview(.http2(request), desk: desk).begin().answer(answer, piece: piece)
            .close().outcome
    }

    @Test("it begins with the preface and its settings")
    func preface() {
        let interview = Interview(.http2(HealthPolicy.Request()), desk: desk).begin()

        #expect(interview.outcome == nil)
        #expect(interview.said.starts(with: RawFrame.preface + [0, 0]))
    }

    @Test("a status decides, at any cut", arguments: [1, 2, 9, 10, 1000])
    func status(piece: Int) {
        #expect(asked(answer2(200), piece: piece) == .passed)
        #expect(asked(answer2(204, [1]), piece: piece) != nil)
        #expect(asked(answer2(503), piece: piece) == failed("status 503"))
    }

    @Test("the content must contain the text")
    func content() {
        let body = Array("all is well".utf8)
        #expect(asked(answer2(200, body), text: "well") == .passed)
        #expect(asked(answer2(200, body), text: "well", piece: 1) == .passed)
        #expect(
            asked(answer2(200, body, trailers: [("x", "well!")]), text: "well!")
                == failed("body lacks the text"))
        #expect(asked(answer2(200), text: "well") == failed("body lacks the text"))
    }

    @Test("of endless content no more is read than counts")
    func endless() {
        let interview = Interview(
            .http2(HealthPolicy.Request(bodyContains: "well")), desk: desk
        ).begin().answer(
            [RawFrame.settings(), .headers(1, HPACKBlock([(":status", "200")]), end: false)]
                .flatMap(\.bytes))
        var frames = 0
        while interview.outcome == nil, frames < 100 {
            interview.answer(RawFrame.data(1, [UInt8](repeating: 45, count: 16_384)).bytes)
            frames += 1
        }

        #expect(interview.outcomes == [failed("body lacks the text")])
        #expect(frames == 4)
    }

    @Test("interim answers are skipped")
    func interim() {
        let early = RawFrame.headers(1, HPACKBlock([(":status", "103")]), end: false).bytes
        let rest = RawFrame.headers(1, HPACKBlock([(":status", "500")])).bytes

        #expect(asked(RawFrame.settings().bytes + early + rest) == failed("status 500"))
        let flood = [[UInt8]](repeating: early, count: 17).flatMap { $0 }
        #expect(
            asked(RawFrame.settings().bytes + flood + rest) == failed("too many interim answers"))
    }

    @Test("a stream that is reset fails with the code's name")
    func reset() {
        let settings = RawFrame.settings().bytes

        #expect(
            asked(settings + RawFrame.reset(1, .refusedStream).bytes)
                == failed("stream reset: REFUSED_STREAM"))
        #expect(
            asked(settings + RawFrame.reset(1, .enhanceYourCalm).bytes)
                == failed("stream reset: ENHANCE_YOUR_CALM"))
        #expect(
            asked(settings + RawFrame.goAway(last: 0).bytes)
                == failed("stream reset: REFUSED_STREAM"))
    }

    @Test("a connection that ends without an answer fails")
    func ends() {
        #expect(asked([]) == failed("connection closed without an answer"))
        #expect(
            asked(RawFrame.settings().bytes) == failed("connection closed without an answer"))
        let head = RawFrame.headers(1, HPACKBlock([(":status", "200")]), end: false).bytes
        #expect(
            asked(RawFrame.settings().bytes + head, text: "x")
                == failed("connection closed within the answer"))
    }

    @Test(
        "who does not speak HTTP/2 is told so",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
            "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        ])
    func otherProtocols(answer: String) {
        #expect(asked(Array(answer.utf8)) == failed("does not speak HTTP/2"))
    }

    @Test("a flood of frames ends the check")
    func flood() {
        let interview = Interview(.http2(HealthPolicy.Request()), desk: desk).begin()
        interview.answer(RawFrame.settings().bytes)
        var pings = 0
        while interview.outcome == nil, pings < 10_000 {
            interview.answer(RawFrame.ping().bytes)
            pings += 1
        }

        #expect(interview.outcome == failed("HTTP/2: too much or malformed: pings"))
        #expect(pings < 1000)
    }

    @Test("many exchanges of one desk do not hear each other")
    func several() {
        let interviews = (0..<50).map { _ in
            Interview(.http2(HealthPolicy.Request()), desk: desk).begin()
        }
        let answers = (0..<50).map { answer2($0 % 2 == 0 ? 200 : 503) }
        for position in 0..<(answers.map(\.count).max() ?? 0) {
            for (interview, answer) in zip(interviews, answers) where position < answer.count {
                interview.answer([answer[position]])
            }
        }

        for (index, interview) in interviews.enumerated() {
            #expect(interview.outcomes == [index % 2 == 0 ? .passed : failed("status 503")])
        }
    }

    // MARK: - gRPC

    private static let isGRPC = [("content-type", "application/grpc+proto")]

    private func asked(
        grpc message: [UInt8]?, status: String? = "0", head: [(String, String)] = isGRPC,
        http: Int = 200, piece: Int = .max
    ) -> CheckOutcome? {
        let trailers = status.map { [("grpc-status", $0)] }
        return Interview(.grpc(service: "a.B"), desk: desk).begin()
            .answer(answer2(http, message, fields: head, trailers: trailers), piece: piece)
            .close().outcome
    }

    @Test("gRPC health: SERVING passes, at any cut", arguments: [1, 3, 1000])
    func serving(piece: Int) {
        #expect(asked(grpc: [0, 0, 0, 0, 2, 8, 1], piece: piece) == .passed)
    }

    @Test("gRPC health: the other words fail by their name")
    func notServing() {
        #expect(asked(grpc: [0, 0, 0, 0, 2, 8, 2]) == failed("NOT_SERVING"))
        #expect(asked(grpc: [0, 0, 0, 0, 2, 8, 0]) == failed("UNKNOWN"))
        #expect(asked(grpc: [0, 0, 0, 0, 0]) == failed("UNKNOWN"))
        #expect(asked(grpc: [0, 0, 0, 0, 2, 8, 3]) == failed("SERVICE_UNKNOWN"))
        #expect(asked(grpc: [0, 0, 0, 0, 2, 8, 9]) == failed("serving status 9"))
    }

    @Test("gRPC health: a status that is not OK fails by its name, with or without trailers")
    func codes() {
        #expect(asked(grpc: nil, status: "12") == failed("gRPC status UNIMPLEMENTED"))
        #expect(asked(grpc: nil, status: "5") == failed("gRPC status NOT_FOUND"))
        #expect(asked(grpc: nil, status: "99") == failed("gRPC status 99"))
        #expect(asked(grpc: nil, status: "x") == failed("gRPC status -1"))
        #expect(
            asked(grpc: nil, status: nil, head: Self.isGRPC + [("grpc-status", "14")])
                == failed("gRPC status UNAVAILABLE"))
    }

    @Test("gRPC health: what is no gRPC fails")
    func noGRPC() {
        #expect(asked(grpc: nil, status: nil, http: 404) == failed("status 404"))
        #expect(
            asked(grpc: [0], status: nil, head: [("content-type", "text/html")])
                == failed("does not speak gRPC"))
        #expect(asked(grpc: nil, status: nil, head: []) == failed("does not speak gRPC"))
        #expect(asked(grpc: [0, 0, 0, 0, 2, 8, 1], status: nil) == failed("no grpc-status"))
    }

    static let malformed: [[UInt8]] = [
        [], [0, 0, 0, 0], [1, 0, 0, 0, 2, 8, 1], [0, 0, 0, 0, 3, 8, 1], [0, 0, 0, 0, 1, 8, 1],
        [0, 0, 0, 0, 2, 8, 0x80], [0, 0, 0, 0, 2, 10, 1], [0, 0, 0, 0, 2, 18, 9],
        [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0x0B], [0, 255, 255, 255, 255, 8, 1],
        [0, 0, 0, 0, 11, 8] + [UInt8](repeating: 0xFF, count: 10),
        [UInt8](repeating: 0, count: 2000),
    ]

    @Test("gRPC health: a message that is none is malformed", arguments: malformed)
    func isMalformed(message: [UInt8]) {
        #expect(asked(grpc: message) == failed("malformed gRPC answer"))
    }

    @Test("gRPC health: fields that are new to us are skipped")
    func newFields() {
        let message: [UInt8] =
            [16, 0x96, 1, 26, 2, 8, 2, 8, 1, 33] + [UInt8](repeating: 8, count: 8)
        #expect(asked(grpc: [0, 0, 0, 0, UInt8(message.count)] + message) == .passed)
    }
}
