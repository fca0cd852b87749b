import EdgeCore
import Synchronization

/// 64-bit cells in memory that the caller hands in, private or shared between processes: the one
/// place of this module that sees a pointer. Every access is atomic; a word is read with acquire
/// and written with release, so that who sees a word sees what was written before it.
@safe
struct LimitCells: @unchecked Sendable {
    // Sendable: cells are reached only through atomic operations; whoever hands memory in keeps
    // it until the last copy is gone.

    private let base: UnsafeMutablePointer<Atomic<UInt64>>
    let count: Int

    /// - Parameters:
    ///   - memory: aligned to 8 bytes, of `count` words, live as long as any copy of this value.
    init(_ memory: UnsafeMutableRawPointer, count: Int) {
        // `Atomic<UInt64>` is its word and nothing else (SE-0410).
        unsafe base = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        self.count = count
    }

    // hot: one load
    @inline(__always)
    func load(_ index: Int) -> UInt64 {
        assert(index >= 0 && index < count, "an index is made from a mask")
        return unsafe base[index].load(ordering: .acquiring)
    }

    @inline(__always)
    func store(_ index: Int, _ value: UInt64) {
        assert(index >= 0 && index < count, "an index is made from a mask")
        unsafe base[index].store(value, ordering: .releasing)
    }

    /// - Returns: whether the cell held `old`, and holds `new` now.
    // hot: one locked instruction
    @inline(__always)
    func replace(_ index: Int, _ old: UInt64, with new: UInt64) -> Bool {
        assert(index >= 0 && index < count, "an index is made from a mask")
        return unsafe base[index].compareExchange(
            expected: old, desired: new, successOrdering: .acquiringAndReleasing,
            failureOrdering: .acquiring
        ).exchanged
    }

    func add(_ index: Int, _ amount: UInt64) {
        assert(index >= 0 && index < count, "an index is made from a mask")
        unsafe base[index].wrappingAdd(amount, ordering: .relaxed)
    }

    /// Sets bits that another thread may set others beside.
    func set(_ index: Int, bits: UInt64) {
        assert(index >= 0 && index < count, "an index is made from a mask")
        unsafe base[index].bitwiseOr(bits, ordering: .acquiringAndReleasing)
    }
}
