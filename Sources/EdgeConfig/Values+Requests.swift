import EdgeUpstream

/// The strings that checks and balancing are described with.
extension TextValue {
    private static let phraseBytesMax = 1024
    private static let cookieBytesMax = 64

    /// What a check says by itself; the rest frames the request, which is the proxy's to do.
    private static let ownFields: Set<String> = [
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "user-agent",
    ]

    /// RFC 9110 §5.6.2.
    static func isToken(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                HostName.isLetterOrDigit($0) || "!#$%&'*+-.^_`|~".utf8.contains($0)
            }
    }

    /// RFC 2782: `_service._proto.name`, in lower case.
    static func service(_ text: String) throws(ValueProblem) -> String {
        let name = try HostName.parse(text, underscore: true)
        let labels = name.split(separator: ".")
        guard labels.count >= 3,
            labels.prefix(2).allSatisfy({ $0.hasPrefix("_") && $0.utf8.count > 1 })
        else {
            throw ValueProblem(
                "\(quoted(text)) is not a name of SRV records",
                hint: "service and protocol come first: _https._tcp.\(name)")
        }
        return name
    }

    /// `client`, `header NAME` (in lower case) or `cookie NAME`.
    static func hashKey(_ text: String) throws(ValueProblem) -> BalancePolicy.HashKey {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        switch (words.first, words.count) {
        case ("client", 1): return .client
        case ("header", 2) where isToken(words[1]): return .header(words[1].lowercased())
        case ("cookie", 2): return .cookie(try token(String(words[1])))
        default:
            throw ValueProblem(
                "\(quoted(text)) is nothing to hash",
                hint: "'client', 'header X-User' or 'cookie session'")
        }
    }

    /// The name of a cookie (RFC 6265 §4.1.1).
    static func token(_ text: String) throws(ValueProblem) -> String {
        guard isToken(text), text.utf8.count <= cookieBytesMax else {
            throw ValueProblem(
                "\(quoted(text)) is not the name of a cookie",
                hint: "letters, digits, '-' and '_', at most \(cookieBytesMax)")
        }
        return text
    }

    /// `Name: value`, of a field that a check does not say by itself.
    static func field(_ text: String) throws(ValueProblem) -> HealthPolicy.Header {
        guard let colon = text.firstIndex(of: ":"), isToken(text[..<colon]) else {
            throw ValueProblem(
                "\(quoted(text)) is not a header field", hint: "quoted: \"Name: value\"")
        }
        let name = String(text[..<colon])
        var value = text[text.index(after: colon)...]
        while value.first == " " { value.removeFirst() }
        while value.last == " " { value.removeLast() }
        guard text.utf8.count <= phraseBytesMax, value.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw ValueProblem(
                "the field \(quoted(name)) is not at most \(phraseBytesMax) bytes of ASCII")
        }
        guard !ownFields.contains(name.lowercased()) else {
            throw ValueProblem(
                "the field \(quoted(name)) is the check's own",
                hint: name.lowercased() == "host" ? "set 'host'" : "leave it out")
        }
        return HealthPolicy.Header(name: name, value: String(value))
    }

    /// A path with or without a query (RFC 9112 §3.2.1).
    static func target(_ text: String) throws(ValueProblem) -> String {
        guard text.hasPrefix("/"), text.utf8.count <= phraseBytesMax,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") })
        else {
            throw ValueProblem(
                "\(quoted(text)) is not a path", hint: "it begins with '/' and has no spaces")
        }
        return text
    }

    /// A host name or an address, with or without port; IPv6 in brackets.
    static func authority(_ text: String) throws(ValueProblem) -> String {
        if text.hasPrefix("["), text.hasSuffix("]") {
            _ = try address(String(text.dropFirst().dropLast()))
            return text
        }
        if text.contains(":") {
            _ = try server(text)
            return text.lowercased()
        }
        if (try? address(text)) != nil { return text }
        return try HostName.parse(text, underscore: true)
    }

    static func phrase(_ text: String) throws(ValueProblem) -> String {
        guard (1...phraseBytesMax).contains(text.utf8.count) else {
            throw ValueProblem("a text is 1 to \(phraseBytesMax) bytes long")
        }
        return text
    }

    /// A gRPC service as in its path; empty: the server as a whole.
    static func procedure(_ text: String) throws(ValueProblem) -> String {
        let isValid = text.utf8.allSatisfy {
            HostName.isLetterOrDigit($0) || [0x2D, 0x2E, 0x2F, 0x5F].contains($0)
        }
        guard isValid, text.utf8.count <= 256 else {
            throw ValueProblem(
                "\(quoted(text)) is not the name of a gRPC service",
                hint: "such as grpc.health.v1.Health")
        }
        return text
    }
}
