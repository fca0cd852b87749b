internal import EdgeCore

/// Why the daemon gave no usable answer.
package enum ControlFailure: Error, Equatable, CustomStringConvertible {
    /// Nobody listens, access is denied, or no answer came in time.
    case unreachable(String)
    /// The daemon answered with an error: its HTTP status and its sentence.
    case refused(status: Int, String)
    /// The answer cannot be understood.
    case badReply(String)

    package var description: String {
        switch self {
        case .unreachable(let text): "daemon unreachable: \(text)"
        case .refused(let status, let text): "refused (\(status)): \(text)"
        case .badReply(let text): "bad reply: \(text)"
        }
    }
}

/// Asks the daemon over its admin socket: HTTP/1.1, one connection per request, blocking, with a
/// deadline for the whole exchange. A reply is at most `replyBytesMax`.
package struct ControlClient: Sendable {
    private static let replyBytesMax = 16 << 20

    package let path: String
    package let timeout: Duration

    package init(path: String, timeout: Duration = .seconds(5)) {
        self.path = path
        self.timeout = timeout
    }

    package func status() throws(ControlFailure) -> StatusReply {
        let (code, json) = try exchange("GET", "/status")
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    package func upstreams() throws(ControlFailure) -> UpstreamsReply {
        let (code, json) = try exchange("GET", "/upstreams")
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    /// What DNS has to say to the clients of a view.
    package func dnsRecords(view: String) throws(ControlFailure) -> DNSRecordsReply {
        let (code, json) = try exchange("GET", "/dns?view=\(Self.escaped(view))")
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    /// The configuration that is in use, with every default.
    package func effectiveConfiguration() throws(ControlFailure) -> ConfigurationReply {
        let (code, json) = try exchange("GET", "/config?effective=yes")
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    package func certificates() throws(ControlFailure) -> CertificatesReply {
        let (code, json) = try exchange("GET", "/certificates")
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    /// What becomes of a request.
    package func explain(_ question: ExplainQuestion) throws(ControlFailure) -> ExplainReply {
        let query = question.parameters.map { "\($0.name)=\(Self.escaped($0.value))" }
        let (code, json) = try exchange("GET", "/explain?" + query.joined(separator: "&"))
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    /// - Parameter member: an address with port, or the name of a server with one address.
    package func order(
        _ order: MemberOrder, upstream: String, member: String
    ) throws(ControlFailure) -> MemberReply {
        let path =
            "/upstreams/\(Self.escaped(upstream))/members/\(Self.escaped(member))/\(order.rawValue)"
        let (code, json) = try exchange("POST", path)
        guard code == 200 else { throw refusal(code, json) }
        return try decode(json)
    }

    /// One segment of a path or value of a query (RFC 3986 §2.1): whatever the user has typed, it
    /// stays one.
    static func escaped(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF")
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x3A, 0x5F:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default: result += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
        return result
    }

    func refusal(_ code: Int, _ json: JSONValue) -> ControlFailure {
        let text = (try? ErrorReply(json: json))?.error
        return .refused(status: code, text ?? "no reason given")
    }

    func decode<Reply: WireValue>(_ json: JSONValue) throws(ControlFailure) -> Reply {
        do {
            return try Reply(json: json)
        } catch {
            throw .badReply(error.description)
        }
    }

    func exchange(
        _ method: String, _ target: String
    ) throws(ControlFailure) -> (status: Int, body: JSONValue) {
        let socket = try ControlSocket(path: path, deadline: .now().advanced(by: timeout))
        var request = "\(method) \(target) HTTP/1.1\r\nHost: edged\r\nConnection: close\r\n"
        if method == "POST" { request += "Content-Length: 0\r\n" }
        try socket.send(Array((request + "\r\n").utf8))
        var received: [UInt8] = []
        while true {
            let bytes = try socket.receive()
            if bytes.isEmpty { break }
            guard received.count + bytes.count <= Self.replyBytesMax else {
                throw .badReply("longer than \(Self.replyBytesMax) bytes")
            }
            received += bytes
            if let reply = try ReplyText(received, atEnd: false) { return try reply.parsed() }
        }
        guard let reply = try ReplyText(received, atEnd: true) else {
            throw .badReply(received.isEmpty ? "the connection was closed" : "cut short")
        }
        return try reply.parsed()
    }
}

/// A complete HTTP/1.1 response. Our own server sends it: Content-Length, no chunks.
private struct ReplyText {
    let status: Int
    let body: [UInt8]

    /// Nil if more bytes are needed.
    init?(_ bytes: [UInt8], atEnd: Bool) throws(ControlFailure) {
        guard let end = Self.endOfHead(bytes) else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self)
            .split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = lines[0].split(separator: " ", maxSplits: 2)
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw .badReply("not HTTP/1.1")
        }
        self.status = status
        var length: Int?
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            guard line[..<colon].lowercased() == "content-length" else { continue }
            length = Int(line[line.index(after: colon)...].drop { $0 == " " })
            guard let length, length >= 0 else { throw .badReply("bad Content-Length") }
        }
        let rest = bytes[(end + 4)...]
        if let length {
            guard rest.count >= length else { return nil }
            body = Array(rest.prefix(length))
        } else {
            guard atEnd else { return nil }
            body = Array(rest)
        }
    }

    func parsed() throws(ControlFailure) -> (status: Int, body: JSONValue) {
        do {
            return (
                status,
                try JSONValue(parsing: body, limits: .init(byteCountMax: 16 << 20, depthMax: 32))
            )
        } catch {
            guard status >= 400 else { throw .badReply(error.description) }
            return (status, .null)
        }
    }

    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        for index in 0...(bytes.count - 4)
        where bytes[index] == 13 && bytes[index + 1] == 10 && bytes[index + 2] == 13
            && bytes[index + 3] == 10
        {
            return index
        }
        return nil
    }
}
