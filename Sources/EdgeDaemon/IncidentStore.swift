internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// The file with the incidents: read once, written when something has changed, and now and then to
/// say that we are still there. On a thread of its own, because disks may hang. Loop's thread, but
/// for the writing itself.
final class IncidentStore {
    /// Between two writes.
    static let interval = Duration.seconds(2)
    /// Without a change: so exact is the beginning of an end that nobody saw.
    static let refresh = Duration.seconds(300)

    private let file: StateFile
    private let loop: PollLoop
    private var isWriting = false
    private var lastWrite: Instant?
    private var saved: IncidentBook.Kept?
    private var hasFailed = false
    /// The last word, while another one is being written.
    private var lastWord: [UInt8]?
    private var writtenBodies: [() -> Void] = []

    init(directory: String, loop: PollLoop) {
        file = StateFile(directory: directory, name: "incidents", kind: "incident", version: 1)
        self.loop = loop
    }

    /// Nil: there is none that is whole.
    func load() -> IncidentBook.Kept? {
        do {
            guard let (_, content) = try file.read() else { return nil }
            return try IncidentBook.Kept(json: JSONValue(parsing: content))
        } catch {
            var isKept = false
            if case .system? = error as? StateFileError {} else { isKept = file.setAside() }
            Log.error(
                "the incidents of before are not known",
                [
                    "file": file.path, "error": "\(error)",
                    "kept": isKept ? file.path + ".bad" : "no",
                ])
            return nil
        }
    }

    /// Keeps the book if there is something to keep.
    ///
    /// - Parameter isEnding: this is the last word: it is written in any case, as soon as what is
    ///   being written is. `whenWritten` waits for it.
    func keep(_ book: IncidentBook, since: Int64, isEnding: Bool) {
        let kept = book.kept(since: since, at: Int64(time(nil)), isEnded: isEnding)
        if isEnding {
            if isWriting { lastWord = kept.bytes } else { write(kept.bytes) }
            return
        }
        guard isDue(kept) else { return }
        lastWrite = .now()
        saved = kept
        write(kept.bytes)
    }

    /// - Parameters:
    ///   - span: a disk that hangs keeps nobody longer.
    ///   - body: called once, at once if nothing is being written.
    func whenWritten(within span: Duration, _ body: @escaping () -> Void) {
        guard isWriting else { return body() }
        var isOver = false
        let once = {
            guard !isOver else { return }
            isOver = true
            body()
        }
        writtenBodies.append(once)
        loop.schedule(after: span, once)
    }

    private func write(_ bytes: [UInt8]) {
        isWriting = true
        let (file, poster, store) = (file, loop.poster, LoopBound(self))
        do throws(SystemError) {
            try BackgroundThread.start {
                var failure: String?
                do throws(StateFileError) { try file.write(bytes) } catch { failure = "\(error)" }
                let result = failure
                poster.post { store.value.ended(result) }
            }
        } catch {
            ended("\(error)")
        }
    }

    private func isDue(_ kept: IncidentBook.Kept) -> Bool {
        guard !isWriting else { return false }
        guard let lastWrite, let saved else { return true }
        let hasChanged = saved.incidents != kept.incidents || saved.dropped != kept.dropped
        let span = hasChanged && !hasFailed ? Self.interval : Self.refresh
        return Instant.now() >= lastWrite.advanced(by: span)
    }

    private func ended(_ failure: String?) {
        isWriting = false
        if let failure, !hasFailed {
            Log.error("incidents are not kept", ["file": file.path, "error": failure])
        }
        hasFailed = failure != nil
        if let bytes = lastWord {
            lastWord = nil
            return write(bytes)
        }
        let bodies = writtenBodies
        writtenBodies = []
        for body in bodies { body() }
    }
}

extension IncidentBook.Kept: WireValue {
    init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        since = try reader.integer("since")
        dropped = try reader.integer("dropped")
        incidents = try reader.list("incidents")
        alive = try reader.integer("alive")
        isEnded = try reader.bool("ended")
    }

    var json: JSONValue {
        .object([
            .init("since", .integer(since)), .init("dropped", .integer(dropped)),
            .init("incidents", .list(incidents)), .init("alive", .integer(alive)),
            .init("ended", .bool(isEnded)),
        ])
    }

    fileprivate var bytes: [UInt8] { Array(json.text.utf8) }
}
