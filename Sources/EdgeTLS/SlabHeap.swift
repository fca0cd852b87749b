internal import CEdge
internal import Glibc

/// One thread's heap for OpenSSL: blocks of equal size in chunks of 64 KiB, no lock, no header
/// per block, and chunks without a block in use go back to the system. A heap has a fixed part of
/// the address space, touched lazily; when it is used up, the caller takes libc's memory instead.
///
/// Blocks are taken by the owning thread only. Another thread's `give` puts them on a list under a
/// lock, which the owner empties when it next needs a chunk.
struct SlabHeap {
    /// 64 KiB: so that a block's address tells its chunk.
    static let chunkBytes = 1 << 16
    /// Address space of one heap: 1 GiB, some 75,000 connections; more are libc's.
    static let bytesMax = 1 << 30
    /// Chunks without blocks that are kept for the next burst: 2 MiB, then they are given back.
    static let spareMax = 32
    /// The largest block: the buffer for messages that each handshake of OpenSSL's has (21,848
    /// bytes, 16 KiB of them written). From libc, those of many handshakes at once left 10 KiB per
    /// connection in holes between what stays.
    static let blockMax = 22_528

    /// At the start of each chunk in use.
    struct Chunk {
        var owner: UnsafeMutablePointer<SlabHeap>
        /// Blocks that have been given back, each with the address of the next.
        var free: UnsafeMutableRawPointer?
        /// Neighbours in the list of chunks with room.
        var next: UnsafeMutablePointer<Chunk>?
        var previous: UnsafeMutablePointer<Chunk>?
        /// Offset of the first block that was never taken.
        var fresh: UInt32
        var blockBytes: UInt32
        var inUse: UInt32
        var sizeClass: UInt16
        /// It is in the list of chunks with room; a full one is taken out when that is noticed.
        var isListed: Bool
    }

    private static let headerBytes = 64
    static let classCount = 64 + 24 + 128 + 14

    /// Chunks with room, by size class.
    private let lists: UnsafeMutablePointer<UnsafeMutablePointer<Chunk>?>
    /// Numbers of chunks that are not in use: the spare ones last.
    private let unused: UnsafeMutablePointer<UInt32>
    private var unusedCount = 0
    private var spareCount = 0
    /// Chunks from this number on were never used.
    private var freshChunk = 0
    private let base: UnsafeMutableRawPointer
    /// Apart from the heap, which is its thread's alone.
    private let foreign: UnsafeMutablePointer<Foreign>

    /// What other threads gave.
    private struct Foreign {
        var lock = pthread_mutex_t()
        /// The last block, with the address of the one before; under the lock.
        var last: UnsafeMutableRawPointer?
    }

    /// - Parameter base: `bytesMax` of address space that reads as zero, aligned to a chunk.
    init?(base: UnsafeMutableRawPointer) {
        let chunks = Self.bytesMax / Self.chunkBytes
        let table = mmap(
            nil, chunks * MemoryLayout<UInt32>.stride, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let table, table != MAP_FAILED else { return nil }
        self.base = base
        unused = table.bindMemory(to: UInt32.self, capacity: chunks)
        lists = .allocate(capacity: Self.classCount)
        lists.initialize(repeating: nil, count: Self.classCount)
        foreign = .allocate(capacity: 1)
        foreign.initialize(to: Foreign())
        pthread_mutex_init(&foreign.pointee.lock, nil)
    }

    // MARK: - Size classes

    /// Steps of 16 bytes up to 1 KiB, of 128 up to 4 KiB, of 32 up to 8 KiB, of 1 KiB up to the
    /// largest. Eight sessions of OpenSSL's (7,624 bytes) and the header touch 15 pages so, in
    /// steps of 128 all 16.
    @inline(__always)
    static func sizeClass(_ count: Int) -> Int {
        if count <= 1024 { return (count &+ 15) &>> 4 &- 1 }
        if count <= 4096 { return 64 &+ (count &- 1024 &+ 127) &>> 7 &- 1 }
        if count <= 8192 { return 88 &+ (count &- 4096 &+ 31) &>> 5 &- 1 }
        return 216 &+ (count &- 8192 &+ 1023) &>> 10 &- 1
    }

    static func blockBytes(_ sizeClass: Int) -> Int {
        if sizeClass < 64 { return (sizeClass + 1) * 16 }
        if sizeClass < 88 { return 1024 + (sizeClass - 63) * 128 }
        if sizeClass < 216 { return 4096 + (sizeClass - 87) * 32 }
        return 8192 + (sizeClass - 215) * 1024
    }

    // MARK: - Blocks

    /// - Parameter count: 1 to `blockMax`.
    /// - Returns: nil if the heap's address space is used up.
    @inline(__always)
    mutating func take(_ count: Int, _ this: UnsafeMutablePointer<SlabHeap>)
        -> UnsafeMutableRawPointer?
    {
        let sizeClass = Self.sizeClass(count)
        if let chunk = lists[sizeClass], let block = chunk.pointee.free {
            chunk.pointee.free = block.load(as: UnsafeMutableRawPointer?.self)
            chunk.pointee.inUse &+= 1
            return block
        }
        return takeFresh(sizeClass, this)
    }

    @inline(never)
    private mutating func takeFresh(_ sizeClass: Int, _ this: UnsafeMutablePointer<SlabHeap>)
        -> UnsafeMutableRawPointer?
    {
        while let chunk = lists[sizeClass] {
            if let block = chunk.pointee.free {
                chunk.pointee.free = block.load(as: UnsafeMutableRawPointer?.self)
                chunk.pointee.inUse &+= 1
                return block
            }
            let start = Int(chunk.pointee.fresh)
            if start + Int(chunk.pointee.blockBytes) <= Self.chunkBytes {
                chunk.pointee.fresh &+= chunk.pointee.blockBytes
                chunk.pointee.inUse &+= 1
                return UnsafeMutableRawPointer(chunk) + start
            }
            unlist(chunk)
        }
        if takeForeign() { return takeFresh(sizeClass, this) }
        guard let memory = takeChunk() else { return nil }
        let chunk = memory.bindMemory(to: Chunk.self, capacity: 1)
        chunk.initialize(
            to: Chunk(
                owner: this, free: nil, next: nil, previous: nil,
                fresh: UInt32(Self.headerBytes), blockBytes: UInt32(Self.blockBytes(sizeClass)),
                inUse: 0, sizeClass: UInt16(sizeClass), isListed: false))
        list(chunk)
        return takeFresh(sizeClass, this)
    }

    /// Gives a block of this heap's back, by its own thread.
    @inline(__always)
    mutating func give(_ block: UnsafeMutableRawPointer, _ chunk: UnsafeMutablePointer<Chunk>) {
        block.storeBytes(of: chunk.pointee.free, as: UnsafeMutableRawPointer?.self)
        chunk.pointee.free = block
        chunk.pointee.inUse &-= 1
        if !chunk.pointee.isListed { list(chunk) }
        if chunk.pointee.inUse == 0 { retire(chunk) }
    }

    /// A block is given back by another thread.
    func giveForeign(_ block: UnsafeMutableRawPointer) {
        pthread_mutex_lock(&foreign.pointee.lock)
        block.storeBytes(of: foreign.pointee.last, as: UnsafeMutableRawPointer?.self)
        foreign.pointee.last = block
        pthread_mutex_unlock(&foreign.pointee.lock)
    }

    private mutating func takeForeign() -> Bool {
        pthread_mutex_lock(&foreign.pointee.lock)
        var next = foreign.pointee.last
        foreign.pointee.last = nil
        pthread_mutex_unlock(&foreign.pointee.lock)
        let isAny = next != nil
        while let block = next {
            next = block.load(as: UnsafeMutableRawPointer?.self)
            give(block, Self.chunk(of: block))
        }
        return isAny
    }

    @inline(__always)
    static func chunk(of block: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Chunk> {
        let address = UInt(bitPattern: block) & ~UInt(chunkBytes - 1)
        return UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
    }

    // MARK: - Chunks

    private mutating func list(_ chunk: UnsafeMutablePointer<Chunk>) {
        let sizeClass = Int(chunk.pointee.sizeClass)
        let first = lists[sizeClass]
        chunk.pointee.next = first
        chunk.pointee.previous = nil
        chunk.pointee.isListed = true
        first?.pointee.previous = chunk
        lists[sizeClass] = chunk
    }

    private mutating func unlist(_ chunk: UnsafeMutablePointer<Chunk>) {
        let next = chunk.pointee.next
        let previous = chunk.pointee.previous
        next?.pointee.previous = previous
        if let previous {
            previous.pointee.next = next
        } else {
            lists[Int(chunk.pointee.sizeClass)] = next
        }
        chunk.pointee.isListed = false
    }

    /// No block of the chunk is in use: it is kept only if it is the last with room.
    @inline(never)
    private mutating func retire(_ chunk: UnsafeMutablePointer<Chunk>) {
        guard chunk.pointee.next != nil || chunk.pointee.previous != nil else { return }
        unlist(chunk)
        let memory = UnsafeMutableRawPointer(chunk)
        let number = UInt32((memory - base) / Self.chunkBytes)
        if spareCount < Self.spareMax {
            unused[unusedCount] = number
            spareCount += 1
        } else {
            madvise(memory, Self.chunkBytes, MADV_DONTNEED)
            // Below the spare ones, so that those are used first.
            unused[unusedCount] = unused[unusedCount - spareCount]
            unused[unusedCount - spareCount] = number
        }
        unusedCount += 1
    }

    private mutating func takeChunk() -> UnsafeMutableRawPointer? {
        if unusedCount > 0 {
            unusedCount -= 1
            if spareCount > 0 { spareCount -= 1 }
            return base + Int(unused[unusedCount]) * Self.chunkBytes
        }
        guard freshChunk < Self.bytesMax / Self.chunkBytes else { return nil }
        freshChunk += 1
        return base + (freshChunk - 1) * Self.chunkBytes
    }
}
