internal import CEdge
package import EdgeCore
internal import Glibc

/// The ticket keys in memory that outlives a proxy: the guardian makes the memfd, hands it to each
/// proxy and never maps it; the proxy's control thread is its one writer, every worker reads.
///
/// Layout (version 1), 64-bit cells in the machine's order: magic, version, generation, 5 spare
/// cells, then two banks of 72 cells. A bank is a count, 7 spare cells and four keys of 16 cells
/// (id 2, cipher key 4, MAC key 4, made at, created, origin, 3 spare). The bank in use is the
/// generation's lowest bit: a writer fills the other one, publishes by storing the next generation,
/// and wipes the one left. A writer that dies half-way has changed nothing; a reader that was
/// overtaken sees another generation afterwards and reads again.
package final class TicketMemory: @unchecked Sendable {
    // Sendable: the mapping lives as long as the object, and cells are accessed only through
    // acquiring loads and releasing stores.

    package static let byteCount = 4096
    package static let keysMax = 4
    private static let magic: UInt64 = 0x3159_454B_4547_4445  // "EDGEKEY1"
    private static let version: UInt64 = 1
    private static let bankBase = 8
    private static let bankCells = 72
    private static let keyBase = 8
    private static let keyCells = 16
    /// Attempts to read between two publications; they are hours apart.
    private static let readsMax = 64

    package enum Failure: Error, Equatable {
        case notMapped(errno: Int32)
        case wrongLayout
    }

    private let cells: UnsafeMutablePointer<UInt64>

    /// Maps the memory behind `descriptor`, a memfd of `byteCount` bytes; one that nobody has
    /// used gets its header.
    ///
    /// - Throws: `.notMapped` if mmap fails, `.wrongLayout` if another version has used it.
    package init(descriptor: Int32) throws(Failure) {
        let memory = mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let memory, memory != MAP_FAILED else { throw .notMapped(errno: errno) }
        // No key in a core dump; where the kernel can't do that, keys are where they were.
        _ = madvise(memory, Self.byteCount, MADV_DONTDUMP)
        cells = memory.bindMemory(to: UInt64.self, capacity: Self.byteCount / 8)
        if ce_load_acquire64(cells) == 0 {
            ce_store_release64(cells + 1, Self.version)
            ce_store_release64(cells, Self.magic)
        }
        guard ce_load_acquire64(cells) == Self.magic, cells[1] == Self.version else {
            munmap(memory, Self.byteCount)
            throw .wrongLayout
        }
    }

    deinit { munmap(cells, Self.byteCount) }

    /// Changes with every publication; 0: there is no key yet.
    @inline(__always)
    package var generation: UInt64 { ce_load_acquire64(cells + 2) }

    /// - Returns: the keys, newest first, and the generation they are of; nil if a writer was in
    ///   the way each time, or the memory holds what no writer wrote.
    package func read() -> (generation: UInt64, keys: [TicketKey])? {
        for _ in 0..<Self.readsMax {
            let before = generation
            let bank = bank(before)
            let count = ce_load_acquire64(bank)
            guard count <= UInt64(Self.keysMax) else {
                if generation == before { return nil }
                continue
            }
            let keys = (0..<Int(count)).map { load(bank + Self.keyBase + $0 * Self.keyCells) }
            if generation == before { return (before, keys) }
        }
        return nil
    }

    /// Replaces all keys at once. One thread of one process at a time.
    ///
    /// - Parameter keys: at most `keysMax`, newest first.
    package func publish(_ keys: [TicketKey]) {
        invariant(keys.count <= Self.keysMax, "at most four ticket keys are known")
        let current = generation
        let next = bank(current &+ 1)
        for (index, key) in keys.enumerated() {
            store(key, at: next + Self.keyBase + index * Self.keyCells)
        }
        ce_store_release64(next, UInt64(keys.count))
        ce_store_release64(cells + 2, current &+ 1)
        let left = bank(current)
        for index in 0..<Self.bankCells { ce_store_release64(left + index, 0) }
    }

    private func bank(_ generation: UInt64) -> UnsafeMutablePointer<UInt64> {
        cells + Self.bankBase + Int(generation & 1) * Self.bankCells
    }

    private func store(_ key: TicketKey, at cell: UnsafeMutablePointer<UInt64>) {
        store(key.id, at: cell)
        store(key.cipherKey, at: cell + 2)
        store(key.macKey, at: cell + 6)
        ce_store_release64(cell + 10, key.madeAt.nanoseconds)
        ce_store_release64(cell + 11, UInt64(bitPattern: key.createdSeconds))
        ce_store_release64(cell + 12, key.origin)
    }

    private func store<Bytes: BitwiseCopyable>(
        _ bytes: Bytes, at cell: UnsafeMutablePointer<UInt64>
    ) {
        withUnsafeBytes(of: bytes) { raw in
            for index in 0..<raw.count / 8 {
                ce_store_release64(
                    cell + index, raw.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            }
        }
    }

    private func load(_ cell: UnsafeMutablePointer<UInt64>) -> TicketKey {
        var random: [UInt8] = []
        random.reserveCapacity(TicketKey.randomBytes)
        for index in 0..<TicketKey.randomBytes / 8 {
            withUnsafeBytes(of: ce_load_acquire64(cell + index)) { random += $0 }
        }
        var key = TicketKey(
            random: random, madeAt: Instant(nanoseconds: ce_load_acquire64(cell + 10)),
            createdSeconds: Int64(bitPattern: ce_load_acquire64(cell + 11)))
        key.origin = ce_load_acquire64(cell + 12)
        return key
    }
}
