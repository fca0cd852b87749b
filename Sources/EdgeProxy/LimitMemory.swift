internal import CEdge
package import EdgeCore
package import EdgeLimits
internal import Glibc

/// The tables of a `LimitMemory` as one worker has them: references to that are counted by all.
final class LimitTables {
    let rates: LimitTable
    let bans: BanTable
    let counts: ConcurrencyTable

    init(_ memory: LimitMemory) {
        rates = memory.rates
        bans = memory.bans
        counts = memory.counts
    }
}

/// What clients have used up, and who is banned, in memory that outlives a proxy: the guardian
/// makes the memfd, hands it to each proxy and never maps it; the workers of all proxies count in
/// it at the same time. `LimitMemoryLayout` says where the tables are. Bounded by the file's size.
///
/// What lasts only as long as it is open, connections and requests, is counted in memory of the
/// proxy's own beside it (`ConcurrencyTable`).
package final class LimitMemory: Sendable {
    package let rates: LimitTable
    package let bans: BanTable
    package let counts: ConcurrencyTable
    private let mapping: Mapping
    private let own: Mapping

    /// Keys that may have connections or requests under way: 8 MiB, of which what is used is
    /// touched.
    package static let countedKeys = 1 << 18

    package enum Failure: Error, Equatable {
        case notMapped(errno: Int32)
        /// Smaller than any table.
        case tooSmall
        case wrongLayout(CellLayout.Failure)
    }

    /// Maps the memory behind `descriptor`, a memfd of any size that `LimitMemoryLayout` gives. One
    /// that nobody has used, or whose first user died before it was ready, gets its tables; proxies
    /// begin one after the other, so that nobody else does the same.
    ///
    /// - Parameters:
    ///   - now: where the times of new tables begin.
    ///   - seed: 128 random bits, for new tables' keys.
    ///   - countedKeys: keys of `counts`.
    /// - Throws: `.notMapped` if mmap fails, `.tooSmall`, `.wrongLayout` if another version has
    ///   used it.
    package init(
        descriptor: Int32, now: Instant, seed: (UInt64, UInt64), countedKeys: Int = countedKeys
    ) throws(Failure) {
        mapping = try Mapping(descriptor)
        guard let layout = LimitMemoryLayout.rates(byteCount: mapping.byteCount) else {
            throw .tooSmall
        }
        let hash = LimitHash(key0: seed.0, key1: seed.1)
        let counted = ConcurrencyTable.layout(keys: countedKeys)
        own = try Mapping(byteCount: counted.byteCount)
        let offset = LimitMemoryLayout.ratesOffset
        let rest = mapping.memory + offset
        do throws(CellLayout.Failure) {
            bans =
                mapping.isNew(at: 0)
                ? try BanTable(
                    creatingIn: mapping.memory, byteCount: offset, layout: LimitMemoryLayout.bans,
                    base: now, hash: hash)
                : try BanTable(in: mapping.memory, byteCount: offset)
            rates =
                mapping.isNew(at: offset)
                ? try LimitTable(
                    creatingIn: rest, byteCount: mapping.byteCount - offset, layout: layout,
                    base: now, hash: hash)
                : try LimitTable(in: rest, byteCount: mapping.byteCount - offset)
            counts = try ConcurrencyTable(
                creatingIn: own.memory, byteCount: own.byteCount, layout: counted, hash: hash)
        } catch { throw .wrongLayout(error) }
    }

    /// A mapped file, until the object goes.
    private final class Mapping: @unchecked Sendable {
        // Sendable: the address does not change; what is behind it is accessed atomically.
        let memory: UnsafeMutableRawPointer
        let byteCount: Int

        init(_ descriptor: Int32) throws(Failure) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw .notMapped(errno: errno) }
            byteCount = Int(status.st_size)
            guard byteCount > 0 else { throw .tooSmall }
            memory = try Self.map(byteCount, MAP_SHARED, descriptor)
        }

        /// Zeroed memory that nobody else sees.
        init(byteCount: Int) throws(Failure) {
            self.byteCount = byteCount
            memory = try Self.map(byteCount, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1)
        }

        private static func map(
            _ byteCount: Int, _ flags: Int32, _ descriptor: Int32
        ) throws(Failure) -> UnsafeMutableRawPointer {
            let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, descriptor, 0)
            guard let memory, memory != MAP_FAILED else { throw .notMapped(errno: errno) }
            // Nobody needs clients in a core dump.
            _ = madvise(memory, byteCount, MADV_DONTDUMP)
            return memory
        }

        deinit { munmap(memory, byteCount) }

        /// No table is ready there: its first word is written last.
        func isNew(at offset: Int) -> Bool {
            ce_load_acquire64((memory + offset).assumingMemoryBound(to: UInt64.self)) == 0
        }
    }
}
