internal import Glibc

/// What the files of an entry were when they were read.
struct CertificateFile: Equatable, Sendable {
    let stamp: FileStamp
    /// Of the key's own file, if it has one.
    let keyStamp: FileStamp?
    /// Whether equal stamps mean equal contents (`FileStamp.isSettled`).
    let isSettled: Bool
}

/// What tells a file from what it was: read again only if one of these has changed.
struct FileStamp: Equatable, Sendable {
    let device: UInt64
    let inode: UInt64
    let byteCount: Int64
    /// Nanoseconds since 1970: of the contents, and of anything (mode and owner too).
    let modified: Int64
    let changed: Int64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        byteCount = Int64(status.st_size)
        modified = Self.nanoseconds(status.st_mtim)
        changed = Self.nanoseconds(status.st_ctim)
    }

    /// Of the file that `name` leads to, links followed; nil if there is none.
    init?(_ name: String, in folder: Int32) {
        var status = stat()
        guard fstatat(folder, name, &status, 0) == 0 else { return nil }
        self.init(status)
    }

    /// Clocks of file systems tick in milliseconds: what changed this recently may change again
    /// without a new stamp.
    private static let settlingTime: Int64 = 1_000_000_000

    /// Whether whatever changes the file after `now` gives it another stamp.
    func isSettled(at now: Int64) -> Bool { max(modified, changed) < now - Self.settlingTime }

    /// Nanoseconds since 1970.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return nanoseconds(time)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 {
        Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
