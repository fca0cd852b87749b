internal import CEdge
internal import EdgeCore
internal import Glibc

/// Descriptors that a service manager gives a program it starts (sd_listen_fds(3)): numbers from 3
/// on, named by `LISTEN_FDNAMES`. What they are is for the receiver to find out.
package enum InheritedDescriptors {
    package struct Named: Equatable, Sendable {
        package let descriptor: Int32
        /// As the manager says it; "unknown" if it does not.
        package let name: String

        package init(descriptor: Int32, name: String) {
            self.descriptor = descriptor
            self.name = name
        }
    }

    static let first: Int32 = 3
    /// More are not looked at, and stay open: no configuration has so many.
    static let countMax = 65_536

    /// Takes what was given to this process, once: the variables are removed, the descriptors are
    /// close-on-exec from now on. The caller owns them.
    ///
    /// To be called before anything else opens descriptors or starts threads.
    package static func take() -> [Named] {
        defer {
            for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        }
        let found = parse(
            processID: variable("LISTEN_PID"), count: variable("LISTEN_FDS"),
            names: variable("LISTEN_FDNAMES"), own: getpid())
        return found.filter { fcntl($0.descriptor, F_SETFD, FD_CLOEXEC) == 0 }
    }

    /// What the three variables say; nothing if they are meant for another process than `own`.
    package static func parse(
        processID: String?, count: String?, names: String?, own: Int32
    ) -> [Named] {
        guard let processID, Int32(processID) == own, let count, let number = Int(count),
            (1...countMax).contains(number)
        else { return [] }
        let words =
            names?.split(separator: ":", omittingEmptySubsequences: false).map(String.init) ?? []
        return (0..<number).map { index in
            Named(
                descriptor: first + Int32(index),
                name: words.count == number ? words[index] : "unknown")
        }
    }

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }
}
