/// Every key of the configuration language, in one table: the decoder asks it what a key may
/// hold, the reference is rendered from it, and a test walks it.
package struct Schema: Sendable {
    /// What a key holds, with the bounds the decoder enforces.
    package enum ValueType: Sendable {
        case integer(ClosedRange<Int>)
        /// A number, or `auto` for what the program finds best.
        case integerOrAuto(ClosedRange<Int>)
        case duration(ClosedRange<Duration>)
        /// A duration, or `unlimited`.
        case durationOrUnlimited(ClosedRange<Duration>)
        case size(ClosedRange<Int>)
        /// A size, or `unlimited`.
        case sizeOrUnlimited(ClosedRange<Int>)
        /// One of these words.
        case choice([String])
        case text(Text)
        /// A list with at least one string; with `orSingle`, one string may stand for a list.
        case texts(Text, orSingle: Bool)
        /// HTTP statuses and spans of them: one, or a list.
        case statuses(ClosedRange<Int>)
        /// Keys of its own.
        case mapping
        /// Keys of its own, or `off`.
        case mappingOrOff
        /// A list of mappings.
        case mappings
        /// A list of strings and mappings.
        case textsOrMappings(Text)
        /// Mappings under names the operator chooses.
        case named
        /// A string or a list of them, for all views; or a mapping from views to such.
        case textsByView(Text)
        /// A string, or keys of its own.
        case textOrMapping(Text)
        /// Names of header fields with their values.
        case fields
    }

    /// The forms of a string; `TextValue` and `HostName` check them.
    package enum Text: String, Sendable {
        case name = "a name"
        case account = "the name of a user or group"
        case path = "a path"
        case glob = "a path, or a pattern with `*`, `?` and `[…]`"
        case address = "an address without port"
        case endpoint = "address:port"
        case resolver = "an address, with or without port"
        case server = "host:port"
        case host = "a host name"
        case domain = "a domain"
        case hostPattern = "a host name, `*.example.org` or `*`"
        case block = "an address or a block of them, such as 10.0.0.0/8"
        case upgrade = "the name of a protocol, such as SPDY/3.1"
        case service = "a name of SRV records, such as _https._tcp.example.org"
        case hashKey = "`client`, `header NAME` or `cookie NAME`"
        case token = "letters, digits and !#$%&'*+-.^_`|~"
        case field = "a header field, as in `Name: value`"
        case target = "a path with or without a query, such as /healthz"
        case authority = "a host name or an address, with or without port"
        case phrase = "a string of at most 1024 bytes"
        case procedure = "the name of a gRPC service, such as grpc.health.v1.Health"
        case interface = "the name of a network interface"
        case unknown = "`refuse`, `not_found` or a host name"
        case alpn = "the name of a protocol (ALPN), such as acme-tls/1"
        case fieldName = "the name of a header field"
        case method = "a method, such as GET"
        case prefix = "the path of a URL, such as /api"
        case location = "a URL or a path, with variables"
        case transport = "a duration, or max-age and more as in RFC 6797"
        case rate = "`N per DURATION` or `N per DURATION burst M`"
        case byteRate = "`SIZE per DURATION` or `SIZE per DURATION burst SIZE`"
        case limitKey = "`client`, `peer`, `everybody`, `header NAME` or `cookie NAME`"
        case network = "an address with the length of its prefix, such as 192.168.1.13/24"
        case preempt = "`no`, `yes`, or `after` and a duration, such as `after 5m`"
    }

    /// One key. In `path`, `[]` stands for an entry of a list and `*` for a chosen name.
    package final class Key: Sendable {
        package let path: String
        /// The last part of the path.
        package let name: String
        /// The path of the mapping the key belongs to; empty at the top level.
        package let parent: String
        /// The path of the mappings this key holds; nil if it holds none.
        package let childrenPath: String?
        package let type: ValueType
        /// As it would be written; nil: nothing is assumed (`absence` says what that means).
        package let defaultText: String?
        package let isRequired: Bool
        /// Whether an included file may have it; asked of top-level keys only.
        package let isAllowedInFragments: Bool
        package let effect: String
        package let absence: String?
        package let pitfalls: String?
        package let seeAlso: [String]

        init(
            _ path: String, _ type: ValueType, default defaultText: String? = nil,
            required: Bool = false, fragments: Bool = false, effect: String,
            absence: String? = nil, pitfalls: String? = nil, seeAlso: [String] = []
        ) {
            self.path = path
            let parts = path.split(separator: ".")
            name = String(parts.last ?? "")
            parent = parts.dropLast().joined(separator: ".")
            switch type {
            case .mapping, .mappingOrOff, .textOrMapping: childrenPath = path
            case .mappings, .textsOrMappings: childrenPath = path + "[]"
            case .named: childrenPath = path + ".*"
            case .integer, .integerOrAuto, .duration, .durationOrUnlimited, .size,
                .sizeOrUnlimited, .choice, .text, .texts, .textsByView, .fields, .statuses:
                childrenPath = nil
            }
            self.type = type
            self.defaultText = defaultText
            self.isRequired = required
            self.isAllowedInFragments = fragments
            self.effect = effect
            self.absence = absence
            self.pitfalls = pitfalls
            self.seeAlso = seeAlso
        }
    }

    package static let current = Schema(
        keys: generalKeys + nodeKeys + failoverKeys + pairKeys + viewKeys + listenerKeys + siteKeys
            + pathKeys + ruleKeys + upstreamKeys
            + balanceKeys
            + healthKeys
            + recoveryKeys + rateLimitKeys + resolverKeys + dnsKeys + forwardingKeys + http2Keys
            + tuningKeys)

    package let keys: [Key]
    private let byPath: [String: Key]
    private let byParent: [String: [Key]]

    init(keys: [Key]) {
        self.keys = keys
        byPath = Dictionary(keys.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        var byParent = Dictionary(grouping: keys, by: \.parent)
        for owner in Self.ruleOwners { byParent[owner, default: []] += byParent[Self.rules] ?? [] }
        self.byParent = byParent
    }

    package func key(_ path: String) -> Key? { byPath[path] }

    /// The keys a mapping at `path` may have, in the order of the table.
    package func children(of path: String) -> [Key] { byParent[path] ?? [] }
}
