internal import EdgeCore
internal import EdgeLimits
internal import EdgeSystem
internal import Glibc

/// Takes files of `allow_files` and `deny_files` into use as soon as they change, without a reload:
/// watches their folders, so that renames and links that are swapped are seen, too, and looks now
/// and then without a sign. Reads on a thread of its own. Control thread.
final class LimitFileKeeper {
    private let loop: PollLoop
    private var rounds = RotationRounds(now: Instant.now())
    private var folders: FolderWatch?
    private var timer: TimerID?
    private var policies: [LimitPolicy] = []
    /// What is in use, and what is wrong with the files now.
    private(set) var files = LimitFiles()
    private var use: ((LimitFiles) -> Void)?
    /// Rounds that were begun with something else in use are dropped.
    private var generation: UInt64 = 0
    private var isRunning = false
    /// How often a file could not be used that could before, or in another way.
    private(set) var failures: UInt64 = 0

    private static let loggedMax = 20
    /// Who writes a file is given so long before it is looked at again.
    private static let unfinishedSpan = Duration.milliseconds(500)

    init(loop: PollLoop) { self.loop = loop }

    /// - Parameter use: puts other files of the same policies into use.
    func watch(
        _ policies: [LimitPolicy], _ files: LimitFiles, _ use: @escaping (LimitFiles) -> Void
    ) {
        self.use = use
        follow(policies, files)
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

    /// Other policies are in use, with these files.
    func follow(_ policies: [LimitPolicy], _ files: LimitFiles) {
        generation += 1
        self.policies = policies
        self.files = files
        watchFolders()
        // What has changed since they were read has told nobody.
        rounds.hold()
        release()
    }

    func stopKeeping() {
        use = nil
        schedule()
    }

    // MARK: - Rounds

    private func schedule() {
        if let timer { loop.cancel(timer) }
        timer = nil
        guard use != nil, !LimitFiles.paths(policies).isEmpty, let due = rounds.due else { return }
        timer = loop.schedule(at: due) { [weak self] in self?.begin() }
    }

    private func begin() {
        timer = nil
        guard !isRunning else { return }
        guard rounds.begin(now: Instant.now()) else { return schedule() }
        isRunning = true
        let (policies, files, generation) = (policies, files, generation)
        let poster = loop.poster
        let keeper = LoopBound(self)
        let body: @Sendable () -> Void = {
            let found = LimitFiles(policies, previous: files)
            poster.post { keeper.value.finished(found, generation) }
        }
        do throws(SystemError) { try BackgroundThread.start(body) } catch { body() }
    }

    private func finished(_ found: LimitFiles, _ generation: UInt64) {
        isRunning = false
        guard generation == self.generation else { return schedule() }
        let isNews = !found.servesSame(as: files)
        say(found, isNews: isNews)
        files = found
        if isNews { use?(found) }
        let now = Instant.now()
        rounds.finished(
            now: now, isNews: isNews,
            again: found.isUnfinished ? now.advanced(by: Self.unfinishedSpan) : nil)
        if watchFolders() { rounds.changed(now: now) }
        schedule()
    }

    @discardableResult
    private func watchFolders() -> Bool {
        let wanted = files.folders
        if wanted.isEmpty {
            folders = nil
            return false
        }
        if folders == nil {
            do throws(SystemError) {
                folders = try FolderWatch(loop: loop) { [weak self] in
                    self?.rounds.changed(now: Instant.now())
                    self?.schedule()
                }
            } catch {
                Log.warning("limits: changes of files are found within ten seconds only: \(error)")
            }
        }
        return folders?.watch(wanted) ?? false
    }

    private func say(_ found: LimitFiles, isNews: Bool) {
        let fresh = found.problems.filter { !files.problems.contains($0) }
        failures += UInt64(fresh.count)
        for problem in fresh.prefix(Self.loggedMax) {
            Log.error(
                "limits: a file cannot be used; what it was goes on",
                ["file": problem.path, "reason": problem.reason])
        }
        let healed = files.problems.filter { old in
            !found.problems.contains { $0.path == old.path }
        }
        for problem in healed.prefix(Self.loggedMax) {
            Log.notice("limits: a file can be used again", ["file": problem.path])
        }
        guard isNews else { return }
        for path in LimitFiles.paths(policies)
        where found.content(path) !== files.content(path) {
            Log.notice(
                "limits: a new file is in use",
                ["file": path, "blocks": "\(found.content(path)?.blocks ?? 0)"])
        }
    }
}
