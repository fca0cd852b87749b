internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// What a stand-in DNS server knows under a name.
package enum DNSRecord: Sendable, Equatable {
    /// An IPv4 or IPv6 address.
    case address(String)
    case canonicalName(String)
    case service(priority: UInt16 = 0, weight: UInt16 = 0, port: UInt16, target: String)

    /// The number of its type on the wire (RFC 1035, RFC 3596, RFC 2782).
    package var type: UInt16 {
        switch self {
        case .address(let text): text.contains(":") ? 28 : 1
        case .canonicalName: 5
        case .service: 33
        }
    }

    var data: [UInt8] {
        switch self {
        case .address(let text):
            guard let address = SocketAddress(address: text, port: 0) else { return [] }
            if address.isIPv4 { return big(address.ipv4) }
            return big(address.high) + big(address.low)
        case .canonicalName(let name): return encode(name)
        case .service(let priority, let weight, let port, let target):
            return big(priority) + big(weight) + big(port) + encode(target)
        }
    }
}

/// One question as it came in.
package struct DNSQuestion: Sendable, Equatable {
    /// Lower case, without the final dot.
    package let name: String
    package let type: UInt16
    package let overTCP: Bool
}

/// How an answer ends up: RCODE of RFC 1035 §4.1.1.
package enum DNSResponseCode: UInt8, Sendable {
    case noError = 0
    case formatError = 1
    case serverFailure = 2
    case nameError = 3
    case refused = 5
}

/// A question for the wire, with recursion desired.
package func encodeDNSQuery(id: UInt16, name: String, type: UInt16) -> [UInt8] {
    big(id) + [1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + encode(name) + big(type) + [0, 1]
}

/// What a test needs of an answer. nil for anything malformed.
package struct DNSAnswer: Sendable, Equatable {
    package let id: UInt16
    package let code: UInt8
    package let isTruncated: Bool
    /// Type, TTL and data of each record of the answer section.
    package let records: [Record]

    package struct Record: Sendable, Equatable {
        package let type: UInt16
        package let ttl: UInt32
        package let data: [UInt8]
    }

    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= 12 else { return nil }
        id = word(bytes, 0)
        code = bytes[3] & 0x0F
        isTruncated = bytes[2] & 2 != 0
        var at = 12
        for _ in 0..<word(bytes, 4) {
            guard let end = skipName(bytes, at), end + 4 <= bytes.count else { return nil }
            at = end + 4
        }
        var found: [Record] = []
        for _ in 0..<word(bytes, 6) {
            guard let end = skipName(bytes, at), end + 10 <= bytes.count else { return nil }
            let length = Int(word(bytes, end + 8))
            guard end + 10 + length <= bytes.count else { return nil }
            let ttl = UInt32(word(bytes, end + 4)) << 16 | UInt32(word(bytes, end + 6))
            found.append(
                Record(
                    type: word(bytes, end), ttl: ttl,
                    data: Array(bytes[(end + 10)..<(end + 10 + length)])))
            at = end + 10 + length
        }
        records = found
    }

    /// The addresses among the records, as text.
    package var addresses: [String] {
        records.compactMap { record in
            switch (record.type, record.data.count) {
            case (1, 4): record.data.map { "\($0)" }.joined(separator: ".")
            case (28, 16):
                SocketAddress(
                    ipv6High: long(record.data, 0), low: long(record.data, 8), port: 0
                ).addressText
            default: nil
            }
        }
    }
}

/// Header and first question of a query; nil if there is none.
func decodeDNSQuery(_ bytes: [UInt8]) -> (id: UInt16, name: String, type: UInt16, end: Int)? {
    guard bytes.count >= 17, bytes[2] & 0x80 == 0, word(bytes, 4) == 1 else { return nil }
    var labels: [String] = []
    var at = 12
    while at < bytes.count, bytes[at] != 0 {
        let length = Int(bytes[at])
        guard length < 64, at + 1 + length < bytes.count else { return nil }
        labels.append(String(decoding: bytes[(at + 1)..<(at + 1 + length)], as: UTF8.self))
        at += 1 + length
    }
    guard at + 5 <= bytes.count else { return nil }
    let name = labels.joined(separator: ".").lowercased()
    return (word(bytes, 0), name, word(bytes, at + 1), at + 5)
}

/// An answer to the question in `query[12..<questionEnd]`.
func encodeDNSAnswer(
    to query: [UInt8], questionEnd: Int, code: DNSResponseCode,
    records: [(name: String, record: DNSRecord)], ttl: UInt32, sizeMax: Int
) -> [UInt8] {
    let question = Array(query[12..<questionEnd])
    // QR, AA, the client's RD, and RA.
    let flags: [UInt8] = [0x84 | query[2] & 1, 0x80 | code.rawValue]
    var body: [UInt8] = []
    for (name, record) in records {
        let data = record.data
        body += encode(name) + big(record.type) + [0, 1] + big(ttl)
        body += big(UInt16(data.count)) + data
    }
    let isTooLong = 12 + question.count + body.count > sizeMax
    let count = isTooLong ? 0 : UInt16(records.count)
    let header =
        Array(query[0..<2]) + [flags[0] | (isTooLong ? 2 : 0), flags[1], 0, 1] + big(count)
        + [0, 0, 0, 0]
    return header + question + (isTooLong ? [] : body)
}

// MARK: - Wire

func big<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

private func word(_ bytes: [UInt8], _ at: Int) -> UInt16 {
    UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
}

private func long(_ bytes: [UInt8], _ at: Int) -> UInt64 {
    bytes[at..<(at + 8)].reduce(0) { $0 << 8 | UInt64($1) }
}

private func encode(_ name: String) -> [UInt8] {
    name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
}

/// Where the name at `start` ends; a compression pointer is its end.
private func skipName(_ bytes: [UInt8], _ start: Int) -> Int? {
    var at = start
    while at < bytes.count {
        let length = Int(bytes[at])
        if length == 0 { return at + 1 }
        if length >= 0xC0 { return at + 2 }
        at += 1 + length
    }
    return nil
}
