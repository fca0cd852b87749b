internal import CEdge
package import EdgeSystem
internal import Glibc

/// Sends whole Ethernet frames (packet(7)): past routes, neighbour tables and the state of our own
/// addresses. It receives nothing.
package final class PacketSocket {
    private let socket: FileDescriptor

    /// - Throws: EPERM without CAP_NET_RAW.
    package init() throws(SystemError) {
        let kind =
            Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        // Protocol 0: no frame is ever queued for us.
        let fd = Glibc.socket(Int32(AF_PACKET), kind, 0)
        guard fd >= 0 else { throw SystemError(errnoOf: "socket(AF_PACKET)") }
        socket = FileDescriptor(owning: fd)
        // Before ordinary traffic in the interface's queue (TC_PRIO_CONTROL).
        var priority: Int32 = 7
        setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, 4)
    }

    /// - Parameter index: of the interface that it leaves by.
    /// - Throws: ENETDOWN, ENXIO if there is no such interface, EAGAIN or ENOBUFS if its queue is
    ///   full.
    package func send(_ frame: [UInt8], on index: Int32) throws(SystemError) {
        // struct sockaddr_ll: family, protocol (as in the frame), index; the rest is not looked at.
        var address = [UInt8](repeating: 0, count: 20)
        address.withUnsafeMutableBytes {
            $0.storeBytes(of: UInt16(AF_PACKET), as: UInt16.self)
            $0.storeBytes(of: index, toByteOffset: 4, as: Int32.self)
        }
        address[2] = frame.count > 13 ? frame[12] : 0
        address[3] = frame.count > 13 ? frame[13] : 0
        let count = address.withUnsafeBytes { raw -> Int in
            guard let start = raw.baseAddress else { return -1 }
            return frame.withUnsafeBytes {
                sendto(
                    socket.raw, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT),
                    start.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
            }
        }
        guard count == frame.count else {
            throw SystemError(errnoOf: "send(AF_PACKET)", subject: "interface \(index)")
        }
    }
}
