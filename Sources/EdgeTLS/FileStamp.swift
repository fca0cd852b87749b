internal import Glibc

/// What the files of a drop were when they were read.
struct CertificateFile: Equatable, Sendable {
    /// The key's own file, if it may have one.
    let keyName: String?
    /// Nil: there was none.
    let stamp: FileStamp?
    let keyStamp: FileStamp?
    /// Whether equal stamps mean equal contents (`FileStamp.isSettled`).
    let isSettled: Bool

    /// As the files are now.
    init(_ drop: CertificateDrop, in folder: Int32, now: Int64) {
        keyName = drop.keyName
        stamp = FileStamp(drop.name, in: folder)
        keyStamp = drop.keyName.flatMap { FileStamp($0, in: folder) }
        isSettled =
            stamp?.isSettled(at: now) != false && keyStamp?.isSettled(at: now) != false
    }

    private init() {
        keyName = nil
        stamp = nil
        keyStamp = nil
        isSettled = true
    }

    /// Of a drop that is no longer there.
    static let gone = CertificateFile()

    /// Whether the files are what they were.
    func isUnchanged(_ drop: CertificateDrop, in folder: Int32) -> Bool {
        isSettled && keyName == drop.keyName && FileStamp(drop.name, in: folder) == stamp
            && keyName.flatMap { FileStamp($0, in: folder) } == keyStamp
    }
}

/// What tells a file from what it was: read again only if one of these has changed.
package struct FileStamp: Equatable, Sendable {
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

    /// Of the file that `path` leads to, links followed; nil if there is none.
    package init?(_ path: String) { self.init(path, in: AT_FDCWD) }

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
    package func isSettled(at now: Int64) -> Bool {
        max(modified, changed) < now - Self.settlingTime
    }

    /// Whether it is of the same file, whatever has become of its contents; one that was renamed
    /// into place is another.
    package func isSameFile(as other: FileStamp) -> Bool {
        device == other.device && inode == other.inode
    }

    /// Nanoseconds since 1970.
    package static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return nanoseconds(time)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 {
        Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
