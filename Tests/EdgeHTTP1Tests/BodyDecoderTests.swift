import EdgeHTTP
import EdgeHTTP1
import Testing

/// What came out of a decoder.
private struct Decoded: Equatable {
    var content: [UInt8] = []
    var trailers: [UInt8] = []
    var isComplete = false
    /// Input bytes that are not part of the body.
    var surplus: [UInt8] = []
}

/// Feeds `segments` one after the other, as a connection would.
private func decode(
    _ framing: BodyFraming, _ segments: [ArraySlice<UInt8>], limits: HeadLimits = HeadLimits()
) throws(HTTP1Violation) -> Decoded {
    var decoder = BodyDecoder(framing: framing)
    var result = Decoded()
    var input: [UInt8] = []
    for segment in segments {
        input += segment
        var isWaiting = false
        while !isWaiting, !result.isComplete {
            let (step, consumed) = try decoder.next(input.span, limits: limits)
            switch step {
            case .data(let offset, let count):
                result.content += input[offset..<offset + count]
                if offset + count != consumed { throw .badChunkEnd }
            case .trailers(let offset, let count):
                result.trailers = Array(input[offset..<offset + count])
            case .needMore: isWaiting = true
            case .end: result.isComplete = true
            }
            input.removeFirst(consumed)
        }
    }
    if result.isComplete != decoder.isComplete { throw .badChunkSize }
    result.surplus = input
    return result
}

private func decode(
    _ framing: BodyFraming, _ text: String, limits: HeadLimits = HeadLimits()
) throws(HTTP1Violation) -> Decoded {
    try decode(framing, [Array(text.utf8)[...]], limits: limits)
}

@Suite("HTTP/1 message bodies")
struct BodyDecoderTests {
    @Test("A decoder fits into a connection's slot")
    func size() {
        #expect(MemoryLayout<BodyDecoder>.size <= 40)
        #expect(MemoryLayout<HeadScanner>.size <= 16)
    }

    @Test(
        "A chunked body is decoded the same at every segmentation",
        arguments: [
            ("5\r\nhello\r\n0\r\n\r\nGET", "hello", ""),
            ("0\r\n\r\n", "", ""),
            (
                "00000000000000A\r\n0123456789\r\n1;a=\"b;c\";d\r\nx\r\n0;e\r\n\r\n\r\n",
                "0123456789x", ""
            ),
            ("a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n\r\n\r\n\r\n", ""),
            ("1\r\nx\r\n0\r\nA: b\r\nC:\td\r\n\r\nrest", "x", "A: b\r\nC:\td\r\n\r\n"),
        ])
    func chunked(text: String, content: String, trailers: String) throws {
        let bytes = Array(text.utf8)
        let whole = try decode(.chunked, [bytes[...]])
        #expect(whole.isComplete)
        #expect(whole.content == Array(content.utf8))
        #expect(whole.trailers == Array(trailers.utf8))

        for split in 0...bytes.count {
            #expect(try decode(.chunked, [bytes[..<split], bytes[split...]]) == whole)
        }
        #expect(try decode(.chunked, bytes.indices.map { bytes[$0...$0] }).content == whole.content)
    }

    @Test("A chunked body that is cut off is never complete")
    func truncated() throws {
        let bytes = Array("3;x\r\nabc\r\n0\r\nA: b\r\n\r\n".utf8)
        for count in 0..<bytes.count {
            #expect(try !decode(.chunked, [bytes[..<count]]).isComplete)
        }
    }

    @Test(
        "A malformed chunk is refused, at every segmentation",
        arguments: [
            ("\r\n", HTTP1Violation.badChunkSize), (" 5\r\nhello", .badChunkSize),
            ("5 \r\nhello", .badChunkSize), ("5 ;a\r\nhello", .badChunkSize),
            ("+5\r\nhello", .badChunkSize), ("-5\r\n", .badChunkSize), ("0x5\r\n", .badChunkSize),
            ("5h\r\n", .badChunkSize), ("g\r\n", .badChunkSize), (";a\r\n", .badChunkSize),
            ("5\nhello", .badChunkSize), ("5\rhello", .badChunkSize), ("5\t\r\n", .badChunkSize),
            ("5_0\r\n", .badChunkSize), ("\u{0}5\r\n", .badChunkSize), ("５\r\n", .badChunkSize),
            ("8000000000000000\r\n", .chunkTooLarge), ("FFFFFFFFFFFFFFFF\r\n", .chunkTooLarge),
            ("00000000000000005\r\n", .chunkTooLarge), ("10000000000000005\r\n", .chunkTooLarge),
            ("5;a\nhello", .badChunkExtension), ("5;a\u{0}\r\n", .badChunkExtension),
            ("5;a\rb\r\n", .badChunkSize), ("5;\u{1}\r\n", .badChunkExtension),
            ("1\r\nxy", .badChunkEnd), ("1\r\nx\n", .badChunkEnd), ("1\r\nx\r\r", .badChunkEnd),
            ("1\r\nx0\r\n\r\n", .badChunkEnd),
            ("0\r\n\n", .badTrailer), ("0\r\nA\r\n\r\n", .badTrailer),
            ("0\r\nA : b\r\n\r\n", .badTrailer), ("0\r\nA: b\n\r\n", .badTrailer),
            ("0\r\nA: b\r\n c\r\n\r\n", .badTrailer), ("0\r\n A: b\r\n\r\n", .badTrailer),
            ("0\r\nA: \u{0}\r\n\r\n", .badTrailer), ("0\r\nA: b\rc\r\n\r\n", .badTrailer),
            ("0\r\n\r\u{6}A: b\r\n\r\n", .badTrailer),
            ("0\r\nA: b\r\n\rC: d\r\n\r\n", .badTrailer),
        ])
    func malformed(text: String, expected: HTTP1Violation) {
        let bytes = Array(text.utf8)
        for split in 0...bytes.count {
            let found = violation { () throws(HTTP1Violation) in
                _ = try decode(.chunked, [bytes[..<split], bytes[split...]])
            }
            #expect(found == expected, "split at \(split)")
        }
    }

    @Test("The largest chunk size is 2^63 - 1")
    func largest() throws {
        var decoder = BodyDecoder(framing: .chunked)
        let bytes = Array("7FFFFFFFFFFFFFFF\r\nx".utf8)

        let (step, consumed) = try decoder.next(bytes.span, limits: HeadLimits())

        #expect(step == .data(offset: 18, count: 1))
        #expect(consumed == 19)
        #expect(decoder.bytesLeftMin == UInt64(Int64.max) - 1)
    }

    @Test("Chunk extensions are bounded, for a chunk and for a body")
    func extensionLimits() throws {
        var limits = HeadLimits()
        limits.chunkExtensionBytesMax = 10
        #expect(try decode(.chunked, "0;123456789a\r\n\r\n", limits: limits).isComplete)
        #expect(throws: HTTP1Violation.chunkExtensionTooLong) {
            try decode(.chunked, "0;123456789ab\r\n\r\n", limits: limits)
        }
        let paid = String(repeating: "8;12345678\r\n12345678\r\n", count: 1000) + "0\r\n\r\n"
        #expect(try decode(.chunked, paid, limits: limits).isComplete)
        let chunks = String(repeating: "1;12345678\r\nx\r\n", count: 24)
        #expect(throws: HTTP1Violation.chunkExtensionTooLong) {
            try decode(.chunked, chunks, limits: limits)
        }
    }

    @Test("Trailers are bounded in bytes and in fields")
    func trailerLimits() throws {
        var limits = HeadLimits()
        limits.trailersBytesMax = 8
        #expect(try decode(.chunked, "0\r\nA: b\r\n\r\n", limits: limits).isComplete)
        #expect(throws: HTTP1Violation.trailersTooLarge) {
            try decode(.chunked, "0\r\nA: bc\r\n\r\n", limits: limits)
        }
        #expect(throws: HTTP1Violation.trailersTooLarge) {
            try decode(.chunked, "0\r\nAAAAAAAA", limits: limits)
        }
        limits = HeadLimits()
        limits.fieldsMax = 2
        #expect(throws: HTTP1Violation.tooManyFields) {
            try decode(.chunked, "0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", limits: limits)
        }
    }

    @Test("Parsed trailers tell which of them may be forwarded")
    func trailers() throws {
        let section = Array("Host: a\r\ngrpc-status: 0\r\nContent-Length: 3\r\nTE: x\r\n\r\n".utf8)
        var fields = FieldList()

        try HTTP1Parser.parseTrailers(section.span, into: &fields, limits: HeadLimits())

        #expect(fields.count == 4)
        let allowed = (0..<4).map { fields[$0].name.isAllowedInTrailers }
        #expect(allowed == [false, true, false, false])
    }

    @Test("A body of known length ends exactly there", arguments: [0, 1, 5])
    func length(count: Int) throws {
        let bytes = Array("hello".utf8)
        for split in 0...bytes.count {
            let result = try decode(.length(UInt64(count)), [bytes[..<split], bytes[split...]])
            #expect(result.isComplete)
            #expect(result.content == Array(bytes[..<count]))
        }
        #expect(try !decode(.length(6), "hello").isComplete)
    }

    @Test("No body is complete at once; one until close never is, and may end by close")
    func otherFramings() throws {
        #expect(BodyDecoder(framing: .none).isComplete)
        let open = try decode(.untilClose, "hello")
        #expect(open.content == Array("hello".utf8))
        #expect(!open.isComplete)
        #expect(BodyDecoder(framing: .untilClose).canEndByClose)
        #expect(!BodyDecoder(framing: .chunked).canEndByClose)
        #expect(!BodyDecoder(framing: .length(1)).canEndByClose)
    }
}
