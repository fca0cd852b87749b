internal import CEdge
internal import EdgeCore
internal import EdgeLimits
internal import EdgeProxy
internal import EdgeSystem
internal import Glibc

/// Measures what the process takes of memory and of descriptors, and tells the workers what that
/// calls for: twice a second, on the control thread.
final class PressureKeeper {
    /// Descriptors that are not for connections: listeners, files, reloads, the admin socket.
    static let descriptorsKept = 128
    /// Held by each worker for connections to upstreams, when all others are taken.
    static let sparesPerWorker = 8

    let shared = ProcessPressure()
    private var ceiling = MemoryCeiling(0)
    /// As configured; nil: not looked at yet.
    private var wanted: Int??

    /// - Parameters:
    ///   - memory: bytes; 0: no ceiling; nil: what the machine has decides.
    ///   - tables: bytes of the memory that proxies share; whoever fills it, no connection that is
    ///     closed gives any of it back.
    ///   - resident: of the process's own memory, in bytes; nil: nobody knows.
    func look(
        _ board: SharedBoard, workers: Int, memory: Int?, tables: Int = 0,
        resident: UInt64? = MemoryFigures.residentOwn()
    ) {
        if wanted != .some(memory) {
            wanted = .some(memory)
            ceiling = MemoryCeiling(Self.bytes(memory, tables: UInt64(max(0, tables))))
            board.block(0).set(.memoryLimitBytes, ceiling.ceiling)
        }
        shared.descriptorShare = Self.share(of: Privileges.descriptorLimit(), workers: workers)
        guard let resident else { return }
        note(resident: resident, board)
    }

    private func note(resident: UInt64, _ board: SharedBoard) {
        board.block(0).set(.memoryBytes, resident)
        ceiling.update(resident: resident)
        // Not only when the ceiling says that its level is another one: a new ceiling knows nothing
        // of what workers were told under the one before.
        guard ceiling.level != shared.memory else {
            // What was closed is given back before more is.
            if ceiling.level != .enough { malloc_trim(0) }
            return
        }
        shared.memory = ceiling.level
        let words: Log.Fields = [
            "resident": "\(resident)", "limit": "\(ceiling.ceiling)",
        ]
        switch ceiling.level {
        case .enough: Log.notice("memory is enough again", words)
        case .scarce:
            Log.warning("memory is scarce: idle connections are closed, newcomers refused", words)
        case .exhausted: Log.error("memory is exhausted: all newcomers are refused", words)
        }
    }

    static func bytes(_ memory: Int?, tables: UInt64) -> UInt64 {
        guard let memory else {
            return MemoryFigures.available().map {
                MemoryCeiling.automatic(available: $0 - min($0 / 2, tables))
            } ?? 0
        }
        return UInt64(memory)
    }

    /// What one worker's connections may take of so many descriptors; at least half of its part,
    /// however few there are.
    static func share(of limit: Int, workers: Int) -> Int {
        max(1, max(limit - descriptorsKept, limit / 2) / workers)
    }
}
