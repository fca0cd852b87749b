internal import CEdge
internal import EdgeCore
internal import Glibc

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
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let fd = socket(Int32(AF_NETLINK), kind, Int32(NETLINK_ROUTE))
        guard fd >= 0 else { throw SystemError(errnoOf: "socket(AF_NETLINK)") }
        let socket = FileDescriptor(owning: fd)
        var request = [UInt8](repeating: 0, count: 32)
        request.withUnsafeMutableBytes {
            $0.storeBytes(of: 32, toByteOffset: 0, as: UInt32.self)
            $0.storeBytes(of: UInt16(RTM_GETLINK), toByteOffset: 4, as: UInt16.self)
            $0.storeBytes(
                of: UInt16(NLM_F_REQUEST) | UInt16(NLM_F_ROOT) | UInt16(NLM_F_MATCH),
                toByteOffset: 6, as: UInt16.self)
        }
        guard send(socket.raw, request, request.count, 0) == request.count else {
            throw SystemError(errnoOf: "send(RTM_GETLINK)")
        }
        var result: [NetworkInterface] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        // Ends at NLMSG_DONE; a kernel that never says it is not to hang us.
        for _ in 0..<1024 {
            let count = recv(socket.raw, &buffer, buffer.count, 0)
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw SystemError(errnoOf: "recv(RTM_GETLINK)")
            }
            let message = buffer.span.extracting(0..<count)
            guard try NetlinkReader.read(message, into: &result) else { return result }
        }
        return result
    }
}

/// What the kernel answers to RTM_GETLINK: 4-aligned headers and attributes in the byte order of
/// the machine.
enum NetlinkReader {
    private static let headerCount = 16
    private static let infoCount = 16

    /// - Returns: false if this was the last message.
    static func read(
        _ bytes: Span<UInt8>, into result: inout [NetworkInterface]
    ) throws(SystemError) -> Bool {
        var offset = 0
        while offset + headerCount <= bytes.count {
            let length = Int(word(bytes, offset))
            guard length >= headerCount, offset + length <= bytes.count else { return false }
            switch Int32(half(bytes, offset + 4)) {
            case NLMSG_DONE: return false
            case NLMSG_ERROR:
                let code =
                    length >= headerCount + 4
                    ? -Int32(bitPattern: word(bytes, offset + headerCount)) : EINVAL
                throw SystemError("RTM_GETLINK", code: code)
            case Int32(RTM_NEWLINK) where length >= headerCount + infoCount:
                if let link = link(bytes.extracting(offset + headerCount..<offset + length)) {
                    result.append(link)
                }
            default: break
            }
            offset += (length + 3) & ~3
        }
        return true
    }

    /// - Parameter bytes: an `ifinfomsg` and its attributes.
    private static func link(_ bytes: Span<UInt8>) -> NetworkInterface? {
        let index = Int32(bitPattern: word(bytes, 4))
        var name = ""
        var parent: Int32 = 0
        var kind = ""
        var isElsewhere = false
        forEachAttribute(bytes.extracting(infoCount...)) { type, value in
            switch type {
            case 3: name = text(value)  // IFLA_IFNAME
            case 5 where value.count >= 4: parent = Int32(bitPattern: word(value, 0))  // IFLA_LINK
            case 18:  // IFLA_LINKINFO
                forEachAttribute(value) { type, value in
                    if type == 1 { kind = text(value) }  // IFLA_INFO_KIND
                }
            case 37: isElsewhere = true  // IFLA_LINK_NETNSID
            default: break
            }
        }
        guard index > 0, !name.isEmpty else { return nil }
        return NetworkInterface(
            index: index, name: name, parent: isElsewhere || parent == index ? 0 : parent,
            kind: kind)
    }

    private static func forEachAttribute(
        _ bytes: Span<UInt8>, _ body: (UInt16, Span<UInt8>) -> Void
    ) {
        var offset = 0
        while offset + 4 <= bytes.count {
            let length = Int(half(bytes, offset))
            guard length >= 4, offset + length <= bytes.count else { return }
            // The upper two bits say how the value is to be read.
            body(
                half(bytes, offset + 2) & 0x3FFF, bytes.extracting(offset + 4..<offset + length))
            offset += (length + 3) & ~3
        }
    }

    private static func text(_ bytes: Span<UInt8>) -> String {
        var result: [UInt8] = []
        for index in 0..<bytes.count where bytes[index] != 0 { result.append(bytes[index]) }
        return String(decoding: result, as: UTF8.self)
    }

    private static func word(_ bytes: Span<UInt8>, _ offset: Int) -> UInt32 {
        withUnsafeTemporaryAllocation(byteCount: 4, alignment: 4) { raw in
            for index in 0..<4 { raw[index] = bytes[offset + index] }
            return raw.load(as: UInt32.self)
        }
    }

    private static func half(_ bytes: Span<UInt8>, _ offset: Int) -> UInt16 {
        withUnsafeTemporaryAllocation(byteCount: 2, alignment: 2) { raw in
            for index in 0..<2 { raw[index] = bytes[offset + index] }
            return raw.load(as: UInt16.self)
        }
    }
}
