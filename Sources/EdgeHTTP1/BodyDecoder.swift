package import EdgeHTTP

/// Takes a message body apart, at any segmentation and without buffering: says which of the input
/// bytes are content. Lives in a connection's slot; make a new one for each body.
///
///     length ──────────────────────────────────────────────► complete
///     untilClose                     (ends with the connection)
///     size ⇄ extension → sizeEnd → content → contentCR → contentLF → size …
///                        sizeEnd of 0 → trailers ───────────► complete
package struct BodyDecoder: BitwiseCopyable, Sendable {
    package enum Step: Equatable, Sendable {
        /// `count` content bytes (never 0) at `offset` of the input.
        case data(offset: Int, count: Int)
        /// A complete, checked trailer section with its final empty line at `offset` of the input;
        /// `.end` comes next. Not reported when there are no trailers.
        case trailers(offset: Int, count: Int)
        /// Come back with more input behind what was not consumed. Only a trailer section is ever
        /// left unconsumed: the caller holds up to `trailersBytesMax` bytes of it.
        case needMore
        /// The body is complete; what follows in the input is not part of it.
        case end
    }

    private enum State: UInt8 {
        case length, untilClose
        case size, sizeExtension, sizeEnd, content, contentCR, contentLF
        case trailers, complete
    }

    /// Content bytes to come, of the body or of the chunk; the size while it is being read.
    private var bytesLeft: UInt64 = 0
    private var trailersScanned: UInt32 = 0
    private var trailersLineStart: UInt32 = 0
    private var lineExtensionBytes: UInt32 = 0
    private var extensionBytes: UInt32 = 0
    private var sizeDigits: UInt8 = 0
    private var state: State

    package init(framing: BodyFraming) {
        switch framing {
        case .none: state = .complete
        case .length(let count):
            bytesLeft = count
            state = count == 0 ? .complete : .length
        case .chunked: state = .size
        case .untilClose: state = .untilClose
        }
    }

    /// True once the whole body, trailers included, has been seen.
    package var isComplete: Bool { state == .complete }

    /// True if the end of the connection is a proper end of this body.
    package var canEndByClose: Bool { state == .untilClose || state == .complete }

    /// Content bytes that are still to come at least: all of them for a body of known length.
    package var bytesLeftMin: UInt64 { state == .length || state == .content ? bytesLeft : 0 }

    /// Looks at the front of `bytes`. The caller drops `consumed` bytes and calls again, until
    /// `.needMore` or `.end`. Consumed content ends exactly where the reported content ends.
    ///
    /// - Throws: the offence in the chunked coding; nothing behind it means anything.
    // hot: once per receive and chunk; no allocation, no copy.
    package mutating func next(
        _ bytes: Span<UInt8>, limits: HeadLimits
    ) throws(HTTP1Violation) -> (step: Step, consumed: Int) {
        var position = 0
        while true {
            switch state {
            case .complete: return (.end, position)
            case .trailers: return try nextTrailers(bytes, from: position, limits)
            case .length, .untilClose, .size, .sizeExtension, .sizeEnd, .content, .contentCR,
                .contentLF:
                guard position < bytes.count else { return (.needMore, position) }
            }
            switch state {
            case .length, .content, .untilClose:
                return takeContent(bytes.count, from: position)
            case .size: try takeSize(bytes[position])
            case .sizeExtension: try takeExtension(bytes[position], limits)
            case .sizeEnd:
                guard bytes[position] == ByteScan.lf else { throw .badChunkSize }
                state = bytesLeft == 0 ? .trailers : .content
                sizeDigits = 0
            case .contentCR:
                guard bytes[position] == ByteScan.cr else { throw .badChunkEnd }
                state = .contentLF
            case .contentLF:
                guard bytes[position] == ByteScan.lf else { throw .badChunkEnd }
                state = .size
            case .trailers, .complete: break
            }
            position += 1
        }
    }

    private mutating func takeContent(_ end: Int, from start: Int) -> (step: Step, consumed: Int) {
        if state == .untilClose { return (.data(offset: start, count: end - start), end) }
        let count = Int(min(UInt64(end - start), bytesLeft))
        bytesLeft -= UInt64(count)
        // Content pays for extensions: a long upload may have one with every chunk.
        extensionBytes -= UInt32(min(Int(extensionBytes), count))
        if bytesLeft == 0 { state = state == .length ? .complete : .contentCR }
        return (.data(offset: start, count: count), start + count)
    }

    /// RFC 9112 §7.1: 1 to 16 hex digits, here up to 2^63 - 1.
    private mutating func takeSize(_ byte: UInt8) throws(HTTP1Violation) {
        if let digit = Self.hexDigit(byte) {
            guard sizeDigits < 16 else { throw .chunkTooLarge }
            sizeDigits += 1
            bytesLeft = bytesLeft << 4 | UInt64(digit)
            guard bytesLeft <= UInt64(Int64.max) else { throw .chunkTooLarge }
            return
        }
        guard sizeDigits > 0 else { throw .badChunkSize }
        switch byte {
        case ByteScan.cr: state = .sizeEnd
        case UInt8(ascii: ";"):
            lineExtensionBytes = 0
            state = .sizeExtension
        default: throw .badChunkSize
        }
    }

    /// Chunk extensions are bounded, free of control bytes, and dropped.
    private mutating func takeExtension(
        _ byte: UInt8, _ limits: HeadLimits
    ) throws(HTTP1Violation) {
        if byte == ByteScan.cr {
            state = .sizeEnd
            return
        }
        guard byte >= 0x20 && byte != 0x7F || byte == ByteScan.tab else {
            throw .badChunkExtension
        }
        lineExtensionBytes += 1
        extensionBytes += 1
        guard lineExtensionBytes <= limits.chunkExtensionBytesMax,
            extensionBytes <= 16 * limits.chunkExtensionBytesMax
        else { throw .chunkExtensionTooLong }
    }

    /// Consumes nothing from `start` on until the section is whole, then checks it at once.
    private mutating func nextTrailers(
        _ bytes: Span<UInt8>, from start: Int, _ limits: HeadLimits
    ) throws(HTTP1Violation) -> (step: Step, consumed: Int) {
        while let lineFeed = ByteScan.first(
            ByteScan.lf, in: bytes, from: start + Int(trailersScanned))
        {
            let lineStart = start + Int(trailersLineStart)
            guard lineFeed > lineStart, bytes[lineFeed - 1] == ByteScan.cr else {
                throw .badTrailer
            }
            trailersScanned = UInt32(truncatingIfNeeded: lineFeed + 1 - start)
            trailersLineStart = trailersScanned
            let count = lineFeed + 1 - start
            guard count <= limits.trailersBytesMax else { throw .trailersTooLarge }
            guard lineFeed == lineStart + 1 else { continue }
            state = .complete
            if count == 2 { return (.end, lineFeed + 1) }
            try Self.checkTrailers(bytes, start..<lineFeed + 1, limits)
            return (.trailers(offset: start, count: count), lineFeed + 1)
        }
        trailersScanned = UInt32(truncatingIfNeeded: bytes.count - start)
        guard bytes.count - start < limits.trailersBytesMax else { throw .trailersTooLarge }
        return (.needMore, start)
    }

    private static func checkTrailers(
        _ bytes: Span<UInt8>, _ section: Range<Int>, _ limits: HeadLimits
    ) throws(HTTP1Violation) {
        var position = section.lowerBound
        var count = 0
        // A line that begins with CR is the final empty one, or none at all.
        while position < section.upperBound - 2 {
            do {
                _ = try FieldParser.line(bytes, at: &position)
            } catch {
                throw .badTrailer
            }
            count += 1
            guard count <= limits.fieldsMax else { throw .tooManyFields }
        }
    }

    @inline(__always)
    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
