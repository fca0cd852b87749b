internal import EdgeHTTP

/// Finds the end of a head, whatever the segments it arrives in, and looks at every byte once.
/// Lives in a connection's slot; make a new one for each head.
package struct HeadScanner: BitwiseCopyable, Sendable {
    package enum Kind: UInt8, Sendable, BitwiseCopyable { case request, response }

    private var scanned: UInt32 = 0
    private var lineStart: UInt32 = 0
    private var headStart: UInt32 = 0
    private let kind: Kind
    private var isFirstLineComplete = false

    package init(_ kind: Kind) { self.kind = kind }

    /// Bytes of leading empty lines (RFC 9112 §2.2): the head starts behind them. Valid once
    /// `scan` has returned a count.
    package var skippedByteCount: Int { Int(headStart) }

    /// True as long as no byte of a head has been seen, empty lines aside: a connection that is
    /// closed or times out now did not break off a request.
    package var isEmpty: Bool { scanned == headStart }

    /// `bytes` starts with the same byte in every call and has at least the bytes of the last one.
    ///
    /// Returns the byte count of the complete head, `skippedByteCount` not included, or nil if
    /// more bytes are needed.
    ///
    /// - Throws: `.bareLF` for a line that does not end in CRLF; `.headTooLarge`, `.targetTooLong`
    ///   when a limit is exceeded; `.badRequestLine`, `.http09`, `.badStatusLine` as soon as the
    ///   bytes cannot become a head any more.
    // hot: once per receive; no allocation, no copy.
    package mutating func scan(
        _ bytes: Span<UInt8>, limits: HeadLimits
    ) throws(HTTP1Violation) -> Int? {
        while let lineFeed = ByteScan.first(ByteScan.lf, in: bytes, from: Int(scanned)) {
            let start = Int(lineStart)
            scanned = UInt32(truncatingIfNeeded: lineFeed + 1)
            guard lineFeed > start, bytes[lineFeed - 1] == ByteScan.cr else { throw .bareLF }
            lineStart = scanned
            let isEmptyLine = lineFeed == start + 1
            if !isFirstLineComplete {
                if isEmptyLine {
                    // At most two, so that a flood of them is no request that never ends.
                    guard kind == .request, scanned <= 4 else { throw firstLineViolation }
                    headStart = scanned
                    continue
                }
                try checkFirstLine(bytes, start..<lineFeed - 1, limits)
                isFirstLineComplete = true
            } else if isEmptyLine {
                let count = Int(scanned - headStart)
                guard count <= limits.headBytesMax else { throw .headTooLarge }
                return count
            }
        }
        scanned = UInt32(truncatingIfNeeded: bytes.count)
        try checkIncomplete(bytes, limits)
        return nil
    }

    private var firstLineViolation: HTTP1Violation {
        kind == .request ? .badRequestLine : .badStatusLine
    }

    private func checkFirstLine(
        _ bytes: Span<UInt8>, _ line: Range<Int>, _ limits: HeadLimits
    ) throws(HTTP1Violation) {
        guard line.count <= limits.requestLineBytesMax else {
            throw kind == .request ? .targetTooLong : .headTooLarge
        }
        guard kind == .request else {
            let isStatusLine =
                line.count >= 12
                && ByteScan.isPrefix(bytes, line.lowerBound..<line.lowerBound + 7, of: "HTTP/1.")
            guard isStatusLine else { throw .badStatusLine }
            return
        }
        // A line that is no request's is told at once: behind HTTP/0.9, say, nothing may follow.
        guard !RequestLine.hasVersion(bytes, line) else { return }
        let whole = line.lowerBound..<line.upperBound + 2
        _ = try RequestLine(bytes.extracting(whole), limits: limits)
        throw .badVersion
    }

    private func checkIncomplete(
        _ bytes: Span<UInt8>, _ limits: HeadLimits
    ) throws(HTTP1Violation) {
        let start = Int(headStart)
        guard bytes.count > start else { return }
        if !isFirstLineComplete {
            let first = bytes[start]
            switch kind {
            case .request:
                guard ByteScan.isToken(first) || first == ByteScan.cr else {
                    throw .badRequestLine
                }
                if first == ByteScan.cr, bytes.count > start + 1 { throw .bareCR }
            case .response:
                let seen = min(bytes.count - start, 7)
                guard ByteScan.isPrefix(bytes, start..<start + seen, of: "HTTP/1.") else {
                    throw .badStatusLine
                }
            }
            // One more for the CR of a line that is as long as it may be.
            guard bytes.count - start <= limits.requestLineBytesMax + 1 else {
                throw kind == .request ? .targetTooLong : .headTooLarge
            }
        }
        guard bytes.count - start < limits.headBytesMax else { throw .headTooLarge }
    }
}
