internal import CEdge
internal import EdgeCore
internal import Glibc

/// Messages with descriptors over a Unix socket (SCM_RIGHTS).
package enum DescriptorPassing {
    /// Descriptors in one message. The kernel allows 253; a few dozen listeners fit in several.
    package static let descriptorsMax = 16

    /// What can happen to a send.
    package enum Sent: Equatable {
        case sent
        /// The socket's buffer is full: try again when it is writable.
        case wouldBlock
        /// The other end is closed.
        case closed
    }

    /// What a receive found.
    package enum Received {
        case message(bytes: [UInt8], descriptors: OwnedDescriptors)
        /// A message that was longer than allowed or carried too many descriptors; it has been
        /// taken from the socket and its descriptors are closed.
        case refused
        case wouldBlock
        case closed
    }

    /// Sends one message on a non-blocking socket; the descriptors stay the caller's.
    ///
    /// - Parameter path: for a socket of datagrams, whom it goes to; nil if it is connected.
    /// - Throws: what the kernel says otherwise (EMFILE/ETOOMANYREFS: too many in flight).
    package static func send(
        _ fd: Int32, bytes: [UInt8], descriptors: [Int32] = [], to path: String? = nil
    ) throws(SystemError) -> Sent {
        invariant(!bytes.isEmpty, "an empty message would look like the end")
        invariant(descriptors.count <= descriptorsMax, "more descriptors than a message carries")
        let controlBytes = descriptors.isEmpty ? 0 : ce_cmsg_space(descriptors.count * 4)
        var payload = bytes
        // 8-byte cells: control messages must be aligned.
        var control = [UInt64](repeating: 0, count: (controlBytes + 7) / 8)
        let result = payload.withUnsafeMutableBytes { payload in
            control.withUnsafeMutableBytes { control in
                var vector = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
                return withUnsafeMutablePointer(to: &vector) { vector in
                    var header = msghdr()
                    header.msg_iov = vector
                    header.msg_iovlen = 1
                    if controlBytes > 0 {
                        header.msg_control = control.baseAddress
                        header.msg_controllen = controlBytes
                        ce_cmsg_put_fds(&header, descriptors, descriptors.count)
                    }
                    return transmit(fd, &header, to: path)
                }
            }
        }
        guard result < 0 else { return .sent }
        switch errno {
        case EAGAIN, ENOBUFS: return .wouldBlock
        case EPIPE, ECONNRESET, ENOTCONN: return .closed
        default: throw SystemError(errnoOf: "sendmsg")
        }
    }

    private static func transmit(_ fd: Int32, _ header: inout msghdr, to path: String?) -> Int {
        let flags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)
        guard let path else { return retryingInterrupts { sendmsg(fd, &header, flags) } }
        return UnixSocket.withAddress(path) { address, length in
            header.msg_name = UnsafeMutableRawPointer(mutating: address)
            header.msg_namelen = length
            return retryingInterrupts { sendmsg(fd, &header, flags) }
        }
    }

    /// Receives one message of at most `byteCountMax` bytes; its descriptors are close-on-exec.
    ///
    /// - Throws: what the kernel says otherwise.
    package static func receive(
        _ fd: Int32, byteCountMax: Int
    ) throws(SystemError) -> Received {
        var payload = [UInt8](repeating: 0, count: byteCountMax)
        let controlBytes = ce_cmsg_space(descriptorsMax * 4)
        var control = [UInt64](repeating: 0, count: (controlBytes + 7) / 8)
        var numbers = [Int32](repeating: -1, count: descriptorsMax)
        var arrived = 0
        var flags: Int32 = 0
        let result = payload.withUnsafeMutableBytes { payload in
            control.withUnsafeMutableBytes { control in
                var vector = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
                return withUnsafeMutablePointer(to: &vector) { vector in
                    var header = msghdr()
                    header.msg_iov = vector
                    header.msg_iovlen = 1
                    header.msg_control = control.baseAddress
                    header.msg_controllen = controlBytes
                    let count = retryingInterrupts {
                        recvmsg(
                            fd, &header,
                            Int32(MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
                    }
                    if count >= 0 {
                        arrived = ce_cmsg_get_fds(&header, &numbers, descriptorsMax)
                        flags = header.msg_flags
                    }
                    return count
                }
            }
        }
        if result < 0 {
            switch errno {
            case EAGAIN: return .wouldBlock
            case ECONNRESET: return .closed
            default: throw SystemError(errnoOf: "recvmsg")
            }
        }
        let descriptors = OwnedDescriptors(Array(numbers.prefix(arrived)))
        if flags & Int32(MSG_TRUNC | MSG_CTRUNC) != 0 { return .refused }
        if result == 0 { return .closed }
        return .message(bytes: Array(payload.prefix(result)), descriptors: descriptors)
    }
}

/// Repeats a call that a signal interrupted.
func retryingInterrupts(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result < 0, errno == EINTR { continue }
        return result
    }
}
