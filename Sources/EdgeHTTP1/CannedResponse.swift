package import EdgeHTTP

/// Our own answers: refusals, errors, redirects. Short text, never anything of the request.
package enum CannedResponse {
    /// Writes a whole response; the body is `reason` and a line feed.
    ///
    /// - Parameters:
    ///   - reason: the token of the reason code or violation; printable ASCII.
    ///   - field: of a redirect's Location, or a 405's Allow; the caller made its value from
    ///     checked parts. Empty: no field.
    ///   - lines: further fields, as whole lines: what rules add.
    ///   - retryAfterSeconds: for 429 and 503.
    /// - Returns: false if the output did not fit.
    package static func write(
        status: UInt16, reason: String, field: StaticString, _ value: Span<UInt8>,
        lines: Span<UInt8> = Span(), retryAfterSeconds: UInt32? = nil,
        close: Bool, isHead: Bool, into output: inout ByteWriter
    ) -> Bool {
        output.append("HTTP/1.1 ")
        output.append(decimal: UInt64(status))
        output.append(UInt8(ascii: " "))
        output.append(StatusCode.reason(status))
        output.append("\r\n")
        append(field, value, to: &output)
        if let retryAfterSeconds {
            output.append("Retry-After: ")
            output.append(decimal: UInt64(retryAfterSeconds))
            output.append("\r\n")
        }
        let hasContent = status >= 200 && status != 204 && status != 304
        if hasContent {
            output.append("Content-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: ")
            output.append(decimal: UInt64(reason.utf8.count + 1))
            output.append("\r\n")
        }
        if !lines.isEmpty { output.append(lines) }
        output.append(close ? "Connection: close\r\n\r\n" : "\r\n")
        if hasContent, !isHead {
            output.append(string: reason)
            output.append(UInt8(ascii: "\n"))
        }
        return !output.hasOverflowed
    }

    private static func append(
        _ field: StaticString, _ value: Span<UInt8>, to output: inout ByteWriter
    ) {
        guard !value.isEmpty else { return }
        output.append(field)
        output.append(": ")
        output.append(value)
        output.append("\r\n")
    }

    /// Writes a whole response without such a field.
    package static func write(
        status: UInt16, reason: String, retryAfterSeconds: UInt32? = nil, close: Bool,
        isHead: Bool, into output: inout ByteWriter
    ) -> Bool {
        write(
            status: status, reason: reason, field: "", Span(),
            retryAfterSeconds: retryAfterSeconds, close: close, isHead: isHead, into: &output)
    }

    /// Writes the head of an answer whose content, an operator's page, the caller sends behind it
    /// (not to HEAD).
    ///
    /// - Returns: false if the output did not fit.
    package static func writeHead(
        status: UInt16, contentType: StaticString, contentLength: Int,
        field: StaticString = "", _ value: Span<UInt8> = Span(), lines: Span<UInt8> = Span(),
        retryAfterSeconds: UInt32? = nil, close: Bool, into output: inout ByteWriter
    ) -> Bool {
        output.append("HTTP/1.1 ")
        output.append(decimal: UInt64(status))
        output.append(UInt8(ascii: " "))
        output.append(StatusCode.reason(status))
        output.append("\r\n")
        append(field, value, to: &output)
        if let retryAfterSeconds {
            output.append("Retry-After: ")
            output.append(decimal: UInt64(retryAfterSeconds))
            output.append("\r\n")
        }
        output.append("Content-Type: ")
        output.append(contentType)
        output.append("\r\nCache-Control: no-store\r\nContent-Length: ")
        output.append(decimal: UInt64(contentLength))
        output.append("\r\n")
        if !lines.isEmpty { output.append(lines) }
        output.append(close ? "Connection: close\r\n\r\n" : "\r\n")
        return !output.hasOverflowed
    }
}
