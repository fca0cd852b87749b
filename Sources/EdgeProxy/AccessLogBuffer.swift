internal import EdgeCore
internal import Synchronization

/// The way of one worker's lines to the thread that writes them: two halves, of which the worker
/// fills one while the other is written or free. Whose a half is, is its published count: 0, the
/// worker's; else the writer's, which gives it back by 0. One worker, one writer, no locks.
///
///     worker: fill 0 ─ publish 0 ─ fill 1 ─ publish 1 (if 0 is free again) ─ fill 0 …
///     writer:                write 0 ─ free 0 ─ write 1 ─ free 1 …
final class AccessLogBuffer: Sendable {
    // Sendable: the halves' bytes are touched only by whom they belong to at the time.
    private struct Memory: @unchecked Sendable {
        let start: UnsafeMutableRawPointer
    }

    /// Bytes of one half.
    let half: Int
    private let memory: Memory
    private let first = Atomic<Int>(0)
    private let second = Atomic<Int>(0)
    /// Lines that found no room, since the beginning. The worker's to write.
    private let dropped = Atomic<Int>(0)
    /// Lines that could not be written, since they were last taken. The writer's to add.
    private let lost = Atomic<Int>(0)
    /// The worker will publish nothing more.
    private let left = Atomic<Bool>(false)

    init(byteCount: Int) {
        half = byteCount / 2
        memory = Memory(start: .allocate(byteCount: 2 * half, alignment: 64))
    }

    deinit { memory.start.deallocate() }

    func start(of index: Int) -> UnsafeMutableRawPointer { memory.start + index * half }

    // MARK: - The worker's

    func isFree(_ index: Int) -> Bool {
        (index == 0 ? first.load(ordering: .acquiring) : second.load(ordering: .acquiring)) == 0
    }

    /// Gives a half to the writer.
    func publish(_ index: Int, count: Int) {
        if index == 0 {
            first.store(count, ordering: .releasing)
        } else {
            second.store(count, ordering: .releasing)
        }
    }

    func addDropped() { dropped.wrappingAdd(1, ordering: .relaxed) }

    func takeLost() -> Int { lost.exchange(0, ordering: .relaxed) }

    func leave() { left.store(true, ordering: .releasing) }

    // MARK: - The writer's

    /// Bytes in a half that is the writer's; 0: it is not.
    func count(of index: Int) -> Int {
        index == 0 ? first.load(ordering: .acquiring) : second.load(ordering: .acquiring)
    }

    /// Gives a half back.
    func free(_ index: Int) { publish(index, count: 0) }

    var droppedCount: Int { dropped.load(ordering: .relaxed) }

    func addLost(_ lines: Int) { lost.wrappingAdd(lines, ordering: .relaxed) }

    var hasLeft: Bool { left.load(ordering: .acquiring) }
}
