internal import EdgeConfig
internal import EdgeRouting
internal import EdgeTLS
internal import EdgeUpstream

/// What a configuration names and others replace while it is in use: certificates, trusted
/// authorities and what they have revoked, and certificates of our own. One generation of all of
/// it; objects whose files have not changed are the same over generations.
struct RotatingFiles: Sendable {
    /// What is done about a file that cannot be used.
    enum Tolerance: Sendable, Equatable {
        /// A start and a check: it is refused.
        case none
        /// A reload: what it was is kept; what is new to the configuration is refused, but for
        /// single certificates.
        case ofDrops
        /// While it is in use: what it was is kept, and no host loses its last certificate.
        case ofRotation
        /// A process that takes over from one that served: all is better than nothing.
        case everything
    }

    /// Of all views.
    var certificates = CertificateStore(entries: [])
    /// By view.
    var viewCertificates: [String: CertificateStore] = [:]
    var trusts: [ClientTrust.Files: ClientTrust] = [:]
    var identities: [UpstreamConfiguration.TLS.Identity: ClientIdentity] = [:]
    /// Authorities and certificates of our own that cannot be used as they are, and folders.
    var problems: [CertificateProblem] = []
    /// Sub-folders of those that certificates are in, whatever is in them.
    var folders: [String] = []
    /// Of the files of `trusts` and `identities`, as they were read.
    var stamps: [String: FileStamp] = [:]

    /// Every folder's certificates, with the view that alone uses them; empty: all do.
    var stores: [(view: String, store: CertificateStore)] {
        [("", certificates)]
            + viewCertificates.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// There is no certificate, good or bad.
    var isBare: Bool {
        stores.allSatisfy { $0.store.entries.isEmpty && $0.store.quarantine.isEmpty }
    }

    /// Whom an upstream's servers are believed by.
    func trust(_ tls: UpstreamConfiguration.TLS) -> ClientTrust {
        switch tls.verify {
        case .none: .unverified
        case .full: tls.trustFiles.map { trusts[$0] ?? .nobody } ?? .system
        }
    }

    /// Whom clients are believed by.
    func trust(_ asked: ClientCertificateConfiguration) -> ClientTrust {
        trusts[asked.trustFiles] ?? .nobody
    }

    /// Whether workers get the same from both.
    func servesSame(as other: RotatingFiles) -> Bool {
        certificates.servesSame(as: other.certificates)
            && viewCertificates.count == other.viewCertificates.count
            && viewCertificates.allSatisfy { view, store in
                other.viewCertificates[view].map { store.servesSame(as: $0) } == true
            }
            && trusts.count == other.trusts.count
            && trusts.allSatisfy { $0.value === other.trusts[$0.key] }
            && identities.count == other.identities.count
            && identities.allSatisfy { $0.value === other.identities[$0.key] }
    }

    /// All that is not used as it is: single certificates, and the rest.
    var quarantine: [CertificateProblem] {
        stores.flatMap { $0.store.quarantine.map(\.problem) } + problems
    }
}

extension UpstreamConfiguration.TLS {
    /// Nil: the system's authorities.
    var trustFiles: ClientTrust.Files? {
        authorityFile.map { ClientTrust.Files(authorities: $0, revocations: revocationFile) }
    }
}

extension ClientCertificateConfiguration {
    var trustFiles: ClientTrust.Files {
        ClientTrust.Files(authorities: authorities, revocations: revocations)
    }
}
