/// The certificates that one worker has parsed, those used last: at most `countMax`, about 7.5 KiB
/// each. Beyond that the one unused for longest is parsed again when it is asked for, which costs a
/// handshake about 200 µs. Outlives stores: an entry that a reload keeps stays parsed.
final class CertificateShelf {
    private struct Slot {
        var entry: CertificateEntry
        /// Nil: OpenSSL cannot use it, which need not be found out again.
        var certificate: ParsedCertificate?
        /// Towards the one used last, and away from it; -1: none.
        var newer: Int
        var older: Int
    }

    private let parser: CertificateParser
    private let countMax: Int
    private var slots: [Slot] = []
    private var places: [ObjectIdentifier: Int] = [:]
    private var newest = -1
    private var oldest = -1
    /// Few: most certificates are sent with the same issuers.
    private var chains: [ObjectIdentifier: (chain: CertificateChain, parsed: ParsedChain)] = [:]

    private static let chainsMax = 64
    static let countMax = 4096

    init(parser: CertificateParser, countMax: Int = CertificateShelf.countMax) {
        self.parser = parser
        self.countMax = max(countMax, 1)
    }

    var count: Int { slots.count }

    /// - Returns: nil if OpenSSL cannot use it; the reason is in its error queue the first time.
    func certificate(_ entry: CertificateEntry) -> ParsedCertificate? {
        if let place = places[ObjectIdentifier(entry)] {
            touch(place)
            return slots[place].certificate
        }
        let certificate = chain(entry.chain).flatMap {
            ParsedCertificate(entry, chain: $0, parser: parser)
        }
        entry.verdict = certificate == nil ? .unusable : .sound
        put(entry, certificate)
        return certificate
    }

    /// Drops what none of `stores` serves.
    func keep(_ stores: [CertificateStore]) {
        let kept = order().filter { slot in stores.contains { $0.contains(slot.entry) } }
        slots = []
        places = [:]
        (newest, oldest) = (-1, -1)
        for slot in kept.reversed() { put(slot.entry, slot.certificate) }
        let used = Set(kept.map { ObjectIdentifier($0.entry.chain) })
        chains = chains.filter { used.contains($0.key) }
    }

    func removeAll() {
        slots = []
        places = [:]
        chains = [:]
        (newest, oldest) = (-1, -1)
    }

    // MARK: - Order of use

    /// From the one used last to the one unused for longest.
    private func order() -> [Slot] {
        var result: [Slot] = []
        var place = newest
        while place >= 0 {
            result.append(slots[place])
            place = slots[place].older
        }
        return result
    }

    private func put(_ entry: CertificateEntry, _ certificate: ParsedCertificate?) {
        let place: Int
        if slots.count < countMax {
            place = slots.count
            slots.append(Slot(entry: entry, certificate: certificate, newer: -1, older: -1))
        } else {
            place = oldest
            unlink(place)
            places[ObjectIdentifier(slots[place].entry)] = nil
            slots[place].entry = entry
            slots[place].certificate = certificate
        }
        places[ObjectIdentifier(entry)] = place
        linkFirst(place)
    }

    private func touch(_ place: Int) {
        guard place != newest else { return }
        unlink(place)
        linkFirst(place)
    }

    private func unlink(_ place: Int) {
        let slot = slots[place]
        if slot.newer >= 0 { slots[slot.newer].older = slot.older } else { newest = slot.older }
        if slot.older >= 0 { slots[slot.older].newer = slot.newer } else { oldest = slot.newer }
    }

    private func linkFirst(_ place: Int) {
        slots[place].newer = -1
        slots[place].older = newest
        if newest >= 0 { slots[newest].newer = place } else { oldest = place }
        newest = place
    }

    private func chain(_ chain: CertificateChain) -> ParsedChain? {
        if let known = chains[ObjectIdentifier(chain)] { return known.parsed }
        guard let parsed = ParsedChain(chain, parser: parser) else { return nil }
        if chains.count >= Self.chainsMax { chains = [:] }
        chains[ObjectIdentifier(chain)] = (chain, parsed)
        return parsed
    }
}
