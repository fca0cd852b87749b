import EdgeRouting

/// The strings that views, and what is said of clients, are described with.
extension TextValue {
    private static let protocolBytesMax = 255
    private static let interfaceBytesMax = 15

    /// What would change how messages are framed, or names the connection they came on: these are
    /// the proxy's own.
    private static let framingFields: Set<String> = [
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    ]

    /// As the kernel allows it (IFNAMSIZ).
    static func interface(_ text: String) throws(ValueProblem) -> String {
        let isValid = text.utf8.allSatisfy {
            (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":")
        }
        guard isValid, (1...interfaceBytesMax).contains(text.utf8.count), text != ".", text != ".."
        else {
            throw ValueProblem(
                "\(quoted(text)) is not the name of a network interface",
                hint: "such as eth0, at most \(interfaceBytesMax) characters")
        }
        return text
    }

    static func unknown(_ text: String) throws(ValueProblem) -> ViewConfiguration.Unknown {
        switch text {
        case "refuse": return .refuse
        case "not_found": return .notFound
        default: return .host(try HostName.parse(text))
        }
    }

    /// RFC 7301 §3.1; of printable characters, as all that are registered.
    static func alpn(_ text: String) throws(ValueProblem) -> String {
        guard (1...protocolBytesMax).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw ValueProblem(
                "\(quoted(text)) is not the name of a protocol", hint: "such as acme-tls/1")
        }
        return text
    }

    /// Of a field that may be set, added or removed.
    static func fieldName(_ text: String) throws(ValueProblem) -> String {
        guard isToken(text), text.utf8.count <= nameBytesMax else {
            throw ValueProblem(
                "\(quoted(text)) is not the name of a header field",
                hint: "letters, digits and '-', at most \(nameBytesMax)")
        }
        guard !framingFields.contains(text.lowercased()) else {
            throw ValueProblem(
                "the field \(quoted(text)) frames messages or is the connection's",
                hint: text.lowercased() == "host"
                    ? "a site's 'internal' is the name that its servers see" : "leave it out")
        }
        return text
    }
}
