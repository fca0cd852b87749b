internal import Glibc

/// What this machine calls itself.
enum OwnName {
    /// The host name (gethostname); nil: it has none.
    static var host: String? {
        var buffer = [CChar](repeating: 0, count: 256)
        // One less: a name that is cut may lack its zero (POSIX gethostname).
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        let name = String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.isEmpty ? nil : name
    }
}
