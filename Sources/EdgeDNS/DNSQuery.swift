internal import CEdge
internal import EdgeCore

/// Queries whose both families have ended, for the resolver to collect outside c-ares: no
/// callback runs a decision, and none needs the resolver to be alive still.
final class FinishedQueries {
    private var list: [DNSQuery] = []

    func append(_ query: DNSQuery) { list.append(query) }

    func takeAll() -> [DNSQuery] {
        defer { list = [] }
        return list
    }
}

/// One name being asked for: an A and an AAAA query, each ending on its own. c-ares holds it
/// (through `FamilyQuery`) until both callbacks have run, whatever becomes of the resolver.
final class DNSQuery {
    let name: String
    let deadline: Instant
    /// True once the resolver has told the cache; what comes later is dropped.
    var isReported = false
    private var ipv4: FamilyAnswer?
    private var ipv6: FamilyAnswer?
    private let finished: FinishedQueries

    init(name: String, deadline: Instant, finished: FinishedQueries) {
        self.name = name
        self.deadline = deadline
        self.finished = finished
    }

    /// Whether c-ares has called back for both families.
    var isEnded: Bool { ipv4 != nil && ipv6 != nil }

    /// What is known; a family still out has timed out.
    var answer: NameAnswer {
        NameAnswer(ipv4: ipv4 ?? .failed(.timeout), ipv6: ipv6 ?? .failed(.timeout))
    }

    func end(isIPv4: Bool, _ answer: FamilyAnswer) {
        if isIPv4 { ipv4 = answer } else { ipv6 = answer }
        if isEnded { finished.append(self) }
    }

    /// Ends both families without asking anybody.
    func fail(_ failure: QueryFailure) {
        end(isIPv4: true, .failed(failure))
        end(isIPv4: false, .failed(failure))
    }

    /// Sends both queries. Callbacks may run before this returns.
    func send(on channel: ares_channel) {
        for isIPv4 in [true, false] {
            let family = Unmanaged.passRetained(FamilyQuery(self, isIPv4: isIPv4))
            ares_query(
                channel, name, Self.internet, isIPv4 ? Self.typeA : Self.typeAAAA,
                { context, status, _, bytes, count in
                    // Exactly once per query, also at cancellation: it takes the reference.
                    let family = Unmanaged<FamilyQuery>.fromOpaque(context!).takeRetainedValue()
                    family.ended(status: status, bytes: bytes, count: count)
                }, family.toOpaque())
        }
    }

    // RFC 1035 §3.2.2 and §3.2.4, RFC 3596 §2.1.
    private static let internet: Int32 = 1
    private static let typeA: Int32 = 1
    private static let typeAAAA: Int32 = 28
}

/// One family's half of a query: what the c-ares callback is given.
private final class FamilyQuery {
    private let query: DNSQuery
    private let isIPv4: Bool

    init(_ query: DNSQuery, isIPv4: Bool) {
        self.query = query
        self.isIPv4 = isIPv4
    }

    func ended(status: Int32, bytes: UnsafeMutablePointer<UInt8>?, count: Int32) {
        guard status == ARES_SUCCESS.status, let bytes else {
            query.end(isIPv4: isIPv4, Self.answer(status: status))
            return
        }
        query.end(
            isIPv4: isIPv4,
            isIPv4 ? Self.parseIPv4(bytes, count) : Self.parseIPv6(bytes, count))
    }

    private static func parseIPv4(
        _ bytes: UnsafeMutablePointer<UInt8>, _ byteCount: Int32
    ) -> FamilyAnswer {
        var records = [ares_addrttl](repeating: .init(), count: NameMachine.addressesMax)
        var count = Int32(records.count)
        let status = ares_parse_a_reply(bytes, byteCount, nil, &records, &count)
        guard status == ARES_SUCCESS.status else { return answer(status: status) }
        return answer(
            records.prefix(Int(count)).map { record in
                let value = UInt32(bigEndian: record.ipaddr.s_addr)
                return (SocketAddress(ipv4: value, port: 0), record.ttl)
            })
    }

    private static func parseIPv6(
        _ bytes: UnsafeMutablePointer<UInt8>, _ byteCount: Int32
    ) -> FamilyAnswer {
        var records = [ares_addr6ttl](repeating: .init(), count: NameMachine.addressesMax)
        var count = Int32(records.count)
        let status = ares_parse_aaaa_reply(bytes, byteCount, nil, &records, &count)
        guard status == ARES_SUCCESS.status else { return answer(status: status) }
        return answer(
            records.prefix(Int(count)).map { record in
                let words = withUnsafeBytes(of: record.ip6addr) {
                    (
                        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                        UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                    )
                }
                return (SocketAddress(ipv6High: words.0, low: words.1, port: 0), record.ttl)
            })
    }

    private static func answer(_ records: [(SocketAddress, Int32)]) -> FamilyAnswer {
        guard let ttl = records.map(\.1).min() else { return .empty }
        // RFC 2181 §8: a TTL with the top bit set is 0.
        return .addresses(records.map(\.0), ttl: UInt32(max(ttl, 0)))
    }

    private static func answer(status: Int32) -> FamilyAnswer {
        switch status {
        case ARES_ENODATA.status: .empty
        case ARES_ESERVFAIL.status: .failed(.serverFailure)
        case ARES_EREFUSED.status: .failed(.refused)
        case ARES_ENOTIMP.status: .failed(.notImplemented)
        case ARES_ENOTFOUND.status: .failed(.nameNotFound)
        case ARES_ETIMEOUT.status: .failed(.timeout)
        case ARES_ECONNREFUSED.status: .failed(.noServerUsable)
        case ARES_EBADRESP.status, ARES_EFORMERR.status, ARES_EBADSTR.status: .failed(.malformed)
        case ARES_EBADNAME.status, ARES_EBADQUERY.status: .failed(.badName)
        case ARES_ECANCELLED.status, ARES_EDESTRUCTION.status: .failed(.cancelled)
        default: .failed(.unexpected(status))
        }
    }
}

extension BinaryInteger {
    /// A c-ares status or option, which are plain macros, as the type its functions use.
    var status: Int32 { Int32(self) }
}
