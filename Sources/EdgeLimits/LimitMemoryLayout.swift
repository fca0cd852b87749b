/// Where the tables are in the memory that the proxies of one node share: those who are banned
/// first, then, in all that is left, what clients have used up.
package enum LimitMemoryLayout {
    /// Bans at a time without one being lost; 2 MiB, of which what is used is touched.
    private static let bannedClients = 65_536
    /// A table begins at a multiple of this; a mapping is aligned to more.
    private static let alignment = 4096

    package static let bans = BanTable.layout(keys: bannedClients)
    package static var ratesOffset: Int { aligned(bans.byteCount) }

    /// Bytes of memory that remembers so many clients.
    package static func byteCount(trackedClients: Int) -> Int {
        ratesOffset + aligned(LimitTable.layout(keys: trackedClients).byteCount)
    }

    /// The largest table that memory of so many bytes has room for; nil: there is none.
    package static func rates(byteCount: Int) -> CellLayout? {
        var keys = 1 << 26
        while keys > 0 {
            let layout = LimitTable.layout(keys: keys)
            if ratesOffset + layout.byteCount <= byteCount { return layout }
            keys >>= 1
        }
        return nil
    }

    private static func aligned(_ count: Int) -> Int {
        (count + alignment - 1) / alignment * alignment
    }
}
