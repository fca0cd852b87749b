internal import EdgeCore

/// A piece of buffer memory with its bookkeeping in front. Held by connections only while bytes
/// wait in it; an idle connection has none.
struct Chunk: BitwiseCopyable {
    var next: UnsafeMutablePointer<Chunk>?
    /// Index of the size class.
    var sizeClass: Int32
    var capacity: Int32
    /// Bytes from `start` to `end` are waiting.
    var start: Int32
    var end: Int32
}

typealias ChunkPointer = UnsafeMutablePointer<Chunk>

extension ChunkPointer {
    var bytes: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(self) + MemoryLayout<Chunk>.stride
    }
    var count: Int { Int(pointee.end - pointee.start) }
    var waiting: UnsafeMutableRawPointer { bytes + Int(pointee.start) }
    var room: Int { Int(pointee.capacity - pointee.end) }

    /// Copies what fits behind the waiting bytes.
    func append(_ source: UnsafeRawPointer, count: Int) -> Int {
        let taken = Swift.min(count, room)
        (bytes + Int(pointee.end)).copyMemory(from: source, byteCount: taken)
        pointee.end += Int32(taken)
        return taken
    }
}

/// A worker's chunks: a few size classes, free lists bounded, the total bounded by a budget. When
/// the budget is used up, whoever needs a chunk is refused (`memory_limit`), nothing grows.
struct ChunkPool: ~Copyable {
    private static var classCount: Int { 9 }

    /// Room of a chunk by class: a usual request's head, powers of two of content with what its TLS
    /// records add, and one for the largest head that can be configured with a round of content
    /// behind it.
    private static func room(_ index: Int) -> Int {
        switch index {
        case 0: 512
        case 1: 1024
        case 2: 4096
        case 3: 16384
        case 4: 65536 + 4096
        case 5: 131_072 + 8192
        case 6: 262_144 + 16384
        case 7: 524_288 + 32768
        default: 1_703_936
        }
    }

    /// Free chunks kept per class; the rest goes back to the allocator.
    private static func freeMax(_ index: Int) -> Int32 {
        switch index {
        case 0, 1, 2: 256
        case 3: 64
        case 4: 16
        case 5, 6, 7: 8
        default: 0
        }
    }

    private var free: InlineArray<9, ChunkPointer?> = .init(repeating: nil)
    private var freeCount: InlineArray<9, Int32> = .init(repeating: 0)
    /// The fewest free ones since the last trim: so many were not needed.
    private var freeMin: InlineArray<9, Int32> = .init(repeating: 0)
    private(set) var bytesInUse = 0
    let budget: Int

    init(budget: Int) { self.budget = budget }

    deinit {
        for index in 0..<Self.classCount {
            var chunk = free[index]
            while let current = chunk {
                chunk = current.pointee.next
                UnsafeMutableRawPointer(current).deallocate()
            }
        }
    }

    /// An empty chunk with room for `byteCount`.
    ///
    /// - Returns: nil if it is larger than the largest class or over budget.
    mutating func take(_ byteCount: Int) -> ChunkPointer? {
        var index = 0
        while Self.room(index) < byteCount {
            index += 1
            if index == Self.classCount { return nil }
        }
        let size = Self.room(index)
        guard bytesInUse + size <= budget else { return nil }
        bytesInUse += size
        let chunk: ChunkPointer
        if let kept = free[index] {
            free[index] = kept.pointee.next
            freeCount[index] -= 1
            freeMin[index] = min(freeMin[index], freeCount[index])
            chunk = kept
        } else {
            chunk = UnsafeMutableRawPointer.allocate(
                byteCount: MemoryLayout<Chunk>.stride + size, alignment: 16
            ).bindMemory(to: Chunk.self, capacity: 1)
        }
        chunk.pointee = Chunk(
            next: nil, sizeClass: Int32(index), capacity: Int32(size), start: 0, end: 0)
        return chunk
    }

    mutating func give(_ chunk: ChunkPointer) {
        let index = Int(chunk.pointee.sizeClass)
        bytesInUse -= Int(chunk.pointee.capacity)
        guard freeCount[index] < Self.freeMax(index) else {
            UnsafeMutableRawPointer(chunk).deallocate()
            return
        }
        chunk.pointee.next = free[index]
        free[index] = chunk
        freeCount[index] += 1
    }

    /// Gives back what was not needed since the last time.
    mutating func trim() {
        for index in 0..<Self.classCount {
            while freeMin[index] > 0, let chunk = free[index] {
                free[index] = chunk.pointee.next
                freeCount[index] -= 1
                freeMin[index] -= 1
                UnsafeMutableRawPointer(chunk).deallocate()
            }
            freeMin[index] = freeCount[index]
        }
    }

    /// Half of the budget is used up.
    var isScarce: Bool { bytesInUse >= budget / 2 }
    /// Three quarters: what is left is for what is under way.
    var isShort: Bool { bytesInUse >= budget / 4 * 3 }

    /// Bytes that one round of a bulk transfer may take now: less, the more of the budget is used,
    /// so that many slow peers leave room for the others.
    func roundMax(_ wanted: Int) -> Int {
        guard isScarce else { return wanted }
        return min(wanted, isShort ? 16384 : 65536)
    }
}

/// Bytes waiting in chunks, first in first out. A trivial value that lives in a connection slot.
struct ChunkList: BitwiseCopyable {
    private(set) var first: ChunkPointer?
    private var last: ChunkPointer?
    private(set) var byteCount = 0

    var isEmpty: Bool { first == nil }

    /// - Returns: false if the pool is over budget; then some of the bytes may have been taken, and
    ///   the list is fit only for `removeAll`.
    mutating func append(
        _ source: UnsafeRawPointer, count: Int, from pool: inout ChunkPool
    ) -> Bool {
        var source = source
        var left = count
        if let last {
            let taken = last.append(source, count: left)
            source += taken
            left -= taken
            byteCount += taken
        }
        while left > 0 {
            guard let chunk = pool.take(min(left, 524_288)) ?? pool.take(min(left, 16384))
            else { return false }
            let taken = chunk.append(source, count: left)
            source += taken
            left -= taken
            byteCount += taken
            if let last { last.pointee.next = chunk } else { first = chunk }
            last = chunk
        }
        return true
    }

    /// Drops bytes from the front of the first chunk.
    mutating func consume(_ count: Int, to pool: inout ChunkPool) {
        guard let chunk = first else { return }
        invariant(count <= chunk.count, "no more is consumed than the first chunk holds")
        chunk.pointee.start += Int32(count)
        byteCount -= count
        guard chunk.count == 0 else { return }
        first = chunk.pointee.next
        if first == nil { last = nil }
        pool.give(chunk)
    }

    /// Takes the first chunk out of the list; the caller owns it.
    mutating func popFirst() -> ChunkPointer? {
        guard let chunk = first else { return nil }
        first = chunk.pointee.next
        if first == nil { last = nil }
        byteCount -= chunk.count
        chunk.pointee.next = nil
        return chunk
    }

    /// Puts a chunk with waiting bytes behind the others; the list owns it from now on.
    mutating func pushLast(_ chunk: ChunkPointer) {
        chunk.pointee.next = nil
        if let last { last.pointee.next = chunk } else { first = chunk }
        last = chunk
        byteCount += chunk.count
    }

    /// Puts a chunk back in front.
    mutating func pushFirst(_ chunk: ChunkPointer) {
        chunk.pointee.next = first
        first = chunk
        if last == nil { last = chunk }
        byteCount += chunk.count
    }

    mutating func removeAll(to pool: inout ChunkPool) {
        while let chunk = first {
            first = chunk.pointee.next
            pool.give(chunk)
        }
        last = nil
        byteCount = 0
    }
}
