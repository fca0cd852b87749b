internal import CEdge
internal import EdgeCore

/// Queries something has become of, for the resolver to collect outside c-ares: no callback runs a
/// decision, and none needs the resolver to be alive still.
final class FinishedQueries {
    private var list: [DNSQuery] = []

    func append(_ query: DNSQuery) { list.append(query) }

    func takeAll() -> [DNSQuery] {
        defer { list = [] }
        return list
    }
}

/// One subject asked of one server: an A and an AAAA query, each ending on its own, or an SRV
/// query. c-ares holds it (through `PartQuery`) until all callbacks have run, whatever becomes of
/// the resolver.
final class DNSQuery {
    let subject: QuerySubject
    /// Number of the server in the resolver.
    let server: Int
    let sent: Instant
    private var ipv4: FamilyAnswer?
    private var ipv6: FamilyAnswer?
    private var service: ServiceAnswer?
    private let finished: FinishedQueries

    init(_ subject: QuerySubject, server: Int, now: Instant, finished: FinishedQueries) {
        self.subject = subject
        self.server = server
        sent = now
        self.finished = finished
    }

    /// Whether c-ares has called back for all of it.
    var isEnded: Bool {
        switch subject {
        case .host: ipv4 != nil && ipv6 != nil
        case .service: service != nil
        }
    }

    /// Whether one family has been answered, and the other not.
    var isHalfEnded: Bool { (ipv4 == nil) != (ipv6 == nil) }

    /// What is known; a part still out has timed out.
    var answer: QueryAnswer {
        switch subject {
        case .host:
            .host(
                NameAnswer(ipv4: ipv4 ?? .failed(.timeout), ipv6: ipv6 ?? .failed(.timeout)).usable
            )
        case .service: .service(service ?? .failed(.timeout))
        }
    }

    fileprivate func end(_ part: PartQuery.Part, _ result: PartResult) {
        switch part {
        case .ipv4: ipv4 = result.family(isIPv4: true)
        case .ipv6: ipv6 = result.family(isIPv4: false)
        case .service: service = result.service
        }
        finished.append(self)
    }

    /// Ends all of it without asking anybody.
    func fail(_ failure: QueryFailure) {
        for part in parts { end(part, .failed(failure)) }
    }

    private var parts: [PartQuery.Part] {
        switch subject {
        case .host: [.ipv4, .ipv6]
        case .service: [.service]
        }
    }

    /// Sends its queries. Callbacks may run before this returns.
    func send(on channel: ares_channel) {
        for part in parts {
            let query = Unmanaged.passRetained(PartQuery(self, part))
            ares_query(
                channel, subject.name, Self.internet, part.rawValue,
                { context, status, _, bytes, count in
                    // Exactly once per query, also at cancellation: it takes the reference.
                    let query = Unmanaged<PartQuery>.fromOpaque(context!).takeRetainedValue()
                    query.ended(status: status, bytes: bytes, count: count)
                }, query.toOpaque())
        }
    }

    // RFC 1035 §3.2.4.
    private static let internet: Int32 = 1
}

/// One question on the wire: what the c-ares callback is given.
private final class PartQuery {
    /// By its record type: RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782.
    enum Part: Int32 {
        case ipv4 = 1
        case ipv6 = 28
        case service = 33
    }

    private let query: DNSQuery
    private let part: Part

    init(_ query: DNSQuery, _ part: Part) {
        self.query = query
        self.part = part
    }

    func ended(status: Int32, bytes: UnsafeMutablePointer<UInt8>?, count: Int32) {
        guard status == ARES_SUCCESS.status, let bytes, count > 3 else {
            return query.end(part, .failed(QueryFailure(status: status)))
        }
        // c-ares takes every response code it has no status for as NOERROR.
        let code = bytes[3] & 0x0F
        query.end(part, code == 0 ? .message(bytes, count) : .failed(.responseCode(code)))
    }
}

/// How one question ended.
private enum PartResult {
    case message(UnsafeMutablePointer<UInt8>, Int32)
    case failed(QueryFailure)

    func family(isIPv4: Bool) -> FamilyAnswer {
        switch self {
        case .failed(.empty): .empty
        case .failed(let failure): .failed(failure)
        case .message(let bytes, let count):
            isIPv4 ? DNSReply.ipv4(bytes, count) : DNSReply.ipv6(bytes, count)
        }
    }

    var service: ServiceAnswer {
        switch self {
        case .failed(.empty): .empty
        case .failed(let failure): .failed(failure)
        case .message(let bytes, let count): DNSReply.service(bytes, count)
        }
    }
}
