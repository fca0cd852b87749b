internal import CEdge
internal import EdgeCore
internal import Glibc

/// Tells that something in some folders has changed (inotify), not what: whoever is told looks.
/// Folders that are not there, or that the kernel has no watch left for (`fs.inotify.
/// max_user_watches`), are passed over: look now and then all the same.
package final class FolderWatch {
    private let loop: PollLoop
    private let descriptor: FileDescriptor
    private let changed: () -> Void
    /// By path; numbers are the kernel's, and one for both names of a folder.
    private var numbers: [String: Int32] = [:]

    /// Links are followed. `IN_MODIFY` too: who writes slowly has not finished.
    private static let mask =
        UInt32(IN_MODIFY) | UInt32(IN_ATTRIB) | UInt32(IN_CLOSE_WRITE) | UInt32(IN_MOVED_FROM)
        | UInt32(IN_MOVED_TO) | UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_DELETE_SELF)
        | UInt32(IN_MOVE_SELF) | UInt32(IN_ONLYDIR)
    /// Folders beyond this many are not watched.
    package static let foldersMax = 8_192

    /// - Parameter changed: runs on the loop, once for all that is known at the time.
    /// - Throws: EMFILE if the user has no instance left (`fs.inotify.max_user_instances`).
    package init(loop: PollLoop, changed: @escaping () -> Void) throws(SystemError) {
        let fd = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard fd >= 0 else { throw SystemError(errnoOf: "inotify_init1") }
        self.loop = loop
        self.changed = changed
        descriptor = FileDescriptor(owning: fd)
        try loop.watch(fd, events: .readable) { [weak self] _ in self?.drain() }
    }

    deinit { loop.unwatch(descriptor.raw) }

    /// Watches these folders and no others.
    ///
    /// - Returns: whether one is watched that was not: it may have changed before.
    @discardableResult
    package func watch(_ folders: Set<String>) -> Bool {
        let old = Set(numbers.values)
        var kept: [String: Int32] = [:]
        for folder in folders.sorted().prefix(Self.foldersMax) {
            // Of one that is watched already this only sets the mask again; a folder that another
            // has taken the place of gets a new number.
            let number = inotify_add_watch(descriptor.raw, folder, Self.mask)
            if number >= 0 { kept[folder] = number }
        }
        numbers = kept
        let new = Set(kept.values)
        for number in old.subtracting(new) { inotify_rm_watch(descriptor.raw, number) }
        return !new.isSubset(of: old)
    }

    /// How many folders are watched.
    package var count: Int { Set(numbers.values).count }

    /// What the events say is not looked at; an overflow (`IN_Q_OVERFLOW`) is one as well.
    private func drain() {
        var isNews = false
        let sizeMax = 65_536
        withUnsafeTemporaryAllocation(byteCount: sizeMax, alignment: 8) { buffer in
            // Bounded: the rest comes with the next turn.
            for _ in 0..<16 {
                let count = read(descriptor.raw, buffer.baseAddress, sizeMax)
                guard count > 0 else { break }
                isNews = true
            }
        }
        if isNews { changed() }
    }
}
