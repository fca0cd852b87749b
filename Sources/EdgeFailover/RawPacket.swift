internal import CEdge
package import EdgeCore
internal import EdgeSystem
internal import Glibc

/// One received packet, with what the kernel tells of it beside its bytes.
package struct RawPacket: Sendable {
    /// IPv4 on a raw socket: with the IP header; otherwise the payload.
    package let bytes: [UInt8]
    package let source: SocketAddress
    /// Where it was sent to; nil where the socket does not ask for that.
    package let destination: SocketAddress?
    /// IPv6 only.
    package let hopLimit: UInt8?
    /// Of the interface it came in on; 0: not known.
    package let interface: Int32
    package let receivedAt: Instant
    /// It was longer than the buffer.
    package let isCut: Bool
}

/// Reads packets from one socket, a bounded number per call.
struct PacketReader {
    private var clock: ReceiveClock
    private var buffer: [UInt8]

    /// - Parameter byteCountMax: of a packet; what is longer is cut.
    init(byteCountMax: Int) {
        buffer = [UInt8](repeating: 0, count: byteCountMax)
        clock = ReceiveClock(.read())
    }

    /// Stamps that were of no use.
    var clockJumps: UInt64 { clock.jumps }

    /// - Returns: false if there is nothing more at the moment.
    mutating func read(_ fd: Int32, max: Int, _ body: (RawPacket) -> Void) -> Bool {
        let reading = clock.beginReading(.read())
        for _ in 0..<max {
            var told = ce_packet()
            let count = ce_receive_packet(fd, &buffer, buffer.count, &told)
            guard count >= 0 else {
                // ENETDOWN and such are told once per event; reading goes on.
                guard errno == EAGAIN else { continue }
                clock.endReading(reading, isEmpty: true)
                return false
            }
            if let packet = Self.packet(told, buffer[..<count], reading) { body(packet) }
        }
        clock.endReading(reading, isEmpty: false)
        return true
    }

    private static func packet(
        _ told: ce_packet, _ bytes: ArraySlice<UInt8>, _ reading: ReceiveClock.Reading
    ) -> RawPacket? {
        var told = told
        let source = withUnsafeBytes(of: &told.source) { raw in
            raw.baseAddress.flatMap {
                SocketAddress(kernel: $0, byteCount: Int(told.source_count))
            }
        }
        guard let source else { return nil }
        let destination: SocketAddress? = withUnsafeBytes(of: &told.destination) { raw in
            switch told.destination_count {
            case 4:
                SocketAddress(
                    ipv4: UInt32(bigEndian: raw.loadUnaligned(as: UInt32.self)), port: 0)
            case 16:
                SocketAddress(
                    ipv6High: UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self)),
                    low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    port: 0)
            default: nil
            }
        }
        return RawPacket(
            bytes: Array(bytes), source: source, destination: destination,
            hopLimit: (0...255).contains(told.hop_limit) ? UInt8(told.hop_limit) : nil,
            interface: told.interface, receivedAt: reading.arrival(stamp: told.stamp),
            isCut: told.is_cut != 0)
    }
}

/// Sends one packet from an address of an interface.
///
/// - Parameter index: 0: whichever leads there.
/// - Returns: 0, or the kernel's error number.
func sendPacket(
    _ fd: Int32, _ bytes: [UInt8], from source: SocketAddress, to destination: SocketAddress,
    index: Int32
) -> Int32 {
    withUnsafeTemporaryAllocation(byteCount: 28 + 16, alignment: 8) { raw in
        guard let start = raw.baseAddress else { return ENOMEM }
        destination.write(to: start)
        if source.isIPv4 {
            start.storeBytes(of: source.ipv4.bigEndian, toByteOffset: 28, as: UInt32.self)
        } else {
            // 28 is no multiple of eight.
            withUnsafeBytes(of: (source.high.bigEndian, source.low.bigEndian)) {
                UnsafeMutableRawBufferPointer(rebasing: raw[28...]).copyMemory(from: $0)
            }
        }
        let count = ce_send_packet(
            fd, bytes, bytes.count, start, UInt32(destination.kernelByteCount),
            (start + 28).assumingMemoryBound(to: UInt8.self), source.isIPv4 ? 4 : 16, index)
        return count == bytes.count ? 0 : count < 0 ? errno : EMSGSIZE
    }
}

/// Sets an option of a socket that is an `int`.
func setOption(
    _ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32, _ text: String
) throws(SystemError) {
    var value = value
    guard setsockopt(fd, level, name, &value, 4) == 0 else {
        throw SystemError("setsockopt(\(text))", code: errno)
    }
}
