internal import CEdge

/// A change that the kernel has told.
package enum NetworkEvent: Sendable, Equatable {
    /// New, or something of it changed.
    case link(NetworkLink)
    case linkGone(index: Int32)
    case address(InterfaceAddress)
    case addressGone(InterfaceAddress)
    /// Some changes were lost: everything is to be read anew.
    case overflow

    /// - Parameters:
    ///   - type: `RTM_…`.
    ///   - bytes: what follows a message's head.
    package init?(type: UInt16, _ bytes: Span<UInt8>) {
        switch type {
        case UInt16(RTM_NEWLINK):
            guard let link = NetworkLink(message: bytes) else { return nil }
            self = .link(link)
        case UInt16(RTM_DELLINK):
            // One that leaves a bridge is told with the bridge's family, and is still there.
            guard let link = NetworkLink(message: bytes) else { return nil }
            self = .linkGone(index: link.interface.index)
        case UInt16(RTM_NEWADDR):
            guard let address = InterfaceAddress(message: bytes) else { return nil }
            self = .address(address)
        case UInt16(RTM_DELADDR):
            guard let address = InterfaceAddress(message: bytes) else { return nil }
            self = .addressGone(address)
        default: return nil
        }
    }
}

/// Tells a loop of interfaces and addresses that come, go and change (RTMGRP_LINK and the
/// addresses' groups), within the millisecond.
package final class NetworkWatch {
    private let socket: NetlinkSocket
    private let loop: PollLoop

    /// Begins at once: read what there is afterwards, so that nothing is missed in between.
    ///
    /// - Parameter handler: on the loop's thread.
    package init(
        loop: PollLoop, _ handler: @escaping (NetworkEvent) -> Void
    ) throws(SystemError) {
        let socket = try NetlinkSocket(groups: [.links, .addressesIPv4, .addressesIPv6])
        self.socket = socket
        self.loop = loop
        try loop.watch(socket.descriptor, events: .readable) { _ in
            Self.read(socket, handler)
        }
    }

    deinit { loop.unwatch(socket.descriptor) }

    private static func read(
        _ socket: NetlinkSocket, _ handler: (NetworkEvent) -> Void
    ) {
        do throws(SystemError) {
            let batch = try socket.receive { type, bytes in
                if let event = NetworkEvent(type: type, bytes) { handler(event) }
            }
            switch batch {
            case .empty, .more: break
            case .overflow: handler(.overflow)
            }
        } catch {
            // The socket is the kernel's end of nothing that can fail; whatever it was, what we
            // know may be old.
            handler(.overflow)
        }
    }
}
