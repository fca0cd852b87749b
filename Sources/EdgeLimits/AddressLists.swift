package import EdgeCore

/// Blocks that a policy names itself, and those of its files. Files that several policies name are
/// in memory once.
package struct AddressLists: Sendable, Equatable {
    private let lists: [AddressRanges]
    /// Stored, so that a client of a policy without lists costs one byte.
    package let isEmpty: Bool

    package init(_ lists: [AddressRanges] = []) {
        self.lists = lists.filter { !$0.isEmpty }
        isEmpty = self.lists.isEmpty
    }

    // hot: once per policy; no allocation; O(files × log blocks)
    package func contains(_ address: SocketAddress) -> Bool {
        if isEmpty { return false }
        for list in lists where list.contains(address) { return true }
        return false
    }
}
