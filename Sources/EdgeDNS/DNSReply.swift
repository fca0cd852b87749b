internal import CEdge
internal import EdgeCore

/// Answers as c-ares hands them over, taken apart by it. All that a message of at most 64 KiB has
/// is read: what is kept of it must not depend on its order.
enum DNSReply {
    /// Addresses that a message may have: each record takes at least 15 bytes (RFC 1035 §4.1.3).
    private static func recordsMax(_ byteCount: Int32) -> Int {
        max(Int(byteCount), 0) / 15 + 1
    }

    static func ipv4(_ bytes: UnsafeMutablePointer<UInt8>, _ byteCount: Int32) -> FamilyAnswer {
        var records = [ares_addrttl](repeating: .init(), count: recordsMax(byteCount))
        var count = Int32(records.count)
        let status = ares_parse_a_reply(bytes, byteCount, nil, &records, &count)
        guard status == ARES_SUCCESS.status else { return family(status: status) }
        return family(
            records.prefix(Int(count)).map { record in
                let value = UInt32(bigEndian: record.ipaddr.s_addr)
                return (SocketAddress(ipv4: value, port: 0), record.ttl)
            })
    }

    static func ipv6(_ bytes: UnsafeMutablePointer<UInt8>, _ byteCount: Int32) -> FamilyAnswer {
        var records = [ares_addr6ttl](repeating: .init(), count: recordsMax(byteCount))
        var count = Int32(records.count)
        let status = ares_parse_aaaa_reply(bytes, byteCount, nil, &records, &count)
        guard status == ARES_SUCCESS.status else { return family(status: status) }
        return family(
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

    /// A target of "." says that there is no such service (RFC 2782): no record.
    static func service(_ bytes: UnsafeMutablePointer<UInt8>, _ byteCount: Int32) -> ServiceAnswer {
        var list: UnsafeMutablePointer<ares_srv_reply>?
        let status = ares_parse_srv_reply(bytes, byteCount, &list)
        guard status == ARES_SUCCESS.status else {
            let failure = QueryFailure(status: status)
            return failure == .empty ? .empty : .failed(failure)
        }
        defer { ares_free_data(list) }
        var records: [ServiceRecord] = []
        var next = list
        while let record = next?.pointee {
            next = record.next
            var target = record.host.map { String(cString: $0) } ?? ""
            if target.hasSuffix(".") { target.removeLast() }
            guard !target.isEmpty else { continue }
            records.append(
                ServiceRecord(
                    priority: record.priority, weight: record.weight, port: record.port,
                    target: target.lowercased()))
        }
        guard !records.isEmpty else { return .empty }
        let message = UnsafeBufferPointer(start: bytes, count: Int(byteCount))
        return .records(records, ttl: leastTTL(Array(message)) ?? 0)
    }

    private static func family(_ records: [(SocketAddress, Int32)]) -> FamilyAnswer {
        guard let ttl = records.map(\.1).min() else { return .empty }
        // RFC 2181 §8: a TTL with the top bit set is 0.
        return .addresses(records.map(\.0), ttl: UInt32(max(ttl, 0)))
    }

    private static func family(status: Int32) -> FamilyAnswer {
        let failure = QueryFailure(status: status)
        return failure == .empty ? .empty : .failed(failure)
    }

    /// The least TTL of the answer section (RFC 1035 §4.1), which c-ares does not tell of SRV
    /// records; nil if the message is not well-formed.
    static func leastTTL(_ bytes: [UInt8]) -> UInt32? {
        func word(_ at: Int) -> Int? {
            at >= 0 && at + 1 < bytes.count ? Int(bytes[at]) << 8 | Int(bytes[at + 1]) : nil
        }
        func afterName(_ start: Int) -> Int? {
            var at = start
            while at < bytes.count {
                switch bytes[at] {
                case 0: return at + 1
                case 0xC0...: return at + 2
                case 1..<64: at += 1 + Int(bytes[at])
                default: return nil
                }
            }
            return nil
        }
        guard let questions = word(4), let answers = word(6) else { return nil }
        var at = 12
        for _ in 0..<questions {
            guard let end = afterName(at) else { return nil }
            at = end + 4
        }
        var least: UInt32?
        for _ in 0..<answers {
            guard let end = afterName(at), let high = word(end + 4), let low = word(end + 6),
                let length = word(end + 8)
            else { return nil }
            // RFC 2181 §8, as above.
            let ttl = high >> 15 == 1 ? 0 : UInt32(high) << 16 | UInt32(low)
            least = min(least ?? ttl, ttl)
            at = end + 10 + length
        }
        return least
    }
}

extension QueryFailure {
    /// Of a c-ares status that is no success.
    init(status: Int32) {
        self =
            switch status {
            case ARES_ENODATA.status: .empty
            case ARES_ESERVFAIL.status: .serverFailure
            case ARES_EREFUSED.status: .refused
            case ARES_ENOTIMP.status: .notImplemented
            case ARES_ENOTFOUND.status: .nameNotFound
            case ARES_ETIMEOUT.status: .timeout
            case ARES_ECONNREFUSED.status: .noServerUsable
            case ARES_EBADRESP.status, ARES_EFORMERR.status, ARES_EBADSTR.status: .malformed
            case ARES_EBADNAME.status, ARES_EBADQUERY.status: .badName
            case ARES_ECANCELLED.status, ARES_EDESTRUCTION.status: .cancelled
            default: .unexpected(status)
            }
    }
}

extension BinaryInteger {
    /// A c-ares status or option, which are plain macros, as the type its functions use.
    var status: Int32 { Int32(self) }
}
