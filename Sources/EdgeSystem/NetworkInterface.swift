/// A network interface of this machine, as the kernel lists it at the moment.
package struct NetworkInterface: Sendable, Equatable {
    /// The kernel's number; a name that goes and comes back has another.
    package let index: Int32
    package let name: String
    /// Of the interface that this one is made upon, if that is in the same namespace; 0: none.
    package let parent: Int32
    /// `macvlan`, `wireguard`, …; empty for hardware.
    package let kind: String

    package init(index: Int32, name: String, parent: Int32 = 0, kind: String = "") {
        self.index = index
        self.name = name
        self.parent = parent
        self.kind = kind
    }

    /// The name with zeros behind it, as the kernel compares names (IFNAMSIZ).
    package var nameBytes: SIMD16<UInt8> {
        var bytes = SIMD16<UInt8>()
        for (index, byte) in name.utf8.prefix(15).enumerated() { bytes[index] = byte }
        return bytes
    }

    /// All of them, in the kernel's order (RTM_GETLINK, rtnetlink(7)). Takes some 100 µs.
    package static func readAll() throws(SystemError) -> [NetworkInterface] {
        try NetworkLink.readAll(NetlinkSocket()).map(\.interface)
    }
}
