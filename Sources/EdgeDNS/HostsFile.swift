internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// A hosts file that is read again when it has changed. One that cannot be read stays as it was.
struct HostsFile {
    private let path: String
    private(set) var table = HostsTable()
    private var version: Version?
    private var lastLooked: Instant?
    private var isReported = false

    /// Within one second a file system's clock may not tell two versions apart, sizes may.
    private struct Version: Equatable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let seconds: Int
        let nanoseconds: Int
    }

    init(path: String) { self.path = path }

    /// Looks whether it has changed, at most once per `interval`.
    mutating func refresh(now: Instant, interval: Duration) {
        if let lastLooked, now < lastLooked.advanced(by: interval) { return }
        lastLooked = now
        do throws(SystemError) {
            try load()
            isReported = false
        } catch {
            if !isReported { Log.warning("dns: the hosts file is not read: \(error)") }
            isReported = true
        }
    }

    private mutating func load() throws(SystemError) {
        let fd = open(path, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { throw SystemError(errnoOf: "open", subject: path) }
        let file = FileDescriptor(owning: fd)
        var status = stat()
        guard fstat(file.raw, &status) == 0 else {
            throw SystemError(errnoOf: "fstat", subject: path)
        }
        let found = Version(
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino),
            size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec)
        guard found != version else { return }
        let bytes = try Descriptor.readAll(file.raw, byteCountMax: HostsTable.byteCountMax)
        guard let bytes else {
            throw SystemError("read", code: EFBIG, subject: path)
        }
        table = HostsTable(bytes)
        version = found
    }
}
