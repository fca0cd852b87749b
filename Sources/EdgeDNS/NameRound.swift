package import EdgeCore

/// What is asked for: the addresses of a host, or the records of a service.
package enum QuerySubject: Sendable, Hashable {
    case host(String)
    case service(String)

    package var name: String {
        switch self {
        case .host(let name), .service(let name): name
        }
    }
}

package enum QueryAnswer: Sendable, Equatable {
    case host(NameAnswer)
    case service(ServiceAnswer)

    /// Nil: it has addresses or records.
    package var failure: QueryFailure? {
        switch self {
        case .host(let answer): answer.failure
        case .service(.records): nil
        case .service(.empty): .empty
        case .service(.failed(let failure)): failure
        }
    }

    package static func failed(_ failure: QueryFailure, _ subject: QuerySubject) -> QueryAnswer {
        switch subject {
        case .host: .host(NameAnswer(ipv4: .failed(failure), ipv6: .failed(failure)))
        case .service: .service(.failed(failure))
        }
    }
}

/// One subject asked of all servers of its group at the same time: which answer counts, and when
/// it is known. Sans-IO. The first good one does; one that says nothing waits for the others, as
/// does one that looks wrong.
package struct NameRound: Sendable {
    package enum Reply: Sendable, Equatable {
        case awaited
        /// One family has addresses, the other is still out.
        case partial(since: Instant)
        /// Other names are being asked before it is believed, for so long.
        case held(QueryAnswer, witnesses: Set<String>, until: Instant)
        case good(QueryAnswer, at: Instant)
        case suspicious(QueryAnswer)
        case useless(QueryAnswer)

        package var isOpen: Bool {
            switch self {
            case .awaited, .partial, .held: true
            case .good, .suspicious, .useless: false
            }
        }
    }

    package struct Decision: Sendable, Equatable {
        package let answer: QueryAnswer
        package let isSuspicious: Bool
        /// Whose answer it is.
        package let server: Int
    }

    package let subject: QuerySubject
    package let asked: Instant
    package let deadline: Instant
    /// Whether what is known does not work, so that news is worth a moment's wait.
    private let isHurried: Bool
    private let patience: Duration
    /// The same, of one family's answer with the other's.
    private let partialPatience: Duration
    /// By number of the server.
    package private(set) var replies: [Int: Reply]

    package init(
        _ subject: QuerySubject, servers: [Int], isHurried: Bool, timing: NameTiming, now: Instant
    ) {
        self.subject = subject
        asked = now
        deadline = now.advanced(by: timing.queryDeadline)
        patience = timing.patience
        partialPatience = isHurried ? timing.patience / 2 : timing.patience
        self.isHurried = isHurried
        replies = Dictionary(servers.map { ($0, .awaited) }) { first, _ in first }
    }

    package mutating func set(_ server: Int, _ reply: Reply) {
        guard replies[server]?.isOpen == true else { return }
        if case .partial = reply, case .partial = replies[server] { return }
        replies[server] = reply
    }

    /// When something has to be done although no answer comes: the round ends, or what is there of
    /// an answer has to do.
    package var due: Instant {
        var due = deadline
        for reply in replies.values {
            switch reply {
            case .partial(let since): due = min(due, since.advanced(by: partialPatience))
            case .good(_, let since): due = min(due, since.advanced(by: patience))
            case .held(_, _, let until): due = min(due, until)
            case .awaited, .suspicious, .useless: break
            }
        }
        return due
    }

    /// Servers whose partial or held answers have waited long enough; all open ones once time is
    /// up.
    package func overdue(now: Instant) -> [Int] {
        replies.filter { _, reply in
            if case .partial(let since) = reply {
                return now >= min(since + partialPatience, deadline)
            }
            if case .held(_, _, let until) = reply { return now >= min(until, deadline) }
            return reply.isOpen && now >= deadline
        }.keys.sorted()
    }

    /// Nil: to be waited for.
    ///
    /// - Parameter isNews: whether an answer differs from what is known.
    package func decision(now: Instant, isNews: (QueryAnswer) -> Bool) -> Decision? {
        let isComplete = !replies.values.contains(where: \.isOpen)
        var first: (answer: QueryAnswer, at: Instant, server: Int)?
        for (server, reply) in replies.sorted(by: { $0.key < $1.key }) {
            guard case .good(let answer, let at) = reply else { continue }
            if isHurried, isNews(answer) {
                return Decision(answer: answer, isSuspicious: false, server: server)
            }
            if first.map({ at < $0.at }) ?? true { first = (answer, at, server) }
        }
        if let first {
            guard isComplete || !isHurried || now >= first.at + patience else { return nil }
            return Decision(answer: first.answer, isSuspicious: false, server: first.server)
        }
        guard isComplete else { return nil }
        return lesser
    }

    /// Of complete replies without a good one.
    private var lesser: Decision? {
        var best: (decision: Decision, rank: Int)?
        for (server, reply) in replies.sorted(by: { $0.key < $1.key }) {
            let next: (QueryAnswer, isSuspicious: Bool, rank: Int)
            switch reply {
            case .suspicious(let answer): next = (answer, true, 0)
            case .useless(let answer): next = (answer, false, answer.failure?.rank ?? 1)
            case .awaited, .partial, .held, .good: continue
            }
            guard best.map({ next.rank < $0.rank }) ?? true else { continue }
            best = (
                Decision(answer: next.0, isSuspicious: next.isSuspicious, server: server), next.rank
            )
        }
        return best?.decision
    }
}

extension QueryFailure {
    /// Which of several servers' failures says most about the name: the least.
    fileprivate var rank: Int {
        switch self {
        case .ownAddress, .unusableAddresses: 1
        case .nameNotFound: 2
        case .empty: 3
        case .serverFailure, .refused, .notImplemented, .malformed, .responseCode, .unexpected: 4
        case .timeout: 5
        case .noServerUsable, .noChannel, .badName, .cancelled: 6
        }
    }
}

extension Instant {
    fileprivate static func + (instant: Instant, span: Duration) -> Instant {
        instant.advanced(by: span)
    }
}
