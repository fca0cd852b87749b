internal import CEdge
internal import EdgeSystem
internal import Glibc

/// The file that an upgrade executes with the guardian's rights.
enum InstalledProgram {
    /// Where this program was started from: as it was called, so that a link which leads to another
    /// version by now leads there; else what the kernel says, also if another file has been put in
    /// its place.
    static var path: String {
        let called = CommandLine.arguments.first ?? ""
        if called.hasPrefix("/") { return called }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0 else { return "/proc/self/exe" }
        let path = String(
            decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        let mark = " (deleted)"
        return path.hasSuffix(mark) ? String(path.dropLast(mark.utf8.count)) : path
    }

    /// Why it is not executed: who may write it could otherwise have our rights without a restart.
    static func fault(of path: String) -> String? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            return "\(SystemError(errnoOf: "stat", subject: path))"
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return "\(path) is no file" }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            return "\(path) belongs to user \(status.st_uid): chown root \(path)"
        }
        guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
            return "\(path) can be written by others: chmod go-w \(path)"
        }
        return nil
    }
}
