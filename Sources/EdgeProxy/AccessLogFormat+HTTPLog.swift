internal import EdgeCore

/// Lines as HAProxy writes them with `option httplog`, and with `option tcplog` for relayed
/// connections (HAProxy Configuration Manual §8.2), so that what reads them goes on reading.
/// docs/access-log.md says field by field what stands for what.
extension AccessLogFormat {
    /// Writes one line, its end included.
    // hot: once per request; no allocation.
    mutating func writeHTTPLog(
        _ line: AccessLine, _ record: UnsafePointer<AccessRecord>, _ text: UnsafeRawPointer,
        _ cursor: inout LogCursor
    ) {
        if let client = line.client {
            cursor.put(address: client)
            cursor.put(byte: UInt8(ascii: ":"))
            cursor.put(decimal: UInt64(client.port))
        } else {
            cursor.put("-:0")
        }
        cursor.put(" [")
        writeDate(line.times.begun, &cursor)
        cursor.put("] ")
        putListener(line, record, &cursor)
        switch line.kind {
        case .request:
            writeServer(line, record, &cursor)
            writeRequestTimes(line, &cursor)
            putStatus(line.status, &cursor)
            cursor.put(decimal: line.sent)
            cursor.put(" - - ")
            writeTermination(line, &cursor)
            cursor.put("--")
            writeLoad(line, &cursor)
            writeRequestLine(record, text, &cursor)
        case .tcp:
            writeServer(line, record, &cursor)
            writeTimes(line, [.queue, .connect, .total], &cursor)
            cursor.put(decimal: line.sent)
            cursor.put(byte: UInt8(ascii: " "))
            writeTermination(line, &cursor)
            writeLoad(line, &cursor)
        case .handshake: writeError(line, "SSL handshake failure", &cursor)
        case .connection: writeError(line, "Connection error", &cursor)
        case .refused: writeError(line, "Connection refused", &cursor)
        }
        cursor.put(byte: UInt8(ascii: "\n"))
    }

    // MARK: - Who and when

    /// `22/Nov/2026:23:47:43.120`, in UTC.
    private mutating func writeDate(_ time: Instant, _ cursor: inout LogCursor) {
        let (date, rest) = date(of: time)
        // 2026-11-22T23:47:43
        cursor.put(date + 8, count: 2)
        let month = (date[5] &- 0x30) &* 10 &+ (date[6] &- 0x30)
        cursor.put(Self.month(month))
        cursor.put(date, count: 4)
        cursor.put(byte: UInt8(ascii: ":"))
        cursor.put(date + 11, count: 8)
        cursor.put(byte: UInt8(ascii: "."))
        cursor.put(threeDigits: rest / 1_000_000)
    }

    private static func month(_ number: UInt8) -> StaticString {
        switch number {
        case 1: "/Jan/"
        case 2: "/Feb/"
        case 3: "/Mar/"
        case 4: "/Apr/"
        case 5: "/May/"
        case 6: "/Jun/"
        case 7: "/Jul/"
        case 8: "/Aug/"
        case 9: "/Sep/"
        case 10: "/Oct/"
        case 11: "/Nov/"
        default: "/Dec/"
        }
    }

    /// With `~` behind it where TLS is spoken.
    private func putListener(
        _ line: AccessLine, _ record: UnsafePointer<AccessRecord>, _ cursor: inout LogCursor
    ) {
        if line.listener < listeners.count { cursor.put(listeners[line.listener]) }
        if record.pointee.tlsVersion != 0 || line.kind == .handshake {
            cursor.put(byte: UInt8(ascii: "~"))
        }
    }

    /// The upstream, or the listener where none was chosen, and the member.
    private func writeServer(
        _ line: AccessLine, _ record: UnsafePointer<AccessRecord>, _ cursor: inout LogCursor
    ) {
        cursor.put(byte: UInt8(ascii: " "))
        guard line.pool >= 0, Int(line.pool) < upstreams.count else {
            putListener(line, record, &cursor)
            cursor.put("/<NOSRV> ")
            return
        }
        cursor.put(upstreams[Int(line.pool)])
        guard record.pointee.hasMember else {
            cursor.put("/<NOSRV> ")
            return
        }
        cursor.put(byte: UInt8(ascii: "/"))
        cursor.put(endpoint: record.pointee.member)
        cursor.put(byte: UInt8(ascii: " "))
    }

    // MARK: - Times

    private enum Span {
        case head, queue, connect, response, total
    }

    private func writeRequestTimes(_ line: AccessLine, _ cursor: inout LogCursor) {
        writeTimes(line, [.head, .queue, .connect, .response, .total], &cursor)
    }

    /// Milliseconds, -1 where it did not come to that; a slash between.
    private func writeTimes<let count: Int>(
        _ line: AccessLine, _ spans: InlineArray<count, Span>, _ cursor: inout LogCursor
    ) {
        let times = line.times
        for index in 0..<count {
            if index > 0 { cursor.put(byte: UInt8(ascii: "/")) }
            let (from, to) =
                switch spans[index] {
                case .head: (times.begun, times.head)
                case .queue: (times.head, times.connecting)
                case .connect: (times.connecting, times.connected)
                case .response: (times.sent, times.answered)
                case .total: (times.begun, line.ended)
                }
            if from.nanoseconds == 0 || to.nanoseconds == 0 {
                cursor.put("-1")
            } else {
                cursor.put(decimal: to.nanoseconds(since: from) / 1_000_000)
            }
        }
        cursor.put(byte: UInt8(ascii: " "))
    }

    private func putStatus(_ status: UInt16, _ cursor: inout LogCursor) {
        if status == 0 { cursor.put("-1 ") } else { cursor.put(decimal: UInt64(status)) }
        if status != 0 { cursor.put(byte: UInt8(ascii: " ")) }
    }

    // MARK: - How it ended

    /// Who ended it, and what was going on then.
    private func writeTermination(_ line: AccessLine, _ cursor: inout LogCursor) {
        if line.reason == .none {
            // Redirects are our own answers.
            let isOwn = line.kind == .request && line.pool < 0 && line.status / 100 == 3
            if isOwn { cursor.put("LR") } else { cursor.put("--") }
            return
        }
        cursor.put(byte: Self.cause(line.reason))
        cursor.put(byte: Self.phase(line))
    }

    private static func phase(_ line: AccessLine) -> UInt8 {
        if line.reason == .upstreamQueueFull || line.reason == .upstreamQueueTimeout {
            return UInt8(ascii: "Q")
        }
        let times = line.times
        if line.pool < 0 || times.head.nanoseconds == 0 { return UInt8(ascii: "R") }
        if times.connected.nanoseconds == 0 { return UInt8(ascii: "C") }
        if line.kind == .tcp { return UInt8(ascii: "D") }
        // Of an answer that was none, nothing has gone on.
        let isRefused = line.reason == .upstreamBadResponse && line.status == 502 && line.sent == 0
        return times.answered.nanoseconds == 0 || isRefused
            ? UInt8(ascii: "H") : UInt8(ascii: "D")
    }

    private static func cause(_ reason: ReasonCode) -> UInt8 {
        switch reason {
        case .none: UInt8(ascii: "-")
        case .clientClosed, .clientReset, .clientTLSError, .clientHandshakeFailed:
            UInt8(ascii: "C")
        case .clientHelloTimeout, .clientHandshakeTimeout, .clientHeadTimeout, .clientIdleTimeout,
            .clientBodyTimeout, .clientReadTimeout, .clientProxyHeaderTimeout, .tunnelTimeout:
            UInt8(ascii: "c")
        case .clientBadRequest, .clientBodyTooLarge, .noRoute, .misdirected, .clientResetFlood,
            .clientPingFlood, .clientSettingsFlood, .clientPriorityFlood, .clientWindowFlood,
            .clientEmptyDataFlood, .clientUnknownFrameFlood, .clientHeaderFlood,
            .clientConnectionMemory, .clientProtocolError, .clientNotTrusted,
            .clientProxyHeaderInvalid, .clientForbidden, .clientMethodNotAllowed, .loopDetected,
            .noView, .maintenance, .rateLimited, .upstreamBadResponse, .upstreamSurplusBytes,
            .upstreamQueueFull, .upstreamRequestLimit:
            UInt8(ascii: "P")
        case .redirected: UInt8(ascii: "L")
        case .connectionLimit, .descriptorLimit, .memoryLimit, .evictedUnused, .evictedIdle,
            .evictedHTTP2, .evictedUnfinished, .overloaded, .memoryPressure:
            UInt8(ascii: "R")
        case .draining, .notServing: UInt8(ascii: "K")
        case .internalError, .certificateUnusable: UInt8(ascii: "I")
        case .noAddress, .upstreamConnectRefused, .upstreamConnectFailed, .upstreamTLSFailed,
            .upstreamNotVerified, .upstreamReset, .upstreamClosedEarly, .upstreamTruncated,
            .upstreamStreamRefused, .upstreamUnreachable, .upstreamAllDown, .retryBudgetEmpty:
            UInt8(ascii: "S")
        case .upstreamConnectTimeout, .upstreamHeadTimeout, .upstreamBodyTimeout,
            .upstreamQueueTimeout:
            UInt8(ascii: "s")
        }
    }

    /// What HAProxy writes of connections that came to no request, and our word for the reason.
    private func writeError(
        _ line: AccessLine, _ text: StaticString, _ cursor: inout LogCursor
    ) {
        cursor.put("/1: ")
        cursor.put(text)
        cursor.put(" (")
        cursor.put(reasons[Int(line.reason.rawValue)])
        cursor.put(byte: UInt8(ascii: ")"))
    }

    // MARK: - The rest

    private func writeLoad(_ line: AccessLine, _ cursor: inout LogCursor) {
        cursor.put(byte: UInt8(ascii: " "))
        cursor.put(decimal: line.load.connections)
        cursor.put(byte: UInt8(ascii: "/"))
        cursor.put(decimal: line.load.listener)
        cursor.put(byte: UInt8(ascii: "/"))
        cursor.put(decimal: line.load.upstream)
        cursor.put(byte: UInt8(ascii: "/"))
        cursor.put(decimal: line.load.member)
        cursor.put(byte: UInt8(ascii: "/"))
        cursor.put(decimal: UInt64(line.retries))
        cursor.put(" 0/0")
    }

    /// `"GET /path HTTP/1.1"`; over HTTP/2 with scheme and host, as HAProxy has it.
    private func writeRequestLine(
        _ record: UnsafePointer<AccessRecord>, _ text: UnsafeRawPointer, _ cursor: inout LogCursor
    ) {
        let method = Int(record.pointee.methodCount)
        let host = Int(record.pointee.hostCount)
        guard method > 0 else {
            cursor.put(" \"<BADREQ>\"")
            return
        }
        cursor.put(" \"")
        cursor.put(hashed: text, count: method)
        cursor.put(byte: UInt8(ascii: " "))
        if record.pointee.version == 20 {
            if record.pointee.tlsVersion == 0 {
                cursor.put("http://")
            } else {
                cursor.put("https://")
            }
            cursor.put(hashed: text + method, count: host)
        }
        cursor.put(hashed: text + method + host, count: Int(record.pointee.pathCount))
        switch record.pointee.version {
        case 10: cursor.put(" HTTP/1.0\"")
        case 11: cursor.put(" HTTP/1.1\"")
        default: cursor.put(" HTTP/2.0\"")
        }
    }
}

extension LogCursor {
    /// A string of a peer as HAProxy writes it between quotes: `#` and two digits for what would
    /// end it, for `#` itself, and for everything but printable ASCII.
    fileprivate mutating func put(hashed bytes: UnsafeRawPointer, count: Int) {
        for index in 0..<count {
            let byte = bytes.load(fromByteOffset: index, as: UInt8.self)
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "#"), ..<0x20, 0x7F...:
                put(byte: UInt8(ascii: "#"))
                put(byte: Self.upperHexDigit(byte >> 4))
                put(byte: Self.upperHexDigit(byte & 15))
            default: put(byte: byte)
            }
        }
    }

    private static func upperHexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? 0x30 + nibble : 0x37 + nibble
    }
}
