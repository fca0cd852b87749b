internal import CEdge
internal import Glibc

/// A socket to the kernel's rtnetlink(7): for requests, which the kernel answers before the call
/// that sends them returns, or for events. One thread.
package final class NetlinkSocket {
    private let socket: FileDescriptor
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: 65536)

    /// Answers to one request; a kernel that never says that it is done is not to hang us.
    private static let messagesMax = 4096
    /// Events of some ten thousand changes at once, of links or addresses; the kernel takes the
    /// memory when they come.
    private static let receiveBuffer: Int32 = 4 << 20

    /// What is listened to.
    package struct Groups: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }

        package static let links = Groups(rawValue: 0x1)
        package static let addressesIPv4 = Groups(rawValue: 0x10)
        package static let addressesIPv6 = Groups(rawValue: 0x100)
    }

    /// - Parameter groups: events that it gets; none: it is for requests.
    /// - Throws: what socket(2) or bind(2) says.
    package init(groups: Groups = []) throws(SystemError) {
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let fd = Glibc.socket(Int32(AF_NETLINK), kind, Int32(NETLINK_ROUTE))
        guard fd >= 0 else { throw SystemError(errnoOf: "socket(AF_NETLINK)") }
        socket = FileDescriptor(owning: fd)
        // Kernels that do not know them do without: errors are less wordy, dumps are not filtered.
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] {
            var one: Int32 = 1
            setsockopt(fd, CE_SOL_NETLINK, Int32(option), &one, 4)
        }
        guard groups.isEmpty else {
            try listen(groups)
            return
        }
        // The answer is there when the request has been sent; this is for a kernel that is broken.
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(
            fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    /// One whose other end is not the kernel.
    package init(adopting socket: consuming FileDescriptor) { self.socket = socket }

    /// For poll; do not close it.
    package var descriptor: Int32 { socket.raw }

    private func listen(_ groups: Groups) throws(SystemError) {
        try Descriptor.setNonBlocking(socket.raw)
        // Beyond the limit if we may; without the right as much as anybody.
        var size = Self.receiveBuffer
        for option in [SO_RCVBUF, SO_RCVBUFFORCE] {
            setsockopt(socket.raw, SOL_SOCKET, option, &size, 4)
        }
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_groups = groups.rawValue
        let addressSize = socklen_t(MemoryLayout<sockaddr_nl>.size)
        let result = withUnsafeBytes(of: &address) { raw in
            raw.baseAddress.map {
                bind(socket.raw, $0.assumingMemoryBound(to: sockaddr.self), addressSize)
            } ?? -1
        }
        guard result == 0 else { throw SystemError(errnoOf: "bind(AF_NETLINK)") }
    }

    // MARK: - Requests

    /// Has the kernel do something.
    ///
    /// - Parameter subject: what it is done to, for the error.
    /// - Throws: the kernel's refusal, its words as the hint.
    package func perform(
        _ message: NetlinkMessage, _ call: String, subject: String? = nil
    ) throws(SystemError) {
        try exchange(message, flags: UInt16(NLM_F_ACK), call, subject) { _, _ in }
    }

    /// Asks for all of something (NLM_F_DUMP) and calls `body` with each answer's type and what
    /// follows its head.
    ///
    /// - Throws: the kernel's refusal; EINTR if what was listed changed meanwhile: ask again.
    package func dump(
        _ message: NetlinkMessage, _ call: String, _ body: (UInt16, Span<UInt8>) -> Void
    ) throws(SystemError) {
        try exchange(message, flags: UInt16(NLM_F_ROOT) | UInt16(NLM_F_MATCH), call, nil, body)
    }

    private func exchange(
        _ request: NetlinkMessage, flags: UInt16, _ call: String, _ subject: String?,
        _ body: (UInt16, Span<UInt8>) -> Void
    ) throws(SystemError) {
        sequence &+= 1
        let request = request.adding(flags: flags, sequence: sequence)
        guard send(socket.raw, request.bytes, request.bytes.count, 0) == request.bytes.count else {
            throw SystemError(errnoOf: call, subject: subject)
        }
        var isInterrupted = false
        for _ in 0..<Self.messagesMax {
            let count = recv(socket.raw, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError(errnoOf: call, subject: subject) }
            var isDone = false
            let expected = sequence
            let received = Array(buffer[..<count])
            try NetlinkReader.forEachMessage(received.span) {
                (header, bytes) throws(SystemError) in
                // An earlier request's, which nobody waits for any more.
                guard header.sequence == expected else { return true }
                isInterrupted = isInterrupted || header.isInterrupted
                switch Int32(header.type) {
                case NLMSG_DONE:
                    isDone = true
                    // A list may end because the kernel could not go on with it.
                    let (code, _) = NetlinkReader.verdict(bytes)
                    guard code <= 0 || bytes.count < 4 else {
                        throw SystemError(call, code: code, subject: subject)
                    }
                case NLMSG_ERROR:
                    isDone = true
                    let (code, said) = NetlinkReader.verdict(bytes)
                    guard code == 0 else {
                        throw SystemError(call, code: code, subject: subject, hint: said)
                    }
                default: body(header.type, bytes)
                }
                return !isDone
            }
            guard isDone else { continue }
            guard !isInterrupted else { throw SystemError(call, code: EINTR, subject: subject) }
            return
        }
        throw SystemError(call, code: EPROTO, subject: subject)
    }

    // MARK: - Events

    /// What has come, at most `max` datagrams.
    package enum Batch {
        /// Nothing more is there at the moment.
        case empty
        /// There may be more.
        case more
        /// The kernel had no room for some: everything is to be read anew.
        case overflow
    }

    /// Calls `body` with each event's type and what follows its head.
    ///
    /// - Parameter max: datagrams to be read; the rest stays for the next call.
    /// - Throws: what recv(2) says, but EAGAIN and ENOBUFS.
    package func receive(
        max: Int = 64, _ body: (UInt16, Span<UInt8>) -> Void
    ) throws(SystemError) -> Batch {
        for _ in 0..<max {
            let count = recv(socket.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count >= 0 else {
                switch errno {
                case EAGAIN: return .empty
                case EINTR: continue
                case ENOBUFS: return .overflow
                default: throw SystemError(errnoOf: "recv(AF_NETLINK)")
                }
            }
            let received = Array(buffer[..<count])
            NetlinkReader.forEachMessage(received.span) { header, bytes in
                body(header.type, bytes)
                return true
            }
        }
        return .more
    }
}

extension NetlinkMessage {
    fileprivate func adding(flags: UInt16, sequence: UInt32) -> NetlinkMessage {
        var copy = self
        copy.flags |= flags
        copy.sequence = sequence
        return copy
    }
}
