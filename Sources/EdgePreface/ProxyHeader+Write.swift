package import EdgeCore

/// Version 2, as it is sent to upstreams (proxy-protocol.txt, section 2.2).
extension ProxyHeader {
    /// Room for a header with IPv6 addresses and without extensions.
    package typealias Storage = InlineArray<52, UInt8>

    /// Of a connection that is nobody's, such as a health check: command LOCAL, no addresses.
    package static let local: [UInt8] =
        signature.indices.map { signature[$0] } + [0x20, 0x00, 0x00, 0x00]

    /// Writes the header of a TCP connection from `source` to `destination`. If only one of them is
    /// IPv4, both are written as IPv6.
    ///
    /// - Returns: bytes written.
    package static func write(
        from source: SocketAddress, to destination: SocketAddress, into storage: inout Storage
    ) -> Int {
        var bytes = storage.mutableSpan
        return write(from: source, to: destination, authority: Span(), into: &bytes)
    }

    /// As above, with the name that the client asked for (PP2_TYPE_AUTHORITY).
    ///
    /// - Parameters:
    ///   - authority: at most 255 bytes; none: it is not said.
    ///   - bytes: at least 55 bytes more than `authority` has.
    /// - Returns: bytes written.
    package static func write(
        from source: SocketAddress, to destination: SocketAddress, authority: Span<UInt8>,
        into bytes: inout MutableSpan<UInt8>
    ) -> Int {
        precondition(authority.count <= 255, "names are bounded")
        let isIPv4 = source.isIPv4 && destination.isIPv4
        let length = (isIPv4 ? 12 : 36) + (authority.isEmpty ? 0 : 3 + authority.count)
        var end = 0
        for index in signature.indices { append(signature[index], to: &bytes, &end) }
        // Version 2, command PROXY; AF_INET or AF_INET6, STREAM.
        append(0x21 as UInt8, to: &bytes, &end)
        append(isIPv4 ? 0x11 : 0x21 as UInt8, to: &bytes, &end)
        append(UInt16(length), to: &bytes, &end)
        if isIPv4 {
            append(source.ipv4, to: &bytes, &end)
            append(destination.ipv4, to: &bytes, &end)
        } else {
            append(source.high, to: &bytes, &end)
            append(source.low, to: &bytes, &end)
            append(destination.high, to: &bytes, &end)
            append(destination.low, to: &bytes, &end)
        }
        append(source.port, to: &bytes, &end)
        append(destination.port, to: &bytes, &end)
        guard !authority.isEmpty else { return end }
        append(0x02 as UInt8, to: &bytes, &end)
        append(UInt16(authority.count), to: &bytes, &end)
        for index in 0..<authority.count { append(authority[index], to: &bytes, &end) }
        return end
    }

    /// In network order.
    private static func append(
        _ number: some FixedWidthInteger, to bytes: inout MutableSpan<UInt8>, _ end: inout Int
    ) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            bytes[end] = UInt8(truncatingIfNeeded: number >> shift)
            end += 1
        }
    }
}
