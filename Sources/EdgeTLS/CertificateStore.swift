internal import CEdge

/// What is wrong with a file in the certificate folder; nothing of a folder with one is used.
package struct CertificateProblem: Error, Equatable, CustomStringConvertible {
    package let file: String
    package let reason: String
    package let hint: String

    package var description: String { "\(file): \(reason) (\(hint))" }
}

/// All certificates of one generation: checked, immutable, shared by all threads as DER bytes. Each
/// worker parses what it serves, on first use (`TLSEngine`), because parsed keys belong to a
/// thread's own library context.
package final class CertificateStore: Sendable {
    package struct Entry: Sendable, Equatable {
        package enum KeyKind: String, Sendable {
            case ecdsa, rsa, ed25519, other
        }

        package let file: String
        /// Lower-case DNS names of the subject alternative name; `*.` for wildcards.
        package let names: [String]
        package let key: KeyKind
        /// Seconds since 1970.
        package let notBefore: Int64
        package let notAfter: Int64
        let leaf: [UInt8]
        /// The issuers sent along, in the file's order.
        let chain: [[UInt8]]
        let privateKey: [UInt8]
    }

    package let entries: [Entry]
    private let exact: [String: [Int]]
    /// By what follows `*.`.
    private let wildcard: [String: [Int]]

    package init(entries: [Entry]) {
        self.entries = entries
        var exact: [String: [Int]] = [:]
        var wildcard: [String: [Int]] = [:]
        for (index, entry) in entries.enumerated() {
            for name in entry.names {
                if name.hasPrefix("*.") {
                    wildcard[String(name.dropFirst(2)), default: []].append(index)
                } else {
                    exact[name, default: []].append(index)
                }
            }
        }
        self.exact = exact
        self.wildcard = wildcard
    }

    /// The certificates for a name: exact before wildcard (one label, RFC 9525 §6.3), several if
    /// there are several key types. Empty: none covers it.
    package func matches(for name: String) -> [Int] {
        let name = name.lowercased()
        if let found = exact[name] { return found }
        guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return [] }
        return wildcard[String(name[name.index(after: dot)...])] ?? []
    }
}
