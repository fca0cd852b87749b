/// Decides when freed memory is given back to the system. The allocator keeps it for reuse, which
/// is right under load and wrong after a peak: 5,000 closed TLS connections leave 70 MB behind.
/// Giving back walks all that is free, so it is done only when much of a peak has gone.
struct MemoryReturn {
    /// Fewer closed connections are not worth the walk.
    private static let closedMin: UInt64 = 256

    private var peak: UInt64 = 0

    /// - Parameter open: connections that are open now, clients' and upstreams'.
    /// - Returns: true if memory should be given back now.
    mutating func isDue(open: UInt64) -> Bool {
        peak = max(peak, open)
        guard peak - open >= Self.closedMin, open <= peak / 4 * 3 else { return false }
        peak = open
        return true
    }
}
