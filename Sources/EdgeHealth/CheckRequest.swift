internal import EdgeUpstream

/// The request of a check, in words that either version of HTTP writes in its own way.
struct CheckRequest {
    let method: String
    let path: String
    let authority: String
    /// Behind Host, in order.
    private(set) var fields: [(name: String, value: String)] = []

    static let userAgent = "edged-check"

    /// - Parameter authority: Host where the policy names none.
    /// - Returns: nil for a request that no reader would take for one: it would be answered 400,
    ///   and say nothing of the member.
    init?(_ request: HealthPolicy.Request, authority: String, token: String?) {
        var host = request.host ?? authority
        var hasUserAgent = false
        for field in request.headers {
            guard Self.isToken(field.name), Self.isValue(field.value) else { return nil }
            switch field.name.lowercased() {
            case "host":
                host = field.value
                continue
            // They frame the message or end at this hop: not the operator's.
            case "connection", "content-length", "transfer-encoding", "upgrade", "expect",
                "keep-alive":
                return nil
            case "user-agent": hasUserAgent = true
            default: break
            }
            fields.append((field.name, field.value))
        }
        guard Self.isToken(request.method), request.method != "CONNECT",
            request.path.utf8.first == UInt8(ascii: "/") || request.path == "*",
            request.path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            !host.isEmpty, host.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        method = request.method
        path = request.path
        self.authority = host
        if !hasUserAgent { fields.insert(("User-Agent", Self.userAgent), at: 0) }
        if let token { fields.append(("Authorization", "Bearer \(token)")) }
    }

    /// As HTTP/1.1 has it (RFC 9112 §3). The connection is for this request alone.
    var http1: [UInt8] {
        var text = "\(method) \(path) HTTP/1.1\r\nHost: \(authority)\r\n"
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        // RFC 9110 §8.6: where the method has a meaning for content.
        if ["POST", "PUT", "PATCH"].contains(method) { text += "Content-Length: 0\r\n" }
        return Array((text + "Connection: close\r\n\r\n").utf8)
    }

    /// As HTTP/2 has it (RFC 9113 §8.3.1), pseudo fields first; names in any letter case.
    func http2(isTLS: Bool) -> [(name: String, value: String)] {
        [
            (":method", method), (":scheme", isTLS ? "https" : "http"),
            (":authority", authority), (":path", path),
        ] + fields
    }

    /// RFC 9110 §5.6.2.
    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                (0x21...0x7E).contains($0) && !#""(),/:;<=>?@[\]{}"#.utf8.contains($0)
            }
    }

    /// RFC 9110 §5.5, without what is obsolete.
    private static func isValue(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x09 }
    }
}
