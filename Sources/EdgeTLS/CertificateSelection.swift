/// Which certificates clients are shown, of one view and by the name that they ask for: the one
/// place where that is decided, for handshakes and for whoever wants to know beforehand.
package struct CertificateSelection {
    /// Of all views.
    let store: CertificateStore
    /// Nil: there are no profiles.
    let profile: ServerProfile?
    /// Where there is no profile.
    let fallback: String?

    init(store: CertificateStore, profile: ServerProfile?, fallback: String?) {
        self.store = store
        self.profile = profile
        self.fallback = fallback
    }

    package init(store: CertificateStore, profile: ServerProfile) {
        self.init(store: store, profile: profile, fallback: nil)
    }

    /// Certificates for the name that the client asks for, or the fallback's; and where they are.
    ///
    /// - Parameters:
    ///   - name: nil: it asks for none.
    ///   - seconds: since 1970.
    func choose(
        _ name: UnsafeBufferPointer<UInt8>?, _ knowledge: NameKnowledge, at seconds: Int64
    ) -> (choice: CertificateStore.Choice, store: CertificateStore) {
        guard knowledge != .refused else { return (CertificateStore.Choice(), store) }
        if knowledge == .known, let name {
            let found = find(name, at: seconds)
            if !found.choice.isEmpty { return found }
        }
        guard let fallback = profile.map({ $0.fallback }) ?? fallback else {
            return (CertificateStore.Choice(), store)
        }
        return CertificateStore.withName(fallback) { find($0, at: seconds) }
    }

    /// The view's own certificates come first, however well others would fit; but valid ones of all
    /// views before its own that are not.
    private func find(
        _ name: UnsafeBufferPointer<UInt8>, at seconds: Int64
    ) -> (choice: CertificateStore.Choice, store: CertificateStore) {
        if let own = profile?.certificates {
            let found = own.choose(name, at: seconds)
            if found.isSound { return (found, own) }
            let common = store.choose(name, at: seconds)
            return found.isEmpty || common.isSound ? (common, store) : (found, own)
        }
        return (store.choose(name, at: seconds), store)
    }

    /// What a client is offered, at most one of each key type, the preferred one first; empty: the
    /// alert `unrecognized_name` (RFC 6066 §3). For cold paths.
    ///
    /// - Parameters:
    ///   - name: in the ClientHello; empty: none.
    ///   - seconds: since 1970.
    package func shown(
        _ name: String, _ knowledge: NameKnowledge, at seconds: Int64
    ) -> [CertificateEntry] {
        CertificateStore.withName(name) { name in
            let found = choose(name.isEmpty ? nil : name, knowledge, at: seconds)
            var entries: [CertificateEntry] = []
            found.choice.forEach { entries.append(found.store.entries[$0]) }
            return entries
        }
    }

    /// Every certificate that stands for a name, by itself or by a wildcard, of all views and the
    /// view's own. For cold paths.
    package func covering(_ name: String) -> [CertificateEntry] {
        [profile?.certificates, store].compactMap { $0 }.flatMap { $0.covering(name) }
    }
}

extension CertificateEntry {
    /// As `covers` of the bytes. For cold paths.
    ///
    /// - Parameter host: any letter case; a final dot does not count.
    package func covers(_ host: String) -> Bool {
        CertificateStore.withName(host) { host in
            covers(host.last == UInt8(ascii: ".") ? .init(rebasing: host.dropLast()) : host)
        }
    }
}
