package import EdgeCore

/// What is decided about a connection and a request, and why, for people. It asks the tables of the
/// data path themselves, so it says what they do. Allocates; for cold paths.
package struct RouteTrace: Sendable, Equatable {
    /// A connection and a request on it.
    package struct Question: Sendable {
        package var listener: Int
        /// The kernel's index of the interface that it arrives on.
        package var interface: Int32
        /// It belongs to this view, wherever it comes from; nil: where it comes from decides.
        package var view: Int?
        package var source: SocketAddress
        /// The true client; the source where no PROXY header tells.
        package var client: SocketAddress
        /// SNI; nil: without TLS. Empty: TLS without SNI.
        package var serverName: String?
        /// ALPN.
        package var protocols: [String] = []
        package var method = "GET"
        package var host: String
        /// Without the query.
        package var path = "/"

        package init(
            listener: Int, interface: Int32, source: SocketAddress, host: String, path: String = "/"
        ) {
            self.listener = listener
            self.interface = interface
            self.source = source
            client = source
            self.host = host
            self.path = path
        }
    }

    package private(set) var view: ViewTable.Verdict
    /// Nil: without TLS, or no view.
    package private(set) var connection: ConnectionRoute?
    /// Nil: there is none, or no request is read.
    package private(set) var route: Route?
    package private(set) var coverage: Coverage?
    package private(set) var access: AccessRules.Verdict?
    /// The steps in their order, a sentence each.
    package private(set) var lines: [String] = []

    package init(
        _ question: Question, views: ViewTable, router: Router, access rules: AccessRules
    ) {
        if let index = question.view {
            let isServed = views.serves(listener: question.listener, view: index)
            view = isServed ? .view(Int32(index)) : .notServed(Int32(index))
        } else {
            view = views.verdict(
                listener: question.listener, interface: question.interface,
                source: question.source)
        }
        guard let index = explainView(question, views) else { return }
        if let name = question.serverName, !explainConnection(question, name, index, router) {
            return
        }
        explainRequest(question, index, router, rules)
    }

    /// - Returns: the index of the view, if there is one.
    private mutating func explainView(_ question: Question, _ views: ViewTable) -> Int? {
        let last = views.names.count - 1
        let reasons = { (upTo: Int) -> [String] in
            guard question.view == nil else { return ["view \(views.names[upTo]): asked for"] }
            return views.reasons(upTo: upTo, question.interface, question.source)
        }
        switch view {
        case .view(let index):
            lines += reasons(Int(index))
            return Int(index)
        case .notServed(let index):
            lines += reasons(Int(index))
            lines.append(
                "listener \(question.listener) does not serve view "
                    + "\(views.names[Int(index)]): closed"
            )
        case .nowhere:
            lines += reasons(last)
            lines.append("no view: closed")
        }
        return nil
    }

    /// - Returns: whether requests are read on the connection.
    private mutating func explainConnection(
        _ question: Question, _ name: String, _ view: Int, _ router: Router
    ) -> Bool {
        let bytes = Array(name.utf8)
        let offered = question.protocols.map { Array($0.utf8) }
        func isOffered(_ wanted: Span<UInt8>) -> Bool {
            offered.contains { protocolName in
                guard protocolName.count == wanted.count else { return false }
                return protocolName.indices.allSatisfy { protocolName[$0] == wanted[$0] }
            }
        }
        let decision = router.connection(view: view, serverName: bytes.span, offers: isOffered)
        connection = decision
        var why = "no server name, the view's default"
        if let pattern = router.offerPattern(
            view: view, serverName: bytes.span, offers: isOffered)
        {
            why = "server name \(name) falls under \(pattern) for an offered protocol"
        } else if !bytes.isEmpty {
            why = "server name \(name) "
            let pattern = router.pattern(view: view, host: bytes.span)
            if let pattern, !pattern.isFallback {
                why += "falls under \(pattern.text)"
            } else {
                why += "is unknown, the view's default"
            }
        }
        switch decision {
        case .passthrough(let pool, let site):
            lines.append("\(why): passed through to pool \(pool), site \(site)")
            return false
        case .refuse:
            lines.append("\(why): alert unrecognized_name")
            return false
        case .terminate(let site, _), .terminateUnknown(let site, _):
            lines.append("\(why): TLS ends here, \(site < 0 ? "no site" : "site \(site)")")
            return true
        }
    }

    private mutating func explainRequest(
        _ question: Question, _ view: Int, _ router: Router, _ rules: AccessRules
    ) {
        let host = Array(question.host.utf8)
        let path = Array(question.path.utf8)
        let found = router.request(view: view, host: host.span, path: path.span)
        route = found
        guard let found, let pattern = router.pattern(view: view, host: host.span) else {
            lines.append(
                "host \(question.host) is unknown: \(question.serverName == nil ? 404 : 421)")
            return
        }
        lines.append(
            "host \(question.host) "
                + (pattern.isFallback ? "is unknown, the view's default " : "falls under ")
                + "\(pattern.text): site \(found.site)")
        if let policy = connection?.policy {
            let isSame = Router.areSameHost(
                host.span, Array((question.serverName ?? "").utf8).span)
            let covers = found.coverage(connectionPolicy: policy, isServerName: isSame)
            coverage = covers
            switch covers {
            case .serve: break
            case .misdirected:
                lines.append("another policy than the connection's: 421")
                return
            case .askCertificate:
                lines.append("not the server name: 421 unless the certificate is for it too")
            }
        }
        if found.isPassthrough {
            lines.append("the site is passed through: 404")
            return
        }
        explainPath(question, view, router, found, rules)
    }

    private mutating func explainPath(
        _ question: Question, _ view: Int, _ router: Router, _ found: Route, _ rules: AccessRules
    ) {
        let host = Array(question.host.utf8)
        let path = Array(question.path.utf8)
        let prefix = router.prefix(view: view, host: host.span, path: path.span)
        var line = prefix.map { "path \(question.path) is below \($0)" } ?? "no path of the site's"
        switch found.reading {
        case .literal: break
        case .normalised: line += ", as upstreams read it"
        case .ambiguous: line += ", but upstreams may read it otherwise: 400"
        }
        lines.append(line)
        guard found.reading != .ambiguous else { return }
        let method = Array(question.method.utf8)
        let verdict = rules.verdict(
            policy: found.policy, client: question.client, method: method.span)
        access = verdict
        let client = question.client.addressText
        switch verdict {
        case .allow: lines.append("rules \(found.policy) allow \(question.method) for \(client)")
        case .forbidden: lines.append("rules \(found.policy) do not let \(client) in: 403")
        case .methodNotAllowed:
            let allowed = rules.allowText(policy: found.policy)
            lines.append("rules \(found.policy) allow only \(allowed): 405")
        }
        if verdict == .allow {
            lines.append(found.pool < 0 ? "answered by rules" : "sent to pool \(found.pool)")
        }
    }
}
