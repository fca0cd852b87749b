internal import EdgeSystem
internal import Glibc

/// Settings of the kernel below /proc/sys.
enum KernelSetting {
    /// - Returns: false if it could not be written: the container or unit may forbid that.
    @discardableResult
    static func write(_ key: String, _ value: String) -> Bool {
        let fd = open("/proc/sys/" + key, O_WRONLY | O_CLOEXEC)
        guard fd >= 0 else { return false }
        let file = FileDescriptor(owning: fd)
        return Glibc.write(file.raw, value, value.utf8.count) == value.utf8.count
    }

    /// Whether it is there and not 0.
    static func isSet(_ key: String) -> Bool {
        let fd = open("/proc/sys/" + key, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return false }
        let file = FileDescriptor(owning: fd)
        var byte: UInt8 = 0
        return read(file.raw, &byte, 1) == 1 && byte != UInt8(ascii: "0")
    }
}
