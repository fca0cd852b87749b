internal import CEdge
internal import Glibc

/// Where OpenSSL's memory comes from: the heap of the calling thread if it has one (`SlabHeap`),
/// else libc. A block goes back to where it came from, whichever thread gives it.
package enum OpenSSLMemory {
    // Written once, before the second thread and before OpenSSL's first call; read-only after.
    nonisolated(unsafe) private static var base: UInt = 0
    nonisolated(unsafe) private static var key: pthread_key_t = 0
    nonisolated(unsafe) private static var span: UInt = 0
    /// By worker; theirs to write, nobody's to read: memory that is kept is to be found somewhere.
    nonisolated(unsafe) private static var kept:
        UnsafeMutablePointer<
            UnsafeMutablePointer<SlabHeap>?
        >?

    /// To be called before anything of OpenSSL, on the only thread there is.
    ///
    /// - Parameter heaps: how many threads may have one; only address space.
    /// - Returns: false if all memory will be libc's: no address space, or OpenSSL was called.
    @discardableResult
    package static func install(heaps: Int = 64) -> Bool {
        guard base == 0 else { return true }
        let bytes = heaps * SlabHeap.bytesMax + SlabHeap.chunkBytes
        let memory = mmap(
            nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED, pthread_key_create(&key, nil) == 0 else {
            return false
        }
        // A huge page would hold one chunk in use and 31 that are not.
        madvise(memory, bytes, MADV_NOHUGEPAGE)
        let mask = UInt(SlabHeap.chunkBytes - 1)
        base = (UInt(bitPattern: memory) + mask) & ~mask
        span = UInt(heaps * SlabHeap.bytesMax)
        kept = .allocate(capacity: heaps)
        kept?.initialize(repeating: nil, count: heaps)
        let isTaken = CRYPTO_set_mem_functions(
            { count, _, _ in OpenSSLMemory.take(count) },
            { block, count, _, _ in OpenSSLMemory.resize(block, count) },
            { block, _, _ in OpenSSLMemory.give(block) })
        if isTaken != 1 {
            munmap(memory, bytes)
            base = 0
            span = 0
        }
        return isTaken == 1
    }

    /// Gives the calling thread a heap of its own, for as long as the process lives.
    ///
    /// - Parameter index: of the worker; no two threads have the same.
    package static func attachThread(_ index: Int) {
        guard index < Int(span) / SlabHeap.bytesMax, pthread_getspecific(key) == nil,
            let start = UnsafeMutableRawPointer(
                bitPattern: base + UInt(index * SlabHeap.bytesMax)),
            let heap = SlabHeap(base: start)
        else { return }
        let pointer = UnsafeMutablePointer<SlabHeap>.allocate(capacity: 1)
        pointer.initialize(to: heap)
        pthread_setspecific(key, pointer)
        kept?[index] = pointer
    }

    @inline(__always)
    private static func isOurs(_ block: UnsafeMutableRawPointer) -> Bool {
        UInt(bitPattern: block) &- base < span
    }

    @inline(__always)
    private static var heap: UnsafeMutablePointer<SlabHeap>? {
        pthread_getspecific(key)?.assumingMemoryBound(to: SlabHeap.self)
    }

    // hot: no allocation of its own, no lock.
    @inline(__always)
    static func take(_ count: Int) -> UnsafeMutableRawPointer? {
        if count > 0, count <= SlabHeap.blockMax, let heap,
            let block = heap.pointee.take(count, heap)
        {
            return block
        }
        return count > 0 ? malloc(count) : nil
    }

    // hot: as `take`.
    @inline(__always)
    static func give(_ block: UnsafeMutableRawPointer?) {
        guard let block else { return }
        guard isOurs(block) else {
            free(block)
            return
        }
        let chunk = SlabHeap.chunk(of: block)
        let owner = chunk.pointee.owner
        if owner == heap {
            owner.pointee.give(block, chunk)
        } else {
            owner.pointee.giveForeign(block)
        }
    }

    static func resize(_ block: UnsafeMutableRawPointer?, _ count: Int)
        -> UnsafeMutableRawPointer?
    {
        guard let block else { return take(count) }
        guard count > 0 else {
            give(block)
            return nil
        }
        guard isOurs(block) else { return realloc(block, count) }
        let room = Int(SlabHeap.chunk(of: block).pointee.blockBytes)
        if count <= room, count > room / 2 { return block }
        guard let other = take(count) else { return nil }
        other.copyMemory(from: block, byteCount: min(room, count))
        give(block)
        return other
    }
}
