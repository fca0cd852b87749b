internal import Glibc

/// A system call that failed: which, on what, the kernel's number and what to do about it.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    /// The call's name, as in its manual page.
    package let call: String
    /// The kernel's error number; 0 if the kernel was content and we are not.
    package let code: Int32
    /// What it was done to: an address, a path, a user; nil if there is nothing to say.
    package let subject: String?
    /// What the operator can do; nil if nothing sensible is known.
    package let hint: String?

    package init(_ call: String, code: Int32, subject: String? = nil, hint: String? = nil) {
        self.call = call
        self.code = code
        self.subject = subject
        self.hint = hint
    }

    /// Of the call that failed just now: reads `errno`.
    package init(errnoOf call: String, subject: String? = nil, hint: String? = nil) {
        self.init(call, code: errno, subject: subject, hint: hint)
    }

    package var name: String { errorName(code) }

    /// `bind 0.0.0.0:443: EACCES (hint)`.
    package var description: String {
        var text = call
        if let subject { text += " \(subject)" }
        if code != 0 { text += ": \(name)" }
        if let hint { text += " (\(hint))" }
        return text
    }

    package func with(hint: String?) -> SystemError {
        SystemError(call, code: code, subject: subject, hint: hint)
    }
}

/// `EACCES` for 13. Numbers that no call of ours is known to return keep their number.
package func errorName(_ code: Int32) -> String {
    let names: [Int32: String] = [
        EPERM: "EPERM", ENOENT: "ENOENT", ESRCH: "ESRCH", EINTR: "EINTR", EIO: "EIO",
        EBADF: "EBADF", ECHILD: "ECHILD", EAGAIN: "EAGAIN", ENOMEM: "ENOMEM", EACCES: "EACCES",
        EFAULT: "EFAULT", EBUSY: "EBUSY", EEXIST: "EEXIST", ENOTDIR: "ENOTDIR",
        EISDIR: "EISDIR", EINVAL: "EINVAL", ENFILE: "ENFILE", EMFILE: "EMFILE", EFBIG: "EFBIG",
        ENOSPC: "ENOSPC", EROFS: "EROFS", EPIPE: "EPIPE", ENAMETOOLONG: "ENAMETOOLONG",
        ENOSYS: "ENOSYS", ENOTEMPTY: "ENOTEMPTY", ELOOP: "ELOOP", EPROTO: "EPROTO",
        EMSGSIZE: "EMSGSIZE", ENOTSOCK: "ENOTSOCK", EOPNOTSUPP: "EOPNOTSUPP",
        EAFNOSUPPORT: "EAFNOSUPPORT", EADDRINUSE: "EADDRINUSE", EADDRNOTAVAIL: "EADDRNOTAVAIL",
        ENETDOWN: "ENETDOWN", ENETUNREACH: "ENETUNREACH", ECONNABORTED: "ECONNABORTED",
        ECONNRESET: "ECONNRESET", ENOBUFS: "ENOBUFS", EISCONN: "EISCONN", ENOTCONN: "ENOTCONN",
        ETIMEDOUT: "ETIMEDOUT", ECONNREFUSED: "ECONNREFUSED", EHOSTUNREACH: "EHOSTUNREACH",
        EALREADY: "EALREADY", EINPROGRESS: "EINPROGRESS", ECANCELED: "ECANCELED",
    ]
    return names[code] ?? "errno \(code)"
}
