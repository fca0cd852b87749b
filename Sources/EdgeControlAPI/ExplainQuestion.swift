/// What `edged --explain` and `GET /explain` ask: a request, and where it comes from.
package struct ExplainQuestion: Sendable, Equatable {
    package var url: String
    /// Its view's name; nil: where it comes from decides.
    package var view: String?
    /// The name of the interface that it arrives on.
    package var interface: String?
    /// The true client's address.
    package var from: String?
    package var method = "GET"
    /// SNI, `none` for none; nil: the URL's host, if that is a name.
    package var serverName: String?
    /// ALPN.
    package var protocols = ["h2", "http/1.1"]

    package init(url: String) { self.url = url }

    /// - Parameter parameter: the value of a query's parameter, decoded.
    /// - Returns: nil without a URL.
    package init?(parameter: (String) -> String?) {
        guard let url = parameter("url") else { return nil }
        self.init(url: url)
        view = parameter("view")
        interface = parameter("interface")
        from = parameter("from")
        if let method = parameter("method") { self.method = method }
        serverName = parameter("sni")
        if let alpn = parameter("alpn") { setProtocols(alpn) }
    }

    /// - Parameter list: names with commas in between, or `none`.
    package mutating func setProtocols(_ list: String) {
        protocols = list == "none" ? [] : list.split(separator: ",").map { String($0) }
    }

    /// For a query, in a fixed order; `init(parameter:)` reads it.
    package var parameters: [(name: String, value: String)] {
        let all: [(String, String?)] = [
            ("url", url), ("view", view), ("interface", interface), ("from", from),
            ("method", method), ("sni", serverName),
            ("alpn", protocols.isEmpty ? "none" : protocols.joined(separator: ",")),
        ]
        return all.compactMap { name, value in value.map { (name, $0) } }
    }
}

/// Why a question has no answer.
package enum ExplainRefusal: Error, Sendable, Equatable {
    /// It cannot be understood.
    case unclear(String)
    /// There is no such view.
    case unknown(String)
    /// No configuration is in use.
    case notServing(String)

    package var text: String {
        switch self {
        case .unclear(let text), .unknown(let text), .notServing(let text): text
        }
    }
}
