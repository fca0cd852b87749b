package import EdgeCore
package import EdgeHTTP

/// What a forwarded request says about where it came from, and how it goes on.
package struct ForwardingContext: Sendable {
    /// The true client (its port is not sent).
    package var client: SocketAddress
    /// How the client reached us.
    package var scheme: Scheme
    /// The port of ours that it reached; 0: not told.
    package var port: UInt16 = 0
    /// Sent as 32 hex digits.
    package var requestID: (high: UInt64, low: UInt64)
    /// The body as it will be sent: the head's own framing, or `.chunked`.
    package var framing: BodyFraming
    /// The source may claim to forward for others: its X-Forwarded-* and the like stay.
    package var isClientTrusted = false
    /// `Forwarded` (RFC 7239) is sent beside the X-Forwarded-* fields.
    package var sendsForwarded = false
    /// Names with `_` go on, unless they could be taken for a name that the proxy acts upon.
    package var passesUnderscores = false
    /// The protocol, other than WebSocket, that the request may switch to: its name in the head.
    package var upgrade = ByteRange.none
    /// The upstream, not we, decides about the client's body.
    package var forwardsExpect = false
    /// Trailers can be brought back to the client: `TE: trailers` is sent on.
    package var acceptsTrailers = false
    /// The upstream's connection is not to be used again.
    package var closesConnection = false
    /// Of our mark in CDN-Loop (`LoopMark`); 0: it is not sent.
    package var loopID: UInt64 = 0
    package var trace = TracePassage.asTheyAre

    package init(
        client: SocketAddress, scheme: Scheme, requestID: (high: UInt64, low: UInt64),
        framing: BodyFraming
    ) {
        self.client = client
        self.scheme = scheme
        self.requestID = requestID
        self.framing = framing
    }
}

/// The fields that say who the client is and how it reached us. Those of a trusted client are kept
/// and continued; everybody else's have been left out before.
struct ForwardingClaims {
    private var hasProto = false
    private var hasHost = false
    private var hasPort = false
    private var hasRealIP = false
    private var hasRequestID = false
    private var hasFor = false

    /// Takes note of a trusted client's claim.
    ///
    /// - Returns: true if `write` brings it.
    mutating func note(_ field: Field) -> Bool {
        switch field.name {
        case .xForwardedFor:
            hasFor = true
            return true
        case .xForwardedProto: hasProto = true
        case .xForwardedHost: hasHost = true
        case .xForwardedPort: hasPort = true
        case .xRealIP: hasRealIP = true
        case .xRequestID: hasRequestID = true
        default: break
        }
        return false
    }

    /// Writes those that are not there yet.
    // hot: once per request; no allocation.
    func write(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext,
        _ output: inout ByteWriter
    ) {
        write(head, bytes, context, host: nil, Dropped(), &output)
    }

    /// The same, without what `edits` leave out.
    ///
    /// - Parameter host: where in the output the name stands that the upstream takes for its own;
    ///   nil: it is told the client's.
    // hot: once per request that rules apply to; no allocation.
    func write(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext,
        host: Range<Int>?, by edits: FieldEdits?, _ output: inout ByteWriter
    ) {
        write(head, bytes, context, host: host, Dropped(edits), &output)
    }

    // Inlined twice: without rules, nothing of them is left.
    @inline(__always)
    private func write(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext,
        host: Range<Int>?, _ drops: Dropped, _ output: inout ByteWriter
    ) {
        // One line, as many readers look at one only.
        if drops.xFor {
            // The others begin with the end of the line before.
            output.takeBackLineEnd()
        } else {
            output.append("X-Forwarded-For: ")
            if hasFor { writeChain(head, bytes, &output) }
            output.append(address: context.client)
        }
        if !hasProto, !drops.proto {
            switch context.scheme {
            case .http: output.append("\r\nX-Forwarded-Proto: http")
            case .https: output.append("\r\nX-Forwarded-Proto: https")
            }
        }
        if !hasHost, !drops.host {
            output.append("\r\nX-Forwarded-Host: ")
            if let host { output.append(again: host) } else { output.append(bytes, head.authority) }
        }
        // Beside another's scheme or host our port would make up an address that does not exist.
        if !hasPort, !hasProto, !hasHost, !drops.port, context.port > 0 {
            output.append("\r\nX-Forwarded-Port: ")
            output.append(decimal: UInt64(context.port))
        }
        if !hasRealIP, !drops.realIP {
            output.append("\r\nX-Real-IP: ")
            output.append(address: context.client)
        }
        if !hasRequestID, !drops.requestID {
            output.append("\r\nX-Request-ID: ")
            output.append(hexWord: context.requestID.high)
            output.append(hexWord: context.requestID.low)
        }
        if context.sendsForwarded, !drops.forwarded {
            writeForwarded(head, bytes, context, host: host, &output)
        }
        output.append("\r\n")
    }

    /// Claims that are not ours to make, as edits say something else about them.
    private struct Dropped {
        var xFor = false
        var proto = false
        var host = false
        var port = false
        var realIP = false
        var requestID = false
        var forwarded = false

        init() {}

        init(_ edits: FieldEdits?) {
            guard let edits else { return }
            xFor = edits.drops(.xForwardedFor)
            proto = edits.drops(.xForwardedProto)
            host = edits.drops(.xForwardedHost)
            // As with a client's own.
            port =
                edits.drops(.xForwardedPort) || edits.adds(.xForwardedProto)
                || edits.adds(.xForwardedHost)
            realIP = edits.drops(.xRealIP)
            requestID = edits.drops(.xRequestID)
            forwarded = edits.drops(.forwarded)
        }
    }

    private func writeChain(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ output: inout ByteWriter
    ) {
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard field.name == .xForwardedFor, !field.value.isEmpty,
                !field.flags.contains(.hopByHop)
            else { continue }
            output.append(bytes, field.value)
            output.append(", ")
        }
    }

    /// RFC 7239 §4. A further line continues the list of the ones before it.
    @inline(__always)
    private func writeForwarded(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ context: ForwardingContext,
        host: Range<Int>?, _ output: inout ByteWriter
    ) {
        output.append("\r\nForwarded: for=")
        if !context.client.isIPv4 { output.append("\"[") }
        output.append(address: context.client)
        if !context.client.isIPv4 { output.append("]\"") }
        output.append(";host=\"")
        if let host { output.append(again: host) } else { output.append(bytes, head.authority) }
        switch context.scheme {
        case .http: output.append("\";proto=http")
        case .https: output.append("\";proto=https")
        }
    }

    /// True if an application that takes `_` for `-`, as CGI does, takes the field for one that the
    /// proxy acts upon.
    @inline(never)
    static func isAlias(_ field: Field, _ bytes: Span<UInt8>) -> Bool {
        // Longer than every known name; what is longer can only begin like one.
        var name: InlineArray<40, UInt8> = .init(repeating: 0)
        let count = min(Int(field.nameRange.count), 40)
        for offset in 0..<count {
            let byte = bytes[Int(field.nameRange.start) + offset]
            name[offset] = byte == UInt8(ascii: "_") ? UInt8(ascii: "-") : byte
        }
        return FieldName.identify(name.span, ByteRange(0..<count)) != .other
    }
}
