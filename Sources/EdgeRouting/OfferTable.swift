/// Passthroughs that are only for clients who offer some protocol (ALPN, RFC 7301). Immutable and
/// flat, as `HostTable` is.
struct OfferTable: Sendable {
    struct Offer: BitwiseCopyable {
        fileprivate(set) var pool: Int32
        fileprivate(set) var site: Int32
        fileprivate var number: Int32
        /// In `protocols`.
        fileprivate var firstProtocol: Int32
        fileprivate var protocolCount: Int32
        /// The next one with the same pattern; -1: none.
        fileprivate var next: Int32
    }

    private struct Name: Sendable {
        /// In `text`.
        var start: Int32
        var count: Int32
    }

    private let hosts: HostTable
    private var offers: [Offer] = []
    private var protocols: [Name] = []
    private var text: [UInt8] = []

    init(_ entries: [(view: Int, host: Router.Host)], views: Int) {
        hosts = HostTable(entries.map { ($0.view, $0.host.pattern) }, views: views)
        var last: [Int: [String: Int]] = [:]
        for (index, entry) in entries.enumerated() {
            let host = entry.host
            if let before = last[entry.view]?[host.pattern] { offers[before].next = Int32(index) }
            last[entry.view, default: [:]][host.pattern] = index
            offers.append(
                Offer(
                    pool: host.pool, site: host.site, number: Int32(index),
                    firstProtocol: Int32(protocols.count),
                    protocolCount: Int32(host.protocols.count), next: -1))
            for name in host.protocols {
                protocols.append(Name(start: Int32(text.count), count: Int32(name.utf8.count)))
                text += Array(name.utf8)
            }
        }
    }

    /// The most specific one with a protocol that the client offers, of equal patterns the first.
    // hot: once per connection; no allocation.
    func find(
        _ name: Span<UInt8>, view: Int, _ isOffered: (Span<UInt8>) -> Bool
    ) -> Offer? {
        guard !offers.isEmpty else { return nil }
        let key = HostTable.key(name, view: view)
        for level in HostTable.Level.allCases {
            var index = hosts.find(key, name, view: view, level)
            while index >= 0 {
                let offer = offers[Int(index)]
                if accepts(offer, isOffered) { return offer }
                index = offer.next
            }
        }
        return nil
    }

    private func accepts(_ offer: Offer, _ isOffered: (Span<UInt8>) -> Bool) -> Bool {
        for place in 0..<Int(offer.protocolCount) {
            let name = protocols[Int(offer.firstProtocol) + place]
            let range = Int(name.start)..<Int(name.start + name.count)
            if isOffered(text.span.extracting(range)) { return true }
        }
        return false
    }

    /// The offer's host pattern, for people.
    func pattern(_ offer: Offer) -> String { hosts.pattern(offer.number) }
}
