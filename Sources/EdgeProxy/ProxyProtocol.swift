internal import EdgeCore

/// The PROXY protocol, version 2, as it is sent to upstreams: who the client is, in front of the
/// first byte of a connection (HAProxy's proxy-protocol.txt, section 2.2).
enum ProxyProtocol {
    /// With IPv6 addresses and without extensions.
    static let headerBytesMax = 52

    private static let signature: InlineArray<12, UInt8> = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    /// Writes the header of a TCP connection from `source` to `destination`. If only one of them is
    /// IPv4, both are written as IPv6.
    ///
    /// - Parameter bytes: at least `headerBytesMax`.
    /// - Returns: bytes written.
    static func write(
        from source: SocketAddress, to destination: SocketAddress,
        into bytes: UnsafeMutableRawPointer
    ) -> Int {
        for index in signature.indices {
            bytes.storeBytes(of: signature[index], toByteOffset: index, as: UInt8.self)
        }
        // Version 2, command PROXY.
        bytes.storeBytes(of: 0x21, toByteOffset: 12, as: UInt8.self)
        let isIPv4 = source.isIPv4 && destination.isIPv4
        // AF_INET or AF_INET6, STREAM.
        bytes.storeBytes(of: isIPv4 ? 0x11 : 0x21, toByteOffset: 13, as: UInt8.self)
        let count = isIPv4 ? 12 : 36
        bytes.storeBytes(of: UInt16(count).bigEndian, toByteOffset: 14, as: UInt16.self)
        var offset = 16
        for address in [source, destination] {
            if isIPv4 {
                bytes.storeBytes(of: address.ipv4.bigEndian, toByteOffset: offset, as: UInt32.self)
                offset += 4
            } else {
                bytes.storeBytes(of: address.high.bigEndian, toByteOffset: offset, as: UInt64.self)
                bytes.storeBytes(
                    of: address.low.bigEndian, toByteOffset: offset + 8, as: UInt64.self)
                offset += 16
            }
        }
        bytes.storeBytes(of: source.port.bigEndian, toByteOffset: offset, as: UInt16.self)
        bytes.storeBytes(of: destination.port.bigEndian, toByteOffset: offset + 2, as: UInt16.self)
        return offset + 4
    }
}
