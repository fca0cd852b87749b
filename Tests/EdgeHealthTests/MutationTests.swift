import EdgeHealth
import EdgeTesting
import EdgeUpstream
import Testing

/// Answers that somebody has damaged: whatever comes, a check ends in exactly one outcome.
@Suite("Damaged answers to checks") struct MutationTests {
    private static let seedsPerKind = 1500

    static let kinds: [(HealthPolicy.Kind, [[UInt8]])] = [
        (
            .http(HealthPolicy.Request(bodyContains: "well")),
            [
                Array(respond(200, "all is well").utf8),
                Array(
                    ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
                        + "chunked\r\n\r\n3;x=y\r\nwel\r\n2\r\nl!\r\n0\r\nA: b\r\n\r\n").utf8),
            ]
        ),
        (.kubeAPIServer, [Array(respond(403, "{}").utf8), Array(respond(200, "ok").utf8)]),
        (
            .http2(HealthPolicy.Request(bodyContains: "well")),
            [
                answer2(200, Array("all is well".utf8), trailers: [("a", "b")]),
                answer2(503, Array("no".utf8)),
            ]
        ),
        (
            .grpc(service: ""),
            [
                answer2(
                    200, [0, 0, 0, 0, 2, 8, 1], fields: [("content-type", "application/grpc")],
                    trailers: [("grpc-status", "0")])
            ]
        ),
    ]

    @Test("each ends in exactly one outcome", arguments: kinds.indices)
    func outcomes(index: Int) throws {
        let (kind, answers) = Self.kinds[index]
        let desk = try #require(HTTP2Desk(seed: 11))
        var passed = 0
        for seed in 0..<Self.seedsPerKind {
            seeded(UInt64(index * 1_000_000 + seed)) { random in
                let interview = Interview(kind, isTLS: true, desk: desk).begin()
                var bytes = answers[Int.random(in: answers.indices, using: &random)]
                Self.damage(&bytes, &random)
                interview.answer(bytes, piece: Int.random(in: 1...40, using: &random))
                let before = interview.outcomes.count
                interview.close().answer(bytes).close()

                #expect(before <= 1, "\(random)")
                #expect(interview.outcomes.count == 1, "\(random)")
                if interview.outcome == .passed { passed += 1 }
                #expect(interview.outcome?.reason != "", "\(random)")
            }
        }
        // Damage that leaves the answer whole, and damage that does not, are both among them.
        if index != 1 { #expect(passed > 0) }
        #expect(passed < Self.seedsPerKind)
    }

    private static func damage(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        for _ in 0..<Int.random(in: 0...3, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 2: bytes.remove(at: place)
            case 3: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
            case 4: bytes.removeSubrange(place...)
            default: bytes.insert(contentsOf: bytes[..<place], at: place)
            }
        }
    }
}
