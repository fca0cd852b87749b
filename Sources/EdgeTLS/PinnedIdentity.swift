internal import CEdge

/// This node's certificate for the pair link and the one that the other node has to show, as read
/// and checked once. Nobody vouches for either: each is what the other side has been told, by the
/// SHA-256 of its bytes. So no date of them counts (a node without a clock of its own wakes up in
/// the past), and no name.
package struct PinnedIdentity: Sendable, Equatable {
    /// SHA-256 of a certificate's DER form.
    package struct Fingerprint: Sendable, Hashable, CustomStringConvertible {
        package let bytes: [UInt8]

        init?(der: [UInt8]) {
            var digest = [UInt8](repeating: 0, count: 32)
            guard EVP_Q_digest(nil, "SHA256", nil, der, der.count, &digest, nil) == 1 else {
                return nil
            }
            bytes = digest
        }

        /// A number that stands for the certificate, and for its node: the first eight bytes. 0 is
        /// kept for "this node" elsewhere, and never is.
        package var number: UInt64 {
            max(bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }, 1)
        }

        /// As `openssl x509 -noout -fingerprint -sha256` has it: `AB:CD:…`.
        package var description: String {
            bytes.map { byte in
                let digits = String(byte, radix: 16, uppercase: true)
                return digits.count == 1 ? "0" + digits : digits
            }.joined(separator: ":")
        }
    }

    let identity: ClientIdentity
    package let own: Fingerprint
    package let peer: Fingerprint

    package static func == (left: PinnedIdentity, right: PinnedIdentity) -> Bool {
        left.own == right.own && left.peer == right.peer
            && left.identity.isEquivalent(to: right.identity)
    }

    /// - Parameters:
    ///   - key: PEM file of this node's key; everybody else must not be able to read it.
    ///   - peer: PEM file of the other node's certificate.
    /// - Throws: if a file can't be read or used, if key and certificate are no pair, or if both
    ///   nodes have the same certificate.
    package static func load(
        certificate: String, key: String, peer: String
    ) throws(CertificateProblem) -> PinnedIdentity {
        let identity = try ClientIdentity.load(certificate: certificate, key: key)
        guard let own = Fingerprint(der: identity.leaf) else {
            throw CertificateProblem(
                .unusable, file: certificate, reason: TLSFailure.takeErrorText(),
                hint: "make another: edgectl pair init --replace")
        }
        let theirs = try fingerprint(of: peer)
        guard own.number != theirs.number else {
            throw CertificateProblem(
                .mismatch, file: peer, reason: "this is the node's own certificate",
                hint: "each node has one of its own: edgectl pair init on both")
        }
        return PinnedIdentity(identity: identity, own: own, peer: theirs)
    }

    /// Of the first certificate in a PEM file.
    package static func fingerprint(of file: String) throws(CertificateProblem) -> Fingerprint {
        try fingerprint(pem: try PEMFile.read(file, secret: false), file: file)
    }

    /// - Parameter file: what it is called in messages.
    package static func fingerprint(
        pem: [UInt8], file: String
    ) throws(CertificateProblem) -> Fingerprint {
        let certificates = try PEMFile.parseCertificates(pem, file: file)
        defer { for certificate in certificates { X509_free(certificate) } }
        guard let first = certificates.first, let found = Fingerprint(der: PEMFile.der(first))
        else {
            throw CertificateProblem(
                .unusable, file: file, reason: "no fingerprint can be made",
                hint: "make another: edgectl pair init --replace")
        }
        return found
    }
}
