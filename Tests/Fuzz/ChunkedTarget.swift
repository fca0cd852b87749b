internal import EdgeHTTP
internal import EdgeHTTP1

/// A chunked body means the same in any segments, holds no more than came in, and still means it
/// when it has been written anew.
enum ChunkedTarget {
    struct Body: Equatable {
        var content: [UInt8] = []
        var trailers: [[UInt8]] = []
        /// Of the input, with everything that belongs to the body.
        var consumed = 0
        var isComplete = false
        var violation: HTTP1Violation?
    }

    static func run(_ input: FuzzInput) throws(Finding) {
        let whole = try decode(input.bytes, [input.bytes.count], input.limits)
        let pieces = try decode(input.bytes, input.pieceEnds, input.limits)
        if whole.violation == nil {
            try hold(pieces == whole, "in pieces: \(pieces), whole: \(whole)")
        } else {
            try hold(pieces.violation != nil, "in pieces: \(pieces), whole: \(whole)")
            try hold(pieces.content == whole.content, "the same content before the offence")
        }
        guard whole.isComplete else { return }

        let output = try encode(whole)
        let again = try decode(output, [output.count], HeadLimits())
        try hold(again.isComplete && again.consumed == output.count, "what we write is one body")
        try hold(again.content == whole.content, "the content is forwarded")
        try hold(again.trailers == forwarded(whole.trailers), "the trailers are forwarded")
    }

    private static func decode(
        _ bytes: [UInt8], _ ends: [Int], _ limits: HeadLimits
    ) throws(Finding) -> Body {
        var decoder = BodyDecoder(framing: .chunked)
        var body = Body()
        for end in ends {
            var isHungry = false
            while !isHungry {
                let input = Array(bytes[body.consumed..<end])
                let result: (step: BodyDecoder.Step, consumed: Int)
                do throws(HTTP1Violation) {
                    result = try decoder.next(input.span, limits: limits)
                } catch {
                    body.violation = error
                    return body
                }
                try hold(result.consumed <= input.count, "no more is consumed than came in")
                switch result.step {
                case .data(let offset, let count):
                    try hold(count > 0, "content is not empty")
                    try hold(offset + count == result.consumed, "content ends what is consumed")
                    body.content += input[offset..<offset + count]
                    try hold(body.content.count <= end, "no more content than came in")
                case .trailers(let offset, let count):
                    try hold(offset + count == result.consumed, "trailers end what is consumed")
                    body.trailers = try trailers(Array(input[offset..<offset + count]), limits)
                case .needMore:
                    let held = input.count - result.consumed
                    try hold(held <= limits.trailersBytesMax, "\(held) bytes are to be held")
                    isHungry = true
                case .end:
                    try hold(decoder.isComplete, "a body that has ended is complete")
                    body.isComplete = true
                    body.consumed += result.consumed
                    return body
                }
                body.consumed += result.consumed
            }
        }
        return body
    }

    private static func trailers(
        _ section: [UInt8], _ limits: HeadLimits
    ) throws(Finding) -> [[UInt8]] {
        var fields = FieldList()
        do throws(HTTP1Violation) {
            try HTTP1Parser.parseTrailers(section.span, into: &fields, limits: limits)
        } catch {
            throw Finding("checked trailers are parsed: \(error)")
        }
        return lines(fields, section) { _ in true }
    }

    private static func forwarded(_ trailers: [[UInt8]]) -> [[UInt8]] {
        trailers.filter { line in
            let end = line.firstIndex(of: UInt8(ascii: ":")) ?? 0
            let name = FieldName.identify(line.span, ByteRange(0..<end))
            return name.isAllowedInTrailers && !line[..<end].contains(UInt8(ascii: "_"))
        }
    }

    private static func encode(_ body: Body) throws(Finding) -> [UInt8] {
        let section = body.trailers.flatMap { $0 + Array("\r\n".utf8) } + Array("\r\n".utf8)
        var fields = FieldList()
        do throws(HTTP1Violation) {
            try HTTP1Parser.parseTrailers(section.span, into: &fields, limits: HeadLimits())
        } catch {
            throw Finding("trailers in normal form are parsed: \(error)")
        }
        let room = body.content.count + section.count + 64
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 16)
        defer { buffer.deallocate() }
        var writer = ByteWriter(buffer)
        var fits = true
        if !body.content.isEmpty {
            fits = HTTP1Writer.writeChunkHeader(body.content.count, into: &writer)
            writer.append(body.content.span)
            fits = HTTP1Writer.writeChunkEnd(into: &writer) && fits
        }
        let isLastWritten = HTTP1Writer.writeLastChunk(
            trailers: fields, from: section.span, isRequest: true, into: &writer)
        try hold(fits && isLastWritten, "the body fits")
        return Array(buffer[..<writer.count])
    }
}
