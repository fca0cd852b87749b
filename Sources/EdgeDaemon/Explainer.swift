internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeTLS

/// What becomes of one request, asked of the tables that the workers have: the snapshot's view
/// table, router, access rules, certificates and rules, and the parser and writer of heads.
/// Cold path.
struct Explainer {
    let preparation: Preparation
    let snapshot: RuntimeSnapshot
    /// Seconds since 1970: which certificates are valid.
    let now: Int64
    /// An upstream's, and whether it has nobody who may be asked; nil: nothing is running.
    let members: ((_ upstream: String) -> (members: [ExplainMember], isDown: Bool))?

    var configuration: Configuration { preparation.configuration }
    var routing: Routing { snapshot.routing }

    func explain(_ question: ExplainQuestion) throws(ExplainRefusal) -> ExplainReply {
        guard let url = ExplainedURL(question.url) else {
            throw .unclear("'\(question.url)' is no URL: http or https, a host, a path")
        }
        var answer = Explanation(question, url, try place(question))
        guard let index = listener(url, answer.place.view, &answer) else { return answer.reply }
        let listener = snapshot.listenerNumbers[index]
        answer.listener = listener
        let head = try request(question, url)
        var trace = RouteTrace.Question(
            listener: listener, interface: answer.place.interface, source: answer.place.client,
            host: head.host, path: head.path)
        trace.view = answer.place.view
        trace.client = answer.place.client
        trace.method = question.method
        if snapshot.listeners[listener].isTLS {
            trace.serverName = Self.serverName(question, url)
            trace.protocols = question.protocols
        }
        answer.trace = RouteTrace(
            trace, views: places, router: routing.router, access: routing.access)
        answer.serverName = trace.serverName
        guard let view = explainView(&answer) else { return answer.reply }
        if snapshot.listeners[listener].relayPool != nil {
            passOn(snapshot.listeners[listener].relayPool ?? -1, "relayed as they are", &answer)
            return answer.reply
        }
        if let name = trace.serverName, !explainHandshake(name, view, &answer) {
            return answer.reply
        }
        explainRequest(head, view, &answer)
        return answer.reply
    }

    // MARK: - Where from

    /// Interfaces are told apart by numbers of our own: those of the moment are not asked for.
    private var interfaceNumbers: [String: Int32] {
        var numbers: [String: Int32] = ["lo": 1]
        for name in configuration.views.flatMap(\.interfaces) where numbers[name] == nil {
            numbers[name] = Int32(numbers.count + 1)
        }
        return numbers
    }

    private var places: ViewTable {
        routing.places.withInterfaces(interfaceNumbers.mapValues { [$0] })
    }

    /// Beyond those of the configuration.
    private static let otherInterface: Int32 = .max

    private func place(_ question: ExplainQuestion) throws(ExplainRefusal) -> Explanation.Place {
        var client: SocketAddress?
        if let from = question.from {
            client = SocketAddress(address: from, port: 40_000)
            guard client != nil else { throw .unclear("'\(from)' is no address") }
        }
        let names = configuration.views.map(\.name)
        var view: Int?
        if let name = question.view {
            view = names.firstIndex { $0 == name && !$0.isEmpty }
            guard view != nil else {
                throw .unknown(
                    "no such view: \(Suggestion.defined(for: name, among: names, kind: "view"))")
            }
        } else if configuration.views == [.only] {
            view = 0
        } else if question.interface == nil {
            throw .unclear(
                "say which view, or on which interface: \(names.joined(separator: ", "))")
        }
        let interface = question.interface.map { interfaceNumbers[$0] ?? Self.otherInterface }
        let sources = view.map { configuration.views[$0].sources } ?? []
        let usual = sources.first?.base ?? SocketAddress(ipv4: 0xC000_0201, port: 40_000)
        return .init(
            view: view, interface: interface ?? Self.otherInterface, client: client ?? usual,
            isClientKnown: client != nil)
    }

    /// The listener that is reached; of several the first that serves the view.
    private func listener(
        _ url: ExplainedURL, _ view: Int?, _ answer: inout Explanation
    ) -> Int? {
        let listeners = configuration.listeners
        let atPort = listeners.indices.filter { index in
            listeners[index].addresses.contains { $0.port == url.port }
        }
        let fitting = atPort.filter {
            listeners[$0].kind == .tcp || (listeners[$0].kind == .tls) == url.isTLS
        }
        let chosen = fitting.first { index in
            view.map { listeners[index].views.isEmpty || listeners[index].views.contains($0) }
                ?? true
        }
        guard let index = chosen ?? fitting.first else {
            if let other = atPort.first {
                let kind = listeners[other].kind.rawValue
                answer.end(
                    .closed, "listener \(listeners[other].name) on port \(url.port) is for \(kind)")
            } else {
                answer.end(.closed, "nothing listens on port \(url.port)")
            }
            return nil
        }
        let addresses = listeners[index].addresses.map(\.description).joined(separator: ", ")
        answer.step(
            "listener", "\(listeners[index].name) (\(listeners[index].kind.rawValue), \(addresses))"
        )
        return index
    }

    /// SNI, as a browser would say it.
    private static func serverName(_ question: ExplainQuestion, _ url: ExplainedURL) -> String {
        if question.serverName == "none" { return "" }
        return question.serverName ?? (url.isAddress ? "" : url.host)
    }

    // MARK: - View

    private func explainView(_ answer: inout Explanation) -> ClientView? {
        let views = configuration.views
        let place = answer.place
        if !place.isClientKnown {
            answer.step("client", "\(place.client.addressText), as none was given")
        } else {
            answer.step("client", place.client.addressText)
        }
        switch answer.trace?.view {
        case .view(let index)?:
            let number = Int(routing.viewNumbers[Int(index)])
            guard let view = routing.views[number] else { return nil }
            if views != [.only] { describe(view, &answer) }
            return view
        case .notServed(let index)?:
            let name = views[Int(index)].name
            answer.step("view", viewReason(answer, name))
            answer.end(.closed, "this listener does not serve the view '\(name)': closed")
        case .nowhere?, nil:
            answer.step("view", answer.trace?.lines.dropLast().joined(separator: "; ") ?? "none")
            answer.end(.closed, "no view is for such clients: closed")
        }
        return nil
    }

    private func viewReason(_ answer: Explanation, _ name: String) -> String {
        guard answer.place.view == nil else { return "\(name), as asked" }
        let why = answer.trace?.lines.filter { $0.hasPrefix("view ") } ?? []
        return "\(name): " + why.joined(separator: "; ")
    }

    private func describe(_ view: ClientView, _ answer: inout Explanation) {
        let settings = configuration.views[view.index]
        answer.step("view", viewReason(answer, view.name))
        if settings.requiresProxyHeader {
            let trusted = settings.trustedProxies.map(\.description).joined(separator: ", ")
            answer.step("client", "told by a PROXY header, which \(trusted) must send")
        } else if answer.place.view != nil, answer.place.isClientKnown {
            let interface = settings.interfaces.first.flatMap { interfaceNumbers[$0] }
            let verdict = places.verdict(
                listener: answer.listener, interface: interface ?? Self.otherInterface,
                source: answer.place.client)
            if verdict != .view(Int32(view.index)) {
                let names = configuration.views.map(\.name)
                var other = "no view"
                if case .view(let index) = verdict { other = "the view \(names[Int(index)])" }
                if case .notServed(let index) = verdict { other = "the view \(names[Int(index)])" }
                answer.step("note", "such a client would belong to \(other)")
            }
        }
    }

    // MARK: - The request's head

    /// What a client would send, as our parser reads it.
    private func request(
        _ question: ExplainQuestion, _ url: ExplainedURL
    ) throws(ExplainRefusal) -> ExplainedRequest {
        do throws(HTTP1Violation) {
            return try ExplainedRequest(
                method: question.method, url: url, limits: snapshot.requestLimits)
        } catch {
            throw .unclear("such a request is answered with \(error.status): \(error.label)")
        }
    }
}

/// An explanation in the making.
struct Explanation {
    struct Place {
        /// Index; nil: where the connection comes from decides.
        let view: Int?
        let interface: Int32
        let client: SocketAddress
        let isClientKnown: Bool
    }

    let question: ExplainQuestion
    let url: ExplainedURL
    let place: Place
    var listener = -1
    var trace: RouteTrace?
    /// Nil: without TLS.
    var serverName: String?
    /// What the client is shown.
    var certificates: [CertificateEntry] = []
    var reply = ExplainReply()

    init(_ question: ExplainQuestion, _ url: ExplainedURL, _ place: Place) {
        self.question = question
        self.url = url
        self.place = place
    }

    mutating func step(_ what: String, _ text: String) {
        reply.steps.append(ExplainStep(what, text))
    }

    mutating func end(_ outcome: ExplainReply.Outcome, _ verdict: String) {
        reply.outcome = outcome
        reply.verdict = verdict
    }

    /// An error of ours.
    mutating func refuse(_ status: Int64, _ reason: String) {
        end(.refused, "\(status): \(reason)")
        reply.status = status
    }
}
