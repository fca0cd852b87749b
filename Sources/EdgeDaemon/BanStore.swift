internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeLimits
internal import EdgeSystem

/// The file with the names of the bans that last, and of those who were freed: read once, written
/// when there are others, on a thread of its own, because disks may hang. Loop's thread, but for
/// the writing itself.
final class BanStore {
    private let file: StateFile
    private let loop: PollLoop
    /// Of what is in the file; nil: it is to be written.
    private var saved: UInt64? = 0
    private var isWriting = false
    private var hasFailed = false
    /// What could not be written is tried again so long after.
    private let retry: Duration
    private var notBefore: Instant?
    /// What was read with the bans.
    private(set) var liftings: [BanSharing.Lifting] = []

    init(directory: String, loop: PollLoop, retry: Duration = .seconds(5)) {
        self.retry = retry
        file = StateFile(directory: directory, name: "bans", kind: "bans", version: 1)
        self.loop = loop
    }

    /// Empty if there is none that is whole.
    func load() -> [Ban] {
        do {
            guard let (_, content) = try file.read() else { return [] }
            let json = try JSONValue(
                parsing: content,
                limits: .init(byteCountMax: StateFile.contentMax, depthMax: 8))
            let reader = try WireReader(json)
            let statuses: [BanStatus] = try reader.list("bans")
            let lifted: [LiftingStatus] = try reader.listIfAny("lifted")
            liftings = lifted.compactMap { status in
                ClientNetwork(status.client).map {
                    BanSharing.Lifting(client: $0, time: status.time)
                }
            }
            // Those that do not hold any more must not come back.
            if !statuses.isEmpty { saved = nil }
            return statuses.compactMap { Ban($0) }
        } catch {
            var isKept = false
            if case .system? = error as? StateFileError {} else { isKept = file.setAside() }
            Log.error(
                "the bans of before are not known by name",
                [
                    "file": file.path, "error": "\(error)",
                    "kept": isKept ? file.path + ".bad" : "no",
                ])
            return []
        }
    }

    /// At every beat: writes them if they are others than at the last one.
    ///
    /// - Parameters:
    ///   - liftings, bans: asked for only if they are written.
    func keep(
        version: UInt64, liftings: @autoclosure () -> [BanSharing.Lifting] = [],
        _ bans: @autoclosure () -> [Ban]
    ) {
        guard !isWriting, version != saved, notBefore.map({ $0 <= .now() }) ?? true else { return }
        saved = version
        isWriting = true
        let bytes = Self.content(bans(), liftings())
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

    private static func content(_ bans: [Ban], _ liftings: [BanSharing.Lifting]) -> [UInt8] {
        let list = JSONValue.list(bans.map(\.status))
        let lifted = JSONValue.list(
            liftings.map { LiftingStatus(client: "\($0.client)", time: $0.time) })
        let all = JSONValue.object([.init("bans", list), .init("lifted", lifted)]).text
        guard all.utf8.count > StateFile.contentMax else { return Array(all.utf8) }
        // Bans matter more.
        return Array(JSONValue.object([.init("bans", list)]).text.utf8)
    }

    private func ended(_ failure: String?) {
        isWriting = false
        if let failure, !hasFailed {
            Log.error("bans are not kept", ["file": file.path, "error": failure])
        }
        hasFailed = failure != nil
        notBefore = hasFailed ? Instant.now().advanced(by: retry) : nil
        if hasFailed { saved = nil }
    }
}

/// A lifting as the file has it.
private struct LiftingStatus: WireValue {
    let client: String
    /// Unix seconds.
    let time: Int64

    init(client: String, time: Int64) {
        self.client = client
        self.time = time
    }

    init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        client = try reader.string("client")
        time = try reader.integer("time")
    }

    var json: JSONValue {
        .object([.init("client", .string(client)), .init("time", .integer(time))])
    }
}
