internal import EdgeSystem
internal import Glibc

/// Settings of the kernel below /proc/sys.
enum KernelSetting {
    /// Sees to it that it has that value.
    ///
    /// - Returns: false if it has another and could not be written: the container or unit may
    ///   forbid that.
    static func require(_ key: String, _ value: String) -> Bool {
        read(key) == value || write(key, value)
    }

    private static func write(_ key: String, _ value: String) -> Bool {
        let fd = open("/proc/sys/" + key, O_WRONLY | O_CLOEXEC)
        guard fd >= 0 else { return false }
        let file = FileDescriptor(owning: fd)
        return Glibc.write(file.raw, value, value.utf8.count) == value.utf8.count
    }

    /// Nil: there is no such setting.
    static func read(_ key: String) -> String? {
        let fd = open("/proc/sys/" + key, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return nil }
        let file = FileDescriptor(owning: fd)
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = Glibc.read(file.raw, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].filter { $0 > 0x20 }, as: UTF8.self)
    }

    /// Whether it is there and not 0.
    static func isSet(_ key: String) -> Bool { read(key).map { $0 != "0" } ?? false }
}
