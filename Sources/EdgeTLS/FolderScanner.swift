/// One look at a folder: takes the drops in the order of their names, and makes the store of what
/// can be used and of what was used before.
struct FolderScanner {
    private typealias Served = (entry: CertificateEntry, file: CertificateFile)

    private struct Outcome {
        let name: String
        var served: Served?
        var jailed: QuarantinedDrop?
        /// What was served under this name before, if `served` is something else.
        var replaced: Served?
    }

    private let request: CertificateFolder.Request
    private let descriptor: Int32
    private let now: Int64
    private let seconds = CertificateClock.now()
    private var reader: CertificateReader
    private let known: [CertificateEntry]
    private let knownFiles: [CertificateFile]
    private let jail: [String: QuarantinedDrop]
    private var position = 0
    private var outcomes: [Outcome] = []
    private var freshCount = 0

    /// - Parameter descriptor: the open folder; not used if there are no drops.
    init(_ request: CertificateFolder.Request, descriptor: Int32) {
        self.request = request
        self.descriptor = descriptor
        now = request.now ?? FileStamp.now()
        // Those made otherwise, in tests, have no files.
        let previous = request.previous
        known = previous?.files.isEmpty == false ? previous?.entries ?? [] : []
        knownFiles = previous?.files ?? []
        jail = Dictionary(
            (previous?.quarantine ?? []).map { ($0.name, $0) },
            uniquingKeysWith: { first, _ in first })
        let directory = request.directory
        reader = CertificateReader(
            folder: known.first?.folder == directory ? known[0].folder : directory,
            descriptor: descriptor, chains: ChainTable(known), now: now)
    }

    // MARK: - Drop by drop

    /// To be called in the order of names.
    mutating func visit(_ drop: CertificateDrop) {
        let old = takeKnown(drop.name)
        if !jail.isEmpty, let jailed = jail[drop.name] {
            // A wait, an administrator's reload, or a descriptor to spare may end these.
            let mayHaveEnded =
                jailed.problem.isOfDate || jailed.problem.cause == .uncovered
                || jailed.problem.cause == .unreadable
            if !mayHaveEnded, jailed.file.isUnchanged(drop, in: descriptor) {
                outcomes.append(
                    Outcome(
                        name: drop.name, served: old, jailed: jailed.with(isKept: old != nil)))
                return
            }
        } else if let old, reader.isUnchanged(old.entry, old.file, drop) {
            outcomes.append(Outcome(name: drop.name, served: old))
            return
        }
        read(drop, old)
    }

    private mutating func takeKnown(_ name: String) -> Served? {
        // Both lists are in the order of names.
        while position < known.count, known[position].name < name { position += 1 }
        guard position < known.count, known[position].name == name else { return nil }
        return (known[position], knownFiles[position])
    }

    private mutating func read(_ drop: CertificateDrop, _ old: Served?) {
        // Before the file is read: what changes afterwards has another stamp.
        let file = CertificateFile(drop, in: descriptor, now: now)
        do throws(CertificateProblem) {
            let entry = try reader.read(drop)
            if let old, old.entry.hasSameContents(as: entry) {
                outcomes.append(Outcome(name: drop.name, served: (old.entry, file)))
                return
            }
            if let old {
                try requireBetterDates(entry, than: old.entry)
                try requireIssuers(entry, as: old.entry)
            }
            freshCount += 1
            outcomes.append(Outcome(name: drop.name, served: (entry, file), replaced: old))
        } catch {
            outcomes.append(
                Outcome(name: drop.name, served: old, jailed: jailed(drop.name, error, file, old)))
        }
    }

    private func jailed(
        _ name: String, _ problem: CertificateProblem, _ file: CertificateFile, _ old: Served?
    ) -> QuarantinedDrop {
        QuarantinedDrop(
            name: name, problem: problem, since: jail[name]?.since ?? now, isKept: old != nil,
            file: file)
    }

    /// One that is not valid takes no place of one that is.
    private func requireBetterDates(
        _ entry: CertificateEntry, than old: CertificateEntry
    ) throws(CertificateProblem) {
        guard old.isValid(at: seconds), !entry.isValid(at: seconds) else { return }
        let kept = "the one in use is valid until \(CertificateClock.day(old.notAfter))"
        if entry.notAfter < seconds {
            throw CertificateProblem(
                .expired, file: entry.file,
                reason: "the certificate expired on \(CertificateClock.day(entry.notAfter))",
                hint: "\(kept) and stays; was an old file copied?")
        }
        throw CertificateProblem(
            .notYetValid, file: entry.file,
            reason: "the certificate is not valid before \(CertificateClock.day(entry.notBefore))",
            hint: "\(kept) and stays until then; is this machine's clock right?")
    }

    /// A file that is cut between two of its blocks looks whole, and most clients know no issuer
    /// that they are not sent.
    private func requireIssuers(
        _ entry: CertificateEntry, as old: CertificateEntry
    ) throws(CertificateProblem) {
        guard request.keeps != nil, old.isValid(at: seconds), old.chain.count > 0,
            entry.chain.count == 0
        else { return }
        throw CertificateProblem(
            .uncovered, file: entry.file,
            reason: "the issuers are missing that the one in use is sent with",
            hint: "that one stays; edgectl reload uses the new one all the same")
    }

    // MARK: - The whole

    mutating func finish() -> CertificateStore {
        check()
        guard let previous = request.previous else { return store() }
        if let keeps = request.keeps, !servesSame(as: previous) {
            keep(keeps(store(), previous), of: previous)
        }
        guard servesSame(as: previous) else { return store() }
        let files = outcomes.compactMap(\.served?.file)
        let quarantine = outcomes.compactMap(\.jailed)
        guard files != previous.files || quarantine != previous.quarantine else { return previous }
        return CertificateStore(previous, files: files, quarantine: quarantine)
    }

    private mutating func check() {
        if case .upTo(let limit) = request.checking, freshCount > limit { return }
        guard freshCount > 0 else { return }
        let checker = CertificateChecker()
        let known = Set(known.map { ObjectIdentifier($0) })
        for index in outcomes.indices where outcomes[index].jailed == nil {
            guard let served = outcomes[index].served,
                !known.contains(ObjectIdentifier(served.entry)),
                let problem = checker.problem(of: served.entry, depth: .whole)
            else { continue }
            giveBack(index, problem)
        }
    }

    /// Serves what was served before in place of what has come.
    private mutating func giveBack(_ index: Int, _ problem: CertificateProblem) {
        guard let served = outcomes[index].served else { return }
        let old = outcomes[index].replaced
        outcomes[index].jailed = jailed(outcomes[index].name, problem, served.file, old)
        outcomes[index].served = old
    }

    private mutating func keep(_ names: Set<String>, of previous: CertificateStore) {
        guard !names.isEmpty else { return }
        var missing = names
        for index in outcomes.indices where names.contains(outcomes[index].name) {
            missing.remove(outcomes[index].name)
            guard let old = outcomes[index].replaced, outcomes[index].jailed == nil else {
                continue
            }
            giveBack(
                index,
                CertificateProblem(
                    .uncovered, file: old.entry.file,
                    reason: "no certificate would be left for hosts that the one in use covers",
                    hint: "that one stays; to use the new one all the same: edgectl reload"))
        }
        for (entry, file) in zip(known, knownFiles) where missing.contains(entry.name) {
            let problem = CertificateProblem(
                .uncovered, file: entry.file,
                reason: "the file is gone, and no other certificate covers all of its hosts",
                hint: "its certificate is served until a restart or a reload")
            let gone = CertificateFile.gone
            outcomes.append(
                Outcome(
                    name: entry.name, served: (entry, file),
                    jailed: jailed(entry.name, problem, gone, (entry, file))))
        }
        outcomes.sort { $0.name < $1.name }
    }

    private func servesSame(as previous: CertificateStore) -> Bool {
        var index = 0
        // By index: an outcome is large.
        for place in outcomes.indices {
            guard let entry = outcomes[place].served?.entry else { continue }
            guard index < known.count, known[index] === entry else { return false }
            index += 1
        }
        return index == previous.entries.count && index == known.count
    }

    private func store() -> CertificateStore {
        CertificateStore(
            entries: outcomes.compactMap(\.served?.entry),
            files: outcomes.compactMap(\.served?.file), quarantine: outcomes.compactMap(\.jailed))
    }
}
