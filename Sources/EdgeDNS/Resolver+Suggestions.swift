internal import EdgeCore

/// What the other node of a pair knows of names, and what it is told.
extension Resolver {
    /// Takes up what another resolver remembers, where this one has had no answer: it is proposed
    /// like what is remembered of one's own, and DNS overrides it.
    ///
    /// - Parameter wallSeconds: since 1970, now, by the other one's clock.
    /// - Returns: how many names have other addresses now.
    @discardableResult
    package func suggest(_ records: NameRecords, wallSeconds: Int64) -> Int {
        let changed = cache.suggest(records, wallSeconds: wallSeconds, now: .now())
        for name in changed {
            stir(name)
            store?.changed()
        }
        if !changed.isEmpty { pump() }
        return changed.count
    }

    /// All that is known and in use, with times by this node's clock.
    package var records: NameRecords {
        cache.records(now: .now(), wallSeconds: Self.wallSeconds)
    }
}
