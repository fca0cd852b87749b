package import EdgeCore

/// PROXY headers (proxy-protocol.txt) as a forwarder writes them, right or wrong. Not the product's
/// writer, so that one cannot hide the other's faults.
package enum ProxyHeaderBytes {
    package enum Command: UInt8, Sendable {
        case local = 0x20
        case proxy = 0x21
    }

    /// Version 1, section 2.1: a line.
    package static func version1(_ source: SocketAddress, _ destination: SocketAddress) -> [UInt8] {
        let family = source.isIPv4 ? "TCP4" : "TCP6"
        return Array(
            ("PROXY \(family) \(source.addressText) \(destination.addressText) "
                + "\(source.port) \(destination.port)\r\n").utf8)
    }

    /// Version 2, section 2.2.
    ///
    /// - Parameters:
    ///   - extensions: types and values.
    ///   - extra: further bytes that the length counts.
    package static func version2(
        _ source: SocketAddress, _ destination: SocketAddress, command: Command = .proxy,
        extensions: [(UInt8, [UInt8])] = [], extra: [UInt8] = []
    ) -> [UInt8] {
        var block = octets(source) + octets(destination)
        block += pair(Int(source.port)) + pair(Int(destination.port))
        for (type, value) in extensions { block += [type] + pair(value.count) + value }
        block += extra
        return head(command.rawValue, family: source.isIPv4 ? 0x11 : 0x21, count: block.count)
            + block
    }

    /// Version 2 of a forwarder that speaks for itself: without addresses.
    package static let local = head(Command.local.rawValue, family: 0, count: 0)

    /// The first 16 bytes of version 2.
    package static func head(_ command: UInt8, family: UInt8, count: Int) -> [UInt8] {
        [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, command, family]
            + pair(count)
    }

    private static func octets(_ address: SocketAddress) -> [UInt8] {
        let form = address.withKernelForm { pointer, count in
            let bytes = UnsafeRawBufferPointer(start: pointer, count: Int(count))
            return Array(bytes)
        }
        // `sockaddr_in` and `sockaddr_in6`: family, port, [flow label,] address.
        return Array(address.isIPv4 ? form[4..<8] : form[8..<24])
    }

    private static func pair(_ number: Int) -> [UInt8] {
        [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
    }
}
