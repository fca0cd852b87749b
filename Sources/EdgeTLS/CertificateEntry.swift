internal import EdgeX509
internal import Synchronization

/// One certificate with its key, indexed and not yet parsed: DER bytes in one block, and what has
/// to be known to choose it. Its identity lasts as long as its file stays the same, over reloads;
/// workers keep what they have parsed by it. About 0.9 KiB with a P-256 key.
package final class CertificateEntry: Sendable {
    package enum KeyKind: String, Sendable {
        case ecdsa, rsa, ed25519, other
    }

    /// What OpenSSL has made of it.
    package enum Verdict: UInt8, Sendable {
        case unchecked, sound
        /// Not served; another certificate for the name may be.
        case unusable
    }

    /// The folder, shared by all entries, and the name in it.
    let folder: String
    package let name: String
    package let key: KeyKind
    /// Seconds since 1970.
    package let notBefore: Int64
    package let notAfter: Int64
    /// The leaf's DER, then the key's.
    let bytes: [UInt8]
    let leafCount: Int
    let keyForm: PrivateKeyOutline.Form
    /// Where the alternative names are in `bytes`.
    let alternativeNames: Range<Int>
    /// The issuers sent along, each of which has issued the one before it.
    package let chain: CertificateChain
    private let state = Atomic<UInt8>(Verdict.unchecked.rawValue)

    init(
        folder: String, name: String, key: KeyKind, outline: CertificateOutline, bytes: [UInt8],
        keyForm: PrivateKeyOutline.Form, chain: CertificateChain
    ) {
        self.folder = folder
        self.name = name
        self.key = key
        notBefore = outline.notBefore
        notAfter = outline.notAfter
        self.bytes = bytes
        leafCount = outline.byteCount
        self.keyForm = keyForm
        alternativeNames = outline.alternativeNames
        self.chain = chain
    }

    package var file: String { "\(folder)/\(name)" }

    /// Tells it from another certificate, on any machine; no proof of anything (FNV-1a).
    package var fingerprint: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        bytes.withUnsafeBytes { raw in
            var offset = 0
            while offset + 8 <= leafCount {
                let word = raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                hash = (hash ^ UInt64(littleEndian: word)) &* 0x100_0000_01B3
                hash ^= hash >> 32
                offset += 8
            }
            while offset < leafCount {
                hash = (hash ^ UInt64(raw[offset])) &* 0x100_0000_01B3
                offset += 1
            }
        }
        return hash
    }

    /// - Parameter seconds: since 1970.
    package func isValid(at seconds: Int64) -> Bool {
        notBefore <= seconds && seconds <= notAfter
    }

    /// Any thread may read and set it: all that find out find out the same.
    package var verdict: Verdict {
        get { Verdict(rawValue: state.load(ordering: .relaxed)) ?? .unchecked }
        set { state.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Lower-case DNS names of the subject alternative name; `*.` for wildcards.
    package var names: [String] {
        var result: [String] = []
        forEachName { range in
            result.append(String(decoding: bytes[range], as: UTF8.self).lowercased())
        }
        return result
    }

    /// Calls `body` with the place in `bytes` of each name that can be matched.
    func forEachName(_ body: (Range<Int>) -> Void) {
        let bytes = bytes
        CertificateOutline.forEachName(bytes.span, in: alternativeNames, body)
    }

    /// Whether one of its names is the host, or a wildcard of one label that stands for it (RFC
    /// 9525 §6.3).
    ///
    /// - Parameter host: any letter case, without a trailing dot.
    func covers(_ host: UnsafeBufferPointer<UInt8>) -> Bool {
        let dot = host.firstIndex(of: UInt8(ascii: "."))
        var isCovered = false
        forEachName { range in
            guard !isCovered else { return }
            let name = bytes[range]
            if name.starts(with: "*.".utf8), let dot, dot > 0 {
                isCovered = Self.isSame(name.dropFirst(), host[dot...])
            } else {
                isCovered = Self.isSame(name, host[...])
            }
        }
        return isCovered
    }

    private static func isSame(
        _ name: ArraySlice<UInt8>, _ host: Slice<UnsafeBufferPointer<UInt8>>
    ) -> Bool {
        func lower(_ byte: UInt8) -> UInt8 {
            byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
        }
        return name.count == host.count
            && zip(name, host).allSatisfy { lower($0) == lower($1) }
    }

    /// Whether the two would serve the same bytes.
    func hasSameContents(as other: CertificateEntry) -> Bool {
        name == other.name && chain === other.chain && leafCount == other.leafCount
            && keyForm == other.keyForm && bytes == other.bytes
    }
}

/// The issuers that a certificate is sent with, kept once for all that have the same.
package final class CertificateChain: Sendable {
    /// DER, one after the other.
    let bytes: [UInt8]
    /// Where each ends.
    let ends: [Int]

    package var count: Int { ends.count }

    init(bytes: [UInt8], ends: [Int]) {
        self.bytes = bytes
        self.ends = ends
    }
}

/// All chains of a folder, each once.
struct ChainTable {
    private var chains: [UInt64: [CertificateChain]] = [:]

    /// - Parameter entries: whose chains are known already.
    init(_ entries: [CertificateEntry]) {
        var last: CertificateChain?
        for entry in entries where entry.chain !== last {
            last = entry.chain
            let known = chains[Self.hash(entry.chain.bytes), default: []]
            guard !known.contains(where: { $0 === entry.chain }) else { continue }
            chains[Self.hash(entry.chain.bytes)] = known + [entry.chain]
        }
    }

    mutating func chain(_ bytes: [UInt8], ends: [Int]) -> CertificateChain {
        let hash = Self.hash(bytes)
        let known = chains[hash, default: []]
        if let found = known.first(where: { $0.ends == ends && $0.bytes == bytes }) {
            return found
        }
        let made = CertificateChain(bytes: bytes, ends: ends)
        chains[hash] = known + [made]
        return made
    }

    /// FNV-1a over eight bytes at a time and the rest; equality decides.
    private static func hash(_ bytes: [UInt8]) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        bytes.withUnsafeBytes { raw in
            var offset = 0
            while offset + 8 <= raw.count {
                let word = raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                hash = (hash ^ word) &* 0x100_0000_01B3
                hash ^= hash >> 32
                offset += 8
            }
            while offset < raw.count {
                hash = (hash ^ UInt64(raw[offset])) &* 0x100_0000_01B3
                offset += 1
            }
        }
        return hash
    }
}
