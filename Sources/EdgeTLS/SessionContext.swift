internal import CEdge

/// What a session must have in common with a connection to be resumed on it: the view, and how
/// client certificates are asked for. OpenSSL's session id context (RFC 5077 §5.6, RFC 8446
/// §4.6.1): a ticket of another context leads to a full handshake.
package struct SessionContext: Sendable, Equatable, BitwiseCopyable {
    /// SHA-256 over both names, so that any two fit into OpenSSL's 32 bytes.
    let digest: SIMD32<UInt8>

    /// - Parameters:
    ///   - view: the name of the view; empty where there is only one.
    ///   - clientCertificates: the policy's name, or a hash of its authorities; nil: none is asked
    ///     for.
    /// - Throws: if OpenSSL has no SHA-256.
    package init(view: String, clientCertificates: String?) throws(TLSFailure) {
        var text = Array("edged session context 1".utf8)
        for part in [view, clientCertificates.map { "ask " + $0 } ?? "none"] {
            // Lengths first: no two pairs of names make the same text.
            withUnsafeBytes(of: UInt64(part.utf8.count).littleEndian) { text += $0 }
            text += part.utf8
        }
        var digest = [UInt8](repeating: 0, count: 32)
        guard EVP_Q_digest(nil, "SHA256", nil, text, text.count, &digest, nil) == 1 else {
            throw .library("EVP_Q_digest")
        }
        self.digest = SIMD32(digest)
    }
}
