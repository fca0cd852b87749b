internal import CEdge
internal import Glibc

/// Descriptors that are held for nothing, so that there are some when all others are taken: one is
/// given up for a descriptor that cannot be done without, and taken back when there are some again.
/// One thread's. They are copies of one descriptor that is never used.
package struct DescriptorReserve: ~Copyable {
    /// How many are held when none is needed.
    package let size: Int
    private var held: [Int32] = []

    /// Takes as many of `size` as there are.
    package init(size: Int) {
        self.size = size
        refill()
    }

    deinit { for descriptor in held { close(descriptor) } }

    package var isShort: Bool { held.count < size }

    package var count: Int { held.count }

    /// Gives one up: the next call that needs a descriptor finds one, if no other thread is faster.
    ///
    /// - Returns: false if none is left.
    package mutating func release() -> Bool {
        guard let descriptor = held.popLast() else { return false }
        close(descriptor)
        return true
    }

    /// Takes back what was given up.
    ///
    /// - Returns: whether it is whole again.
    @discardableResult
    package mutating func refill() -> Bool {
        while held.count < size {
            let descriptor =
                if let first = held.first {
                    fcntl(first, F_DUPFD_CLOEXEC, 0)
                } else {
                    eventfd(0, Int32(EFD_CLOEXEC))
                }
            guard descriptor >= 0 else { return false }
            held.append(descriptor)
        }
        return true
    }
}
