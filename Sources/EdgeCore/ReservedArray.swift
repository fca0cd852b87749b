internal import Glibc

/// Address space for a fixed number of elements, reserved at start and touched lazily: a table
/// sized for the busiest hour costs nothing at rest. Fresh memory reads as zero bytes. The
/// elements never move, so C may keep pointers to them. Owned by one thread.
public struct ReservedArray<Element: BitwiseCopyable>: ~Copyable {
    public let capacity: Int
    @usableFromInline let base: UnsafeMutablePointer<Element>
    private let byteCount: Int

    /// - Returns: nil if the address space can't be had (ENOMEM, RLIMIT_AS).
    public init?(capacity: Int) {
        precondition(capacity > 0, "a reserved array holds something")
        byteCount = capacity * MemoryLayout<Element>.stride
        let memory = mmap(
            nil, byteCount, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { return nil }
        self.capacity = capacity
        base = memory.bindMemory(to: Element.self, capacity: capacity)
    }

    deinit { munmap(base, byteCount) }

    /// The element's address; valid as long as the array.
    @inlinable
    @inline(__always)
    public subscript(index: Int) -> UnsafeMutablePointer<Element> {
        assert(index >= 0 && index < capacity)
        return base + index
    }
}
