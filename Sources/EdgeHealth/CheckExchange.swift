package import EdgeCore
package import EdgeUpstream

/// What one check says on its connection and what it makes of the answer. Sans-IO: bytes are as
/// they are inside of TLS, if there is any.
///
///     asking ──begin──► listening ──receive, finish──► settled
///        └── nothing to ask: settled
///
/// There is exactly one outcome; whatever comes behind it is not looked at.
package final class CheckExchange {
    private enum Speech {
        /// `tcp` and `tls`: that the connection is there is the answer.
        case nothing
        case http1(HTTP1Exchange)
        case http2(HTTP2Exchange)
    }

    /// Whom it asks, and with what.
    package struct Context {
        /// Host where the policy names none.
        package let authority: String
        package let isTLS: Bool
        package let credential: CheckCredential
        /// For kinds that speak HTTP/2.
        package let desk: HTTP2Desk?

        package init(
            authority: String, isTLS: Bool, credential: CheckCredential = .none,
            desk: HTTP2Desk? = nil
        ) {
            self.authority = authority
            self.isTLS = isTLS
            self.credential = credential
            self.desk = desk
        }
    }

    private let kind: HealthPolicy.Kind
    private let context: Context
    private var speech = Speech.nothing
    private var output: [UInt8] = []
    private var isSettled = false

    package init(_ kind: HealthPolicy.Kind, _ context: Context) {
        self.kind = kind
        self.context = context
    }

    deinit { end() }

    // MARK: - Events

    /// The connection can be used: the handshake is done, where there is one.
    ///
    /// - Returns: nil if the answer decides.
    package func begin(now: Instant) -> CheckOutcome? {
        settle(ask(now))
    }

    /// - Returns: the outcome, once.
    package func receive(_ bytes: UnsafeRawBufferPointer, now: Instant) -> CheckOutcome? {
        guard !isSettled, !bytes.isEmpty else { return nil }
        switch speech {
        case .nothing: return nil
        case .http1(var exchange):
            // Not two owners of the same bytes.
            speech = .nothing
            let outcome = exchange.receive(bytes)
            speech = .http1(exchange)
            return settle(outcome)
        case .http2(let exchange): return settle(exchange.receive(bytes, now: now))
        }
    }

    /// The upstream has ended its side.
    ///
    /// - Returns: the outcome, if there was none yet.
    package func finish() -> CheckOutcome? {
        switch speech {
        case .nothing: settle(.failed(reason: CheckReason.noAnswer))
        case .http1(let exchange): settle(exchange.finish())
        case .http2(let exchange): settle(exchange.finish())
        }
    }

    /// What is to be sent now; given once.
    package func takeOutput() -> [UInt8] {
        if case .http2(let exchange) = speech { return exchange.takeOutput() }
        defer { output = [] }
        return output
    }

    /// Gives back what HTTP/2 holds.
    package func end() {
        isSettled = true
        if case .http2(let exchange) = speech { exchange.end() }
        speech = .nothing
    }

    private func settle(_ outcome: CheckOutcome?) -> CheckOutcome? {
        guard !isSettled, let outcome else { return nil }
        isSettled = true
        return outcome
    }

    // MARK: - Questions

    private func ask(_ now: Instant) -> CheckOutcome? {
        let credential = context.credential
        switch kind {
        case .tcp: return .passed
        case .tls: return context.isTLS ? .passed : .failed(reason: CheckReason.needsTLS)
        case .http(let request):
            return askHTTP1(
                request, .statuses(request.statuses, trouble: credential.trouble),
                text: request.bodyContains)
        case .activeMember(let request):
            return askHTTP1(request, .activeMember, text: request.bodyContains)
        case .kubeAPIServer:
            guard context.isTLS else { return .failed(reason: CheckReason.needsTLS) }
            return askHTTP1(
                HealthPolicy.Request(path: "/readyz"), .kubernetes(credential), text: nil)
        case .http2(let request):
            let rule = AnswerRule.statuses(request.statuses, trouble: credential.trouble)
            return askHTTP2(
                request, .http(AnswerJudge(rule, text: request.bodyContains)), content: [], now)
        case .grpc(let service):
            let request = HealthPolicy.Request(
                method: "POST", path: GRPCHealth.path, headers: GRPCHealth.headers)
            return askHTTP2(
                request, .grpc(GRPCAnswer()), content: GRPCHealth.message(service: service), now)
        }
    }

    private func askHTTP1(
        _ policy: HealthPolicy.Request, _ rule: AnswerRule, text: String?
    ) -> CheckOutcome? {
        guard let request = request(policy) else {
            return .failed(reason: CheckReason.unsendable)
        }
        output = request.http1
        speech = .http1(HTTP1Exchange(AnswerJudge(rule, text: text), method: request.method))
        return nil
    }

    private func askHTTP2(
        _ policy: HealthPolicy.Request, _ reader: HTTP2Exchange.Reader, content: [UInt8],
        _ now: Instant
    ) -> CheckOutcome? {
        guard let request = request(policy), let desk = context.desk else {
            return .failed(reason: CheckReason.unsendable)
        }
        let exchange = HTTP2Exchange(
            reader, content: content, isHeadRequest: request.method == "HEAD", desk: desk)
        let isBegun = exchange.begin(request.http2(isTLS: context.isTLS), now: now)
        speech = .http2(exchange)
        return isBegun ? nil : .failed(reason: CheckReason.unsendable)
    }

    private func request(_ policy: HealthPolicy.Request) -> CheckRequest? {
        CheckRequest(policy, authority: context.authority, token: context.credential.token)
    }
}
