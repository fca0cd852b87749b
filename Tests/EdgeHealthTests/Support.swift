import EdgeCore
import EdgeHealth
import EdgeTesting
import EdgeUpstream

/// An exchange that is fed by hand.
final class Interview {
    let exchange: CheckExchange
    private(set) var outcomes: [CheckOutcome] = []
    private(set) var said: [UInt8] = []

    var outcome: CheckOutcome? { outcomes.first }
    var words: String { String(decoding: said, as: UTF8.self) }

    /// - Parameter desk: nil for kinds that speak no HTTP/2.
    init(
        _ kind: HealthPolicy.Kind, isTLS: Bool = false, credential: CheckCredential = .none,
        authority: String = "a.example", desk: HTTP2Desk? = nil
    ) {
        exchange = CheckExchange(
            kind,
            CheckExchange.Context(
                authority: authority, isTLS: isTLS, credential: credential, desk: desk))
    }

    deinit { exchange.end() }

    @discardableResult
    func begin() -> Interview {
        note(exchange.begin(now: now))
        return self
    }

    /// Answers in pieces of that size.
    @discardableResult
    func answer(_ bytes: [UInt8], piece: Int = .max) -> Interview {
        var start = 0
        while start < bytes.count {
            let end = start + min(piece, bytes.count - start)
            bytes[start..<end].withUnsafeBytes { note(exchange.receive($0, now: now)) }
            start = end
        }
        return self
    }

    @discardableResult
    func answer(_ text: String, piece: Int = .max) -> Interview {
        answer(Array(text.utf8), piece: piece)
    }

    @discardableResult
    func close() -> Interview {
        note(exchange.finish())
        return self
    }

    private let now = Instant(nanoseconds: 1_000_000_000)

    private func note(_ outcome: CheckOutcome?) {
        if let outcome { outcomes.append(outcome) }
        said += exchange.takeOutput()
    }
}

/// A question and an answer over HTTP/1.1, closed behind it.
func asked(
    _ kind: HealthPolicy.Kind, isTLS: Bool = false, credential: CheckCredential = .none,
    _ answer: String, piece: Int = .max
) -> CheckOutcome? {
    Interview(kind, isTLS: isTLS, credential: credential).begin()
        .answer(answer, piece: piece).close().outcome
}

func failed(_ reason: String) -> CheckOutcome { .failed(reason: reason) }

func respond(_ status: Int, _ body: String = "", fields: String = "") -> String {
    "HTTP/1.1 \(status) Scripted\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
}

extension CheckOutcome {
    var remedy: String? {
        if case .alive(let remedy) = self { remedy } else { nil }
    }

    var reason: String? {
        if case .failed(let reason) = self { reason } else { nil }
    }
}
