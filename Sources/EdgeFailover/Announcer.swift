package import EdgeCore
package import EdgeSystem

/// Tells networks where virtual addresses are now. How often is the election's to say: a switch or
/// a neighbour may have missed the first time, and who lost the addresses may have been the last
/// to speak. One thread.
package final class Announcer {
    /// Where an address is announced, and as whose.
    package struct Place: Sendable, Hashable {
        package let index: Int32
        package let name: String
        /// Six bytes; nothing is announced where there are none.
        package let hardwareAddress: [UInt8]

        package init(index: Int32, name: String, hardwareAddress: [UInt8]) {
            self.index = index
            self.name = name
            self.hardwareAddress = hardwareAddress
        }
    }

    package struct Figures: Sendable, Equatable {
        /// Frames.
        package var sent: UInt64 = 0
        package var failures: UInt64 = 0
        package var lastFailure: SystemError?

        package init() {}
    }

    package private(set) var figures = Figures()

    private let socket: PacketSocket

    package init(socket: PacketSocket) { self.socket = socket }

    /// Sends what there is to be said of every address, once.
    package func announce(_ addresses: [SocketAddress], at place: Place) {
        // As the kernel's own advertisements say.
        let isRouter =
            addresses.contains { !$0.isIPv4 }
            && KernelSetting.isSet("net/ipv6/conf/\(place.name)/forwarding")
        for address in addresses {
            let frames = AnnouncementFrame.all(
                for: address, hardwareAddress: place.hardwareAddress, isRouter: isRouter)
            for frame in frames { send(frame, place.index) }
        }
    }

    private func send(_ frame: [UInt8], _ index: Int32) {
        do throws(SystemError) {
            try socket.send(frame, on: index)
            figures.sent += 1
        } catch {
            figures.failures += 1
            figures.lastFailure = error
        }
    }
}
