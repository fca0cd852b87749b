internal import Glibc

/// An IPv4 or IPv6 address with a port. A trivial 32-byte value: copied freely, never allocated.
/// An IPv4-mapped IPv6 address is normalised to IPv4 on the way in, so that comparisons see one
/// form of each address.
public struct SocketAddress: Sendable, Hashable, BitwiseCopyable {
    /// The 16 address bytes in network order, as two big-endian words (IPv4: `::ffff:a.b.c.d`).
    public var high: UInt64
    public var low: UInt64
    /// IPv6 scope (interface index) of a link-local address, else 0.
    public var scope: UInt32
    public var port: UInt16
    public var isIPv4: Bool

    private static let mappedPrefix: UInt64 = 0x0000_FFFF_0000_0000

    /// `value` is the address as a big-endian number: 127.0.0.1 is 0x7F000001.
    public init(ipv4 value: UInt32, port: UInt16) {
        high = 0
        low = Self.mappedPrefix | UInt64(value)
        scope = 0
        self.port = port
        isIPv4 = true
    }

    public init(ipv6High: UInt64, low: UInt64, scope: UInt32 = 0, port: UInt16) {
        high = ipv6High
        self.low = low
        self.scope = scope
        self.port = port
        isIPv4 = ipv6High == 0 && low >> 32 == 0xFFFF
    }

    /// The IPv4 address as a big-endian number; meaningful only if `isIPv4`.
    public var ipv4: UInt32 { UInt32(truncatingIfNeeded: low) }

    /// `0.0.0.0` or `::`: every address of this machine.
    public var isUnspecified: Bool { isIPv4 ? ipv4 == 0 : high == 0 && low == 0 }

    public var isLoopback: Bool { isIPv4 ? ipv4 >> 24 == 127 : high == 0 && low == 1 }

    public func with(port: UInt16) -> SocketAddress {
        var copy = self
        copy.port = port
        return copy
    }
}

// MARK: - Text

extension SocketAddress {
    /// Parses an address without a port: `192.0.2.1`, `2001:db8::1`. No names, no brackets, no
    /// scope.
    public init?(address text: String, port: UInt16) {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(ipv4: UInt32(bigEndian: four.s_addr), port: port)
            return
        }
        var six = in6_addr()
        guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
        let words = withUnsafeBytes(of: &six) {
            (
                UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        self.init(ipv6High: words.0, low: words.1, port: port)
    }

    /// Parses `192.0.2.1:443` or `[2001:db8::1]:443`; nil for a name or anything malformed.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(decimal: text[text.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        self.init(address: String(host), port: port)
    }

    /// The address without its port: `192.0.2.1`, `2001:db8::1`.
    public var addressText: String {
        var buffer = [CChar](repeating: 0, count: 48)
        if isIPv4 {
            var four = in_addr(s_addr: ipv4.bigEndian)
            inet_ntop(AF_INET, &four, &buffer, 48)
        } else {
            var words = (high.bigEndian, low.bigEndian)
            inet_ntop(AF_INET6, &words, &buffer, 48)
        }
        let end = buffer.firstIndex(of: 0) ?? buffer.count
        return String(decoding: buffer[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension SocketAddress: CustomStringConvertible {
    public var description: String {
        isIPv4 ? "\(addressText):\(port)" : "[\(addressText)]:\(port)"
    }
}

extension UInt16 {
    /// Plain decimal digits only: no sign, no space, no more than five digits.
    package init?(decimal text: Substring) {
        guard (1...5).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        self.init(text)
    }
}

// MARK: - Kernel form

extension SocketAddress {
    /// The size of the kernel's form of this address.
    public var kernelByteCount: Int {
        isIPv4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
    }

    /// Writes the kernel's form (`sockaddr_in` or `sockaddr_in6`).
    ///
    /// - Parameter storage: at least 28 bytes, any alignment.
    public func write(to storage: UnsafeMutableRawPointer) {
        if isIPv4 {
            var value = sockaddr_in()
            value.sin_family = sa_family_t(AF_INET)
            value.sin_port = port.bigEndian
            value.sin_addr.s_addr = ipv4.bigEndian
            storage.copyMemory(from: &value, byteCount: MemoryLayout<sockaddr_in>.size)
        } else {
            var value = sockaddr_in6()
            value.sin6_family = sa_family_t(AF_INET6)
            value.sin6_port = port.bigEndian
            value.sin6_scope_id = scope
            withUnsafeMutableBytes(of: &value.sin6_addr) {
                $0.storeBytes(of: high.bigEndian, as: UInt64.self)
                $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            storage.copyMemory(from: &value, byteCount: MemoryLayout<sockaddr_in6>.size)
        }
    }

    /// Reads the kernel's form; nil for another family or a short one.
    public init?(kernel storage: UnsafeRawPointer, byteCount: Int) {
        guard byteCount >= MemoryLayout<sockaddr_in>.size else { return nil }
        switch Int32(storage.loadUnaligned(as: sa_family_t.self)) {
        case AF_INET:
            let value = storage.loadUnaligned(as: sockaddr_in.self)
            self.init(
                ipv4: UInt32(bigEndian: value.sin_addr.s_addr),
                port: UInt16(bigEndian: value.sin_port))
        case AF_INET6:
            guard byteCount >= MemoryLayout<sockaddr_in6>.size else { return nil }
            let value = storage.loadUnaligned(as: sockaddr_in6.self)
            self.init(
                ipv6High: UInt64(
                    bigEndian: storage.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                low: UInt64(bigEndian: storage.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
                scope: value.sin6_scope_id,
                port: UInt16(bigEndian: value.sin6_port))
        default:
            return nil
        }
    }
}
