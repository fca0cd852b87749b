internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// The file with what is remembered of names: read once, written when something has changed, on a
/// thread of its own, because disks may hang. Loop's thread, but for the writing itself.
final class NameStore {
    /// Between two writes.
    static let interval: Duration = .seconds(1)
    /// After a write that failed.
    static let retryInterval: Duration = .seconds(60)
    /// Without a change it is written so often, for the times in it.
    static let refresh: Duration = .seconds(86_400)

    private(set) var isRefused = false
    private(set) var writes = 0
    private(set) var writeFailures = 0
    private(set) var lastError: String?
    /// Called when a write has ended: `due` is another.
    var didEnd: () -> Void = {}
    private let file: StateFile
    private let loop: PollLoop
    private var isDirty = false
    private var isWriting = false
    private var hasFailed = false
    private var lastWrite: Instant?
    private var saved: NameRecords?

    init(directory: String, loop: PollLoop) {
        file = StateFile(directory: directory, name: "names", kind: "names", version: 1)
        self.loop = loop
    }

    /// What was known when the file was written; nothing if there is none that is whole.
    func load() -> NameRecords {
        do {
            guard let (_, content) = try file.read() else { return NameRecords() }
            let records = try NameRecords(decoding: content)
            saved = records
            lastWrite = .now()
            return records
        } catch {
            isRefused = true
            lastError = "\(error)"
            // What cannot be read now may be read at the next start.
            var isKept = false
            if case .system? = error as? StateFileError {} else { isKept = file.setAside() }
            Log.error(
                "dns: the remembered addresses are not used",
                [
                    "file": file.path, "error": "\(error)",
                    "kept": isKept ? file.path + ".bad" : "no",
                ])
            return NameRecords()
        }
    }

    func changed() { isDirty = true }

    /// When `write` has something to do; `.never` while a write is under way.
    ///
    /// - Parameter stale: as configured: times that are compared with it have to be newer.
    func due(now: Instant, stale: Duration?) -> Instant {
        guard !isWriting else { return .never }
        guard let lastWrite else { return isDirty ? now : .never }
        if hasFailed { return lastWrite.advanced(by: Self.retryInterval) }
        if isDirty { return lastWrite.advanced(by: Self.interval) }
        let quarter = stale.map { max(Duration(nanoseconds: $0.nanoseconds / 4), .seconds(60)) }
        return lastWrite.advanced(by: min(Self.refresh, quarter ?? Self.refresh))
    }

    /// Begins to write what is known now.
    func write(_ records: NameRecords, now: Instant) {
        isDirty = false
        lastWrite = now
        guard !records.isEmpty, records != saved else {
            hasFailed = false
            return
        }
        isWriting = true
        let (file, poster, store) = (file, loop.poster, LoopOnly(self, records))
        let bytes = records.encode(byteCountMax: StateFile.contentMax)
        do throws(SystemError) {
            try BackgroundThread.start {
                var failure: StateFileError?
                do throws(StateFileError) {
                    try file.write(bytes)
                } catch {
                    failure = error
                }
                let result = failure
                poster.post { store.ended(result) }
            }
        } catch {
            ended(.system(error), records)
        }
    }

    private func ended(_ error: StateFileError?, _ records: NameRecords) {
        isWriting = false
        guard let error else {
            writes += 1
            hasFailed = false
            saved = records
            lastError = nil
            return
        }
        writeFailures += 1
        hasFailed = true
        // One line, however long it goes on.
        if lastError != "\(error)" {
            Log.error("dns: addresses are not remembered", ["error": "\(error)"])
        }
        lastError = "\(error)"
    }

    /// Carried through the other thread, touched on the loop's only.
    private struct LoopOnly: @unchecked Sendable {
        // Sendable: `ended` is called from a body that the loop runs.
        private weak var store: NameStore?
        private let records: NameRecords

        init(_ store: NameStore, _ records: NameRecords) {
            self.store = store
            self.records = records
        }

        func ended(_ error: StateFileError?) {
            store?.ended(error, records)
            store?.didEnd()
        }
    }
}
