/// All certificates of one generation: indexed, immutable, shared by all threads as DER bytes. Each
/// worker parses what it serves, on first use (`CertificateShelf`), because parsed keys belong to
/// a thread's own library context.
package final class CertificateStore: Sendable {
    /// In the order of their files.
    package let entries: [CertificateEntry]
    /// What each entry was read from; empty if it was not read from files.
    let files: [CertificateFile]
    /// Files that are not used as they are, in the order of their names.
    package let quarantine: [QuarantinedDrop]
    private let index: CertificateIndex

    package convenience init(entries: [CertificateEntry]) {
        self.init(entries: entries, files: [], quarantine: [])
    }

    /// - Parameters:
    ///   - entries: in the order of their files.
    ///   - files: as many.
    init(entries: [CertificateEntry], files: [CertificateFile], quarantine: [QuarantinedDrop]) {
        self.entries = entries
        self.files = files
        self.quarantine = quarantine
        index = CertificateIndex(entries)
    }

    /// The same entries, read from files that have changed in nothing that counts.
    init(_ other: CertificateStore, files: [CertificateFile], quarantine: [QuarantinedDrop]) {
        entries = other.entries
        self.files = files
        self.quarantine = quarantine
        index = other.index
    }

    /// The certificates for a name, in the order of their files: exact before wildcard (one
    /// label, RFC 9525 §6.3). Empty: none covers it. For cold paths.
    package func matches(for name: String) -> [Int] {
        var result: [Int] = []
        Self.withName(name) { name in
            index.forEach(name) { entry, isExact in
                if isExact { result.append(entry) }
            }
            if result.isEmpty { index.forEach(name) { entry, _ in result.append(entry) } }
        }
        return result
    }

    /// The name, within the folder, of the file of an entry.
    package func fileName(_ index: Int) -> String { entries[index].name }

    /// All that stand for a name, by itself or by a wildcard. For cold paths.
    package func covering(_ name: String) -> [CertificateEntry] {
        var result: [CertificateEntry] = []
        Self.withName(name) { name in
            index.forEach(name) { entry, _ in result.append(entries[entry]) }
        }
        return result
    }

    /// The best certificate of each key type for a name, at most one each: one that OpenSSL can use
    /// before one that it cannot, a valid one before one that is not, one for the very name before
    /// a wildcard, the one that ends last.
    ///
    /// - Parameter seconds: since 1970. Cost: as for one site, however many there are.
    func choose(_ name: UnsafeBufferPointer<UInt8>, at seconds: Int64) -> Choice {
        var choice = Choice()
        index.forEach(name) { index, isExact in
            choice.consider(entries[index], index, isExact: isExact, at: seconds)
        }
        return choice
    }

    /// Whether this very entry is served, not just one like it.
    package func contains(_ entry: CertificateEntry) -> Bool { find(entry.name) === entry }

    /// The entry of a file of this name. Cost: the logarithm of their number.
    func find(_ name: String) -> CertificateEntry? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].name < name { low = middle + 1 } else { high = middle }
        }
        guard low < entries.count, entries[low].name == name else { return nil }
        return entries[low]
    }

    /// Whether clients get the same from both.
    package func servesSame(as other: CertificateStore) -> Bool {
        self === other
            || entries.count == other.entries.count
                && zip(entries, other.entries).allSatisfy { $0 === $1 }
    }

    static func withName<Result>(
        _ name: String, _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result {
        var name = name
        return name.withUTF8(body)
    }

    /// Certificates to be offered together.
    struct Choice {
        private struct Rank {
            var index: Int32 = -1
            var isUsable = false
            var isValid = false
            var isExact = false
            var notAfter = Int64.min

            var isSound: Bool { isUsable && isValid }
        }

        private var ecdsa = Rank()
        private var rsa = Rank()
        private var ed25519 = Rank()
        private var other = Rank()

        var isEmpty: Bool {
            ecdsa.index < 0 && rsa.index < 0 && ed25519.index < 0 && other.index < 0
        }

        /// At least one is valid and not known to be unusable.
        var isSound: Bool {
            ecdsa.isSound || rsa.isSound || ed25519.isSound || other.isSound
        }

        mutating func consider(
            _ entry: CertificateEntry, _ index: Int, isExact: Bool, at seconds: Int64
        ) {
            let rank = Rank(
                index: Int32(index), isUsable: entry.verdict != .unusable,
                isValid: entry.isValid(at: seconds),
                isExact: isExact, notAfter: entry.notAfter)
            switch entry.key {
            case .ecdsa: Self.improve(&ecdsa, rank)
            case .rsa: Self.improve(&rsa, rank)
            case .ed25519: Self.improve(&ed25519, rank)
            case .other: Self.improve(&other, rank)
            }
        }

        private static func improve(_ best: inout Rank, _ rank: Rank) {
            if best.index >= 0 {
                if best.isUsable != rank.isUsable {
                    guard rank.isUsable else { return }
                } else if best.isValid != rank.isValid {
                    guard rank.isValid else { return }
                } else if best.isExact != rank.isExact {
                    guard rank.isExact else { return }
                } else if rank.notAfter <= best.notAfter {
                    return
                }
            }
            best = rank
        }

        /// Calls `body` with the index of each.
        func forEach(_ body: (Int) -> Void) {
            if ecdsa.index >= 0 { body(Int(ecdsa.index)) }
            if rsa.index >= 0 { body(Int(rsa.index)) }
            if ed25519.index >= 0 { body(Int(ed25519.index)) }
            if other.index >= 0 { body(Int(other.index)) }
        }
    }
}
