internal import Foundation

/// A directory under the system's temporary one, gone with this object.
package final class TemporaryDirectory: Sendable {
    package let path: String

    /// - Parameter othersMayEnter: mode 0755 instead of 0700, for tests whose daemon drops to
    ///   another user.
    package init(_ label: String = "edge", othersMayEnter: Bool = false) throws {
        var template = Array((NSTemporaryDirectory() + "/\(label)-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw KitError.system("mkdtemp") }
        let bytes = template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        path = String(decoding: bytes, as: UTF8.self).replacingOccurrences(of: "//", with: "/")
        if othersMayEnter { chmod(path, 0o755) }
    }

    deinit { remove() }

    /// Removes everything now.
    package func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// The path of `name` inside; `name` may contain slashes.
    package func file(_ name: String) -> String { path + "/" + name }

    /// Writes a file (directories on the way are made, mode 0755) and returns its path.
    @discardableResult
    package func write(_ name: String, _ text: String, mode: UInt32 = 0o644) throws -> String {
        let target = file(name)
        let parent = (target as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(
            atPath: parent, withIntermediateDirectories: true)
        try writeFile(target, text, mode: mode)
        return target
    }

    /// Makes a directory inside and returns its path.
    @discardableResult
    package func makeDirectory(_ name: String, mode: UInt32 = 0o755) throws -> String {
        let target = file(name)
        try FileManager.default.createDirectory(
            atPath: target, withIntermediateDirectories: true)
        guard chmod(target, mode) == 0 else { throw KitError.system("chmod \(target)") }
        return target
    }

    package func read(_ name: String) throws -> String {
        try String(contentsOfFile: file(name), encoding: .utf8)
    }
}

/// Writes a whole file with exactly `mode`, as an operator's tool would: a new file is put in
/// place by rename, so nobody sees half of it.
package func writeFile(_ path: String, _ text: String, mode: UInt32) throws {
    let draft = path + ".new\(getpid())"
    let descriptor = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw KitError.system("open \(draft)") }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
        let count = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { throw KitError.system("write \(draft)") }
        done += count
    }
    guard fchmod(descriptor, mode) == 0 else { throw KitError.system("chmod \(draft)") }
    guard rename(draft, path) == 0 else { throw KitError.system("rename \(draft)") }
}
