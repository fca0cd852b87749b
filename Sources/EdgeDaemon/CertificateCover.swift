internal import EdgeTLS

/// Which hosts have certificates: what a rotation asks before something goes.
///
/// A host of a site loses its certificate if there was one that is valid and can be used, and none
/// such is left; or if there was another one, and none at all is left. Of a site of many names
/// (`*.home.example`, `*`) each name of the certificates that go is asked for.
struct CertificateCover {
    /// Patterns of sites, and the fallback.
    let hosts: Set<String>
    /// Asked where the folder itself has none; nil: nothing is.
    let common: CertificateStore?
    /// Since 1970.
    let seconds: Int64

    /// Names of the files, within their folder, that must stay.
    func needed(of old: CertificateStore, without new: CertificateStore) -> Set<String> {
        var needed: Set<String> = []
        for name in questions(old, new) {
            let best = old.covering(name)
            let left = new.covering(name) + (common?.covering(name) ?? [])
            let sound = best.filter(isSound)
            if sound.isEmpty {
                if left.isEmpty { needed.formUnion(best.map(\.name)) }
            } else if !left.contains(where: isSound) {
                needed.formUnion(sound.map(\.name))
            }
        }
        return needed
    }

    /// Names that clients may ask for and that one of those that go stands for.
    private func questions(_ old: CertificateStore, _ new: CertificateStore) -> Set<String> {
        let going = old.entries.filter { !new.contains($0) }
        guard !going.isEmpty else { return [] }
        let wildcards = hosts.filter { $0.hasPrefix("*.") }
        let isAnyServed = hosts.contains("*")
        var result: Set<String> = []
        for entry in going {
            for name in entry.names {
                let question = name.hasPrefix("*.") ? "x" + name.dropFirst() : name
                let parent = question.firstIndex(of: ".").map { "*" + question[$0...] }
                if isAnyServed || hosts.contains(question)
                    || parent.map(wildcards.contains) == true
                {
                    result.insert(question)
                }
            }
        }
        // Those of a wildcard certificate that have sites of their own.
        for host in hosts where !host.hasPrefix("*") && !result.contains(host) {
            if old.covering(host).contains(where: { !new.contains($0) }) { result.insert(host) }
        }
        return result
    }

    private func isSound(_ entry: CertificateEntry) -> Bool {
        entry.verdict != .unusable && entry.isValid(at: seconds)
    }
}
