internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// What /proc tells about a thread of another process.
struct ThreadProbe {
    let processID: Int32

    /// Nil if the thread is gone or the kernel keeps no account.
    func scheduling(_ thread: UInt64) -> HangDetector.Scheduling? {
        guard thread != 0, let account = text(thread, "schedstat"),
            let status = text(thread, "stat")
        else { return nil }
        let numbers = account.split { $0 == " " || $0 == "\n" }.compactMap { UInt64($0) }
        // The name in parentheses may hold anything; the state follows the last one.
        let state = status.split(separator: ")").last?.first { $0 != " " }
        guard numbers.count >= 2 else { return nil }
        return .init(ran: numbers[0], delayed: numbers[1], isRunnable: state == "R")
    }

    /// Where the thread is in the kernel, as lines for the log.
    func report(_ thread: UInt64) -> [String] {
        ["syscall", "wchan", "stack"].flatMap { name in
            (text(thread, name) ?? "not readable").split(separator: "\n").prefix(32)
                .map { "thread \(thread) \(name): \($0)" }
        }
    }

    private func text(_ thread: UInt64, _ name: String) -> String? {
        let fd = open("/proc/\(processID)/task/\(thread)/\(name)", O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return nil }
        let file = FileDescriptor(owning: fd)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(file.raw, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
