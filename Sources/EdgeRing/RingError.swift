internal import CEdge
internal import EdgeCore
internal import Glibc

/// Why the ring can't be used. The text says what is missing and what to change; the process ends
/// with exit code 71 (an operating system facility is missing).
public enum RingError: Error, Equatable, CustomStringConvertible {
    /// io_uring_setup is not there: a kernel before 5.1, or a seccomp profile that hides it.
    case noSystemCall
    /// io_uring_setup is forbidden by `kernel.io_uring_disabled` (value given) or by seccomp.
    case forbidden(sysctl: Int?)
    /// The kernel is older than 6.1: it does not know the set-up flags or provided buffers.
    case kernelTooOld(what: String, release: String)
    /// Operations that the kernel does not have or a policy removed.
    case operationsMissing([String])
    case noMemory
    case unexpected(call: String, errno: Int32)

    public var description: String {
        switch self {
        case .noSystemCall:
            "io_uring is missing (ENOSYS): the kernel lacks it, or a seccomp profile hides "
                + "io_uring_setup, io_uring_enter and io_uring_register (containers: allow these "
                + "three in the profile); edged needs Linux 6.1 or newer"
        case .forbidden(let sysctl):
            if let sysctl, sysctl != 0 {
                "io_uring is forbidden (EPERM): kernel.io_uring_disabled is \(sysctl) "
                    + "(sysctl -w kernel.io_uring_disabled=0)"
            } else {
                "io_uring is forbidden (EPERM) by a seccomp profile or security module "
                    + "(containers: allow io_uring_setup, io_uring_enter, io_uring_register)"
            }
        case .kernelTooOld(let what, let release):
            "the kernel (\(release)) does not support \(what); edged needs Linux 6.1 or newer"
        case .operationsMissing(let names):
            "the kernel refuses the io_uring operations \(names.joined(separator: ", ")) "
                + "(EOPNOTSUPP); edged needs Linux 6.1 or newer, and no policy against them"
        case .noMemory:
            "no memory for an io_uring (ENOMEM): raise the memory limit, or RLIMIT_MEMLOCK "
                + "(systemd: LimitMEMLOCK=)"
        case .unexpected(let call, let number):
            "\(call) failed: \(String(cString: strerror(number))) (errno \(number))"
        }
    }

    /// Names the case for an errno of io_uring_setup or io_uring_register.
    static func from(errno number: Int32, call: String, needs what: String) -> RingError {
        switch number {
        case ENOSYS: .noSystemCall
        case EPERM, EACCES: .forbidden(sysctl: disabledSysctl())
        case EINVAL: .kernelTooOld(what: what, release: kernelRelease())
        case ENOMEM, EMFILE, ENFILE: .noMemory
        default: .unexpected(call: call, errno: number)
        }
    }

    private static func disabledSysctl() -> Int? {
        let descriptor = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var byte: UInt8 = 0
        guard read(descriptor, &byte, 1) == 1, (0x30...0x39).contains(byte) else { return nil }
        return Int(byte - 0x30)
    }

    private static func kernelRelease() -> String {
        var names = utsname()
        guard uname(&names) == 0 else { return "unknown" }
        return withUnsafeBytes(of: &names.release) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
