internal import CEdge
internal import EdgeConfig
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// Takes certificates, authorities and revocations into use as soon as their files change: watches
/// the folders, looks at them in rounds on a thread of their own, and says what cannot be used.
/// Control thread.
final class CertificateKeeper {
    private let loop: PollLoop
    private let clock: CertificateTime
    private var rounds: RotationRounds
    private var journal = QuarantineJournal(patience: .seconds(10))
    private var calendar = ExpiryCalendar()
    private var folders: FolderWatch?
    private var timer: TimerID?
    private var preparation: Preparation?
    private var use: ((RotatingFiles) -> Void)?
    /// Rounds that were begun with something else in use are dropped.
    private var generation: UInt64 = 0
    private var isRunning = false
    /// When dates are looked at again; a new file is looked at once it is there.
    private var datesDue = Instant.now()
    /// Whose lists of revoked certificates are late; each is told once.
    private var lateLists: Set<ObjectNumber> = []
    /// Whose are not valid yet; likewise.
    private var earlyLists: Set<ObjectNumber> = []
    /// How often other files were taken into use, since the process began.
    private(set) var rotations: UInt64 = 0

    private static let loggedMax = 20
    private static let datesPeriod = Duration.seconds(600)
    /// How many new certificates OpenSSL parses before they are used: half a second's work, which
    /// nobody waits for.
    private static let checkedMax = 2_048

    init(loop: PollLoop) {
        self.loop = loop
        clock = CertificateTime()
        rounds = RotationRounds(now: Instant.now())
    }

    // MARK: - What is in use

    /// Before anything is served.
    func begin(_ preparation: Preparation) {
        clock.begin(directory: preparation.configuration.stateDirectory)
        adopt(preparation)
    }

    func stopKeeping() { clock.stopKeeping() }

    /// - Parameter use: puts other files of the same configuration into use.
    func watch(_ use: @escaping (RotatingFiles) -> Void) {
        self.use = use
        do throws(SystemError) {
            folders = try FolderWatch(loop: loop) { [weak self] in self?.changed() }
        } catch {
            Log.warning("certificates: changes are found within ten seconds only: \(error)")
        }
        watchFolders()
        say()
        // What has changed between the start and now has told nobody.
        rounds.changed(now: Instant.now())
        schedule()
    }

    /// A reload reads all files by itself, and decides.
    func hold() {
        generation += 1
        rounds.hold()
        schedule()
    }

    /// It has come to nothing.
    func release() {
        rounds.release(now: Instant.now())
        schedule()
    }

    /// A reload's configuration is in use.
    func follow(_ preparation: Preparation) {
        adopt(preparation)
        datesDue = Instant.now()
        clock.begin(directory: preparation.configuration.stateDirectory)
        watchFolders()
        say()
        release()
    }

    private func adopt(_ preparation: Preparation) {
        generation += 1
        self.preparation = preparation
        if let patience = preparation.configuration.certificates?.pairTimeout {
            journal = journal.with(patience: patience)
        }
    }

    // MARK: - Rounds

    private func changed() {
        rounds.changed(now: Instant.now())
        schedule()
    }

    private func schedule() {
        if let timer { loop.cancel(timer) }
        timer = nil
        guard use != nil, let due = rounds.due else { return }
        timer = loop.schedule(at: due) { [weak self] in self?.begin() }
    }

    private func begin() {
        timer = nil
        clock.update()
        // One that was begun before a reload may still be reading; its end schedules the next.
        guard !isRunning else { return }
        guard let preparation, rounds.begin(now: Instant.now()) else {
            return schedule()
        }
        isRunning = true
        let (configuration, files, generation) =
            (preparation.configuration, preparation.files, generation)
        let poster = loop.poster
        let keeper = LoopBound(self)
        let body: @Sendable () -> Void = {
            var refused: [String] = []
            let found = RotatingFiles.read(
                configuration, previous: files, tolerance: .ofRotation,
                checking: .upTo(Self.checkedMax), &refused)
            poster.post { keeper.value.finished(found, generation) }
        }
        do throws(SystemError) {
            try BackgroundThread.start {
                _ = ce_set_thread_name("rotation")
                // Of this thread only; that is how Linux has it.
                _ = nice(5)
                body()
            }
        } catch {
            body()
        }
    }

    private func finished(_ found: RotatingFiles, _ generation: UInt64) {
        isRunning = false
        guard generation == self.generation, let known = preparation else {
            return schedule()
        }
        let isNews = !found.servesSame(as: known.files)
        preparation = known.with(found)
        use?(found)
        if isNews {
            rotations += 1
            Log.notice("certificates: new files are in use", Self.difference(known.files, found))
        }
        let now = Instant.now()
        if isNews { datesDue = now }
        say()
        rounds.finished(now: now, isNews: isNews, again: journal.due)
        // One that was not watched may have changed before it was.
        if watchFolders() { rounds.changed(now: now) }
        schedule()
    }

    @discardableResult
    private func watchFolders() -> Bool {
        guard let files = preparation?.files, let folders else { return false }
        var paths = Set(files.folders)
        for trust in files.trusts.keys {
            for file in [trust.authorities, trust.revocations].compactMap({ $0 }) {
                paths.insert(Self.folder(file))
            }
        }
        for identity in files.identities.keys {
            paths.insert(Self.folder(identity.certificateFile))
            paths.insert(Self.folder(identity.keyFile))
        }
        return folders.watch(paths)
    }

    private static func folder(_ file: String) -> String {
        guard let slash = file.lastIndex(of: "/"), slash > file.startIndex else { return "/" }
        return String(file[..<slash])
    }

    // MARK: - What is said

    private func say() {
        guard let files = preparation?.files else { return }
        let words = journal.update(files.quarantine, now: Instant.now())
        for word in words.prefix(Self.loggedMax) {
            switch word {
            case .quarantined(let problem): Log.error("quarantined: \(problem)")
            case .ended(let file): Log.notice("\(file): no longer in quarantine")
            }
        }
        if words.count > Self.loggedMax {
            Log.error("and \(words.count - Self.loggedMax) more words about certificates")
        }
        guard datesDue <= Instant.now() else { return }
        datesDue = Instant.now().advanced(by: Self.datesPeriod)
        warnOfExpiry(files)
        warnOfLists(files)
    }

    private func warnOfExpiry(_ files: RotatingFiles) {
        let certificates = files.stores.flatMap(\.store.entries).map {
            ExpiryCalendar.Certificate(
                file: $0.file, notBefore: $0.notBefore, notAfter: $0.notAfter)
        }
        let warnings = calendar.update(certificates, at: CertificateClock.now())
        for warning in warnings.prefix(Self.loggedMax) {
            let day = CertificateClock.day(warning.notAfter)
            if warning.days == 0 {
                Log.error("\(warning.file): the certificate expired on \(day)")
            } else {
                Log.warning(
                    "\(warning.file): the certificate expires on \(day)",
                    ["days": "\(warning.days)"])
            }
        }
        if warnings.count > Self.loggedMax {
            Log.warning("and \(warnings.count - Self.loggedMax) more certificates end soon")
        }
    }

    private func warnOfLists(_ files: RotatingFiles) {
        let now = CertificateClock.now()
        let late = files.trusts.filter { ($0.value.revocationsEnd ?? .max) < now }
        for (paths, trust) in late where !lateLists.contains(trust.number) {
            Log.warning(
                "a list of revoked certificates is late; it is used all the same",
                [
                    "file": paths.revocations ?? "",
                    "due": CertificateClock.day(trust.revocationsEnd ?? 0),
                ])
        }
        lateLists = Set(late.map(\.value.number))
        let early = files.trusts.filter { ($0.value.revocationsStart ?? .min) > now }
        for (paths, trust) in early where !earlyLists.contains(trust.number) {
            Log.warning(
                "a list of revoked certificates is not valid yet; it is used all the same "
                    + "(is this machine's clock right?)",
                ["file": paths.revocations ?? ""])
        }
        earlyLists = Set(early.map(\.value.number))
    }

    /// Which files there are others of, the first few of them.
    private static func difference(
        _ old: RotatingFiles, _ new: RotatingFiles
    ) -> Log.Fields {
        let before = Set(old.stores.flatMap(\.store.entries).map { ObjectIdentifier($0) })
        var files = new.stores.flatMap(\.store.entries)
            .filter { !before.contains(ObjectIdentifier($0)) }.map(\.file)
        for (paths, trust) in new.trusts where old.trusts[paths] !== trust {
            files.append(paths.authorities)
        }
        let shown = files.sorted().prefix(5).joined(separator: ", ")
        return ["files": shown, "count": "\(files.count)"]
    }

    // MARK: - What is shown

    /// Files that cannot be used, once they have been told of.
    var quarantined: [CertificateProblem] { journal.told }
    /// Those that may still end by themselves.
    var waiting: [CertificateProblem] { journal.waiting }
    var failures: [CertificateProblem.Cause: UInt64] { journal.counts }
    var clockText: String { clock.text }
    var isClockSynchronised: Bool { clock.isSynchronised }
}
