internal import CEdge
internal import EdgeCore
internal import Glibc

/// A listening Unix stream socket at a path, such as the admin socket: mode 0660, for its owner
/// and a group. Removes the path when it is closed.
package final class UnixListener {
    package let path: String
    /// Owned here; non-blocking and close-on-exec.
    package let socket: Int32

    private static let backlog: Int32 = 64
    /// Bytes of a path with its closing zero (sockaddr_un).
    private static let pathBytesMax = 108

    /// Binds and listens. A socket file that nobody answers on is left over and is replaced; the
    /// folder is made (0755) if it is missing and its parent exists.
    ///
    /// - Parameter group: name of the group that may connect besides the owner.
    /// - Throws: the path with EADDRINUSE if somebody answers there, ENAMETOOLONG, EACCES …
    package init(path: String, group: String?) throws(SystemError) {
        guard path.utf8.count < Self.pathBytesMax else {
            throw SystemError(
                "bind", code: ENAMETOOLONG, subject: path,
                hint: "a socket's path has at most \(Self.pathBytesMax - 1) bytes")
        }
        Self.makeFolder(of: path)
        let fd = try Self.makeSocket()
        try Self.removeStale(path)
        // 0660 from the first moment: the file must not be open to others until chmod.
        let mask = umask(0o117)
        let bound = UnixSocket.withAddress(path) { bind(fd.raw, $0, $1) }
        umask(mask)
        guard bound == 0 else {
            throw SystemError(
                errnoOf: "bind", subject: path,
                hint: errno == EACCES || errno == ENOENT ? "the folder must exist and be ours" : nil
            )
        }
        if let group { try Self.setGroup(path, group) }
        guard listen(fd.raw, Self.backlog) == 0 else {
            throw SystemError(errnoOf: "listen", subject: path)
        }
        self.path = path
        socket = fd.release()
    }

    /// Takes over what this process had as another program.
    package init(resuming path: String, socket: Int32) {
        self.path = path
        self.socket = socket
    }

    deinit {
        Glibc.close(socket)
        unlink(path)
    }

    /// The next connection, non-blocking and close-on-exec; nil if there is none now or accepting
    /// failed in a way that passes (EMFILE, ECONNABORTED).
    package func accept() -> FileDescriptor? { UnixSocket.accept(socket) }

    private static func makeSocket() throws(SystemError) -> FileDescriptor {
        let kind =
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        let fd = Glibc.socket(AF_UNIX, kind, 0)
        guard fd >= 0 else { throw SystemError(errnoOf: "socket") }
        return FileDescriptor(owning: fd)
    }

    private static func makeFolder(of path: String) {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
        // Failures show when the socket is bound.
        if mkdir(String(path[..<slash]), 0o755) == 0 { chmod(String(path[..<slash]), 0o755) }
    }

    private static func removeStale(_ path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw SystemError(
                "bind", code: EEXIST, subject: path, hint: "it is not a socket: remove it")
        }
        let probe = try makeSocket()
        let answer = UnixSocket.withAddress(path) { connect(probe.raw, $0, $1) }
        // EAGAIN: its backlog is full, so somebody lives there.
        if answer == 0 || errno == EAGAIN || errno == EINPROGRESS {
            throw SystemError(
                "bind", code: EADDRINUSE, subject: path, hint: "another edged answers there")
        }
        guard errno == ECONNREFUSED else {
            throw SystemError(errnoOf: "connect", subject: path)
        }
        unlink(path)
    }

    private static func setGroup(_ path: String, _ name: String) throws(SystemError) {
        guard let group = getgrnam(name) else {
            throw SystemError(
                "getgrnam", code: 0, subject: name, hint: "no such group: groupadd -r \(name)")
        }
        guard chown(path, uid_t.max, group.pointee.gr_gid) == 0 else {
            throw SystemError(
                errnoOf: "chown", subject: path, hint: "only root or a member of \(name) may")
        }
    }
}

/// Connections of Unix stream sockets.
package enum UnixSocket {
    /// Who is at the other end, as the kernel knows it.
    package struct Peer: Equatable, Sendable {
        package let processID: Int32
        package let userID: UInt32
        package let groupID: UInt32
    }

    package static func accept(_ listener: Int32) -> FileDescriptor? {
        let flags = Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let fd = ce_accept4(listener, nil, nil, flags)
        return fd >= 0 ? FileDescriptor(owning: fd) : nil
    }

    /// - Throws: ENOTCONN, ENOTSOCK.
    package static func peer(_ fd: Int32) throws(SystemError) -> Peer {
        var credentials = ce_ucred()
        var length = socklen_t(MemoryLayout<ce_ucred>.size)
        guard getsockopt(fd, SOL_SOCKET, CE_SO_PEERCRED, &credentials, &length) == 0 else {
            throw SystemError(errnoOf: "getsockopt(SO_PEERCRED)")
        }
        return Peer(
            processID: credentials.pid, userID: credentials.uid, groupID: credentials.gid)
    }

    /// Calls `body` with the address of a path; a leading `@` names the abstract namespace.
    static func withAddress<Result>(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8.prefix(MemoryLayout.size(ofValue: address.sun_path) - 1))
        let isAbstract = name.first == UInt8(ascii: "@")
        if isAbstract { name[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let length = MemoryLayout<sa_family_t>.size + name.count + (isAbstract ? 0 : 1)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
        }
    }
}
