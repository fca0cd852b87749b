internal import CEdge
package import EdgeCore
internal import Glibc

/// Listening sockets that a service manager has kept for us since a former guardian, judged one by
/// one: only what is exactly what we would have made ourselves is used again.
///
/// Of the others each is closed and named in `refusals`. One that listens is shut first: who
/// connected to it would wait for ever, nobody serves it. What nobody has taken ends in the same
/// way when this object goes, such as when the configuration is refused.
package final class StoredListeners {
    /// A descriptor that is not used.
    package struct Refusal: Equatable, Sendable, CustomStringConvertible {
        /// Under which the manager keeps it.
        package let name: String
        package let fault: Fault

        package init(name: String, fault: Fault) {
            self.name = name
            self.fault = fault
        }

        package var description: String { "\(name): \(fault.rawValue)" }
    }

    /// What is wrong with a descriptor.
    package enum Fault: String, Sendable {
        case notASocket = "not a socket"
        case notTCP = "not a TCP socket"
        case notListening = "does not listen"
        case notShared = "without SO_REUSEPORT"
        case boundToDevice = "bound to an interface"
        case otherFamily = "takes IPv4 where it should not, or the other way round"
        case otherNamespace = "of another network namespace"
        case twice = "the same socket as another one"
        case notConfigured = "no listener has its address"
        case tooMany = "more sockets than a listener may have"
    }

    private struct Entry {
        let descriptor: Int32
        let name: String
        let address: SocketAddress
    }

    /// Sound, and not taken yet. Owned here.
    private var entries: [Entry] = []
    package private(set) var refusals: [Refusal] = []

    /// Owns the descriptors from now on.
    package init(_ given: [InheritedDescriptors.Named] = []) {
        let home = given.isEmpty ? nil : Self.ownNamespace()
        var cookies: Set<UInt64> = []
        for item in given {
            switch Self.judge(item.descriptor, home: home) {
            case .failure(let refused):
                if refused.isListening { shutdown(item.descriptor, Int32(SHUT_RD)) }
                close(item.descriptor)
                refusals.append(Refusal(name: item.name, fault: refused.fault))
            case .success(let sound):
                guard cookies.insert(sound.cookie).inserted else {
                    close(item.descriptor)
                    refusals.append(Refusal(name: item.name, fault: .twice))
                    continue
                }
                entries.append(
                    Entry(
                        descriptor: item.descriptor, name: item.name, address: sound.address))
            }
        }
    }

    deinit { for entry in entries { Self.end(entry.descriptor) } }

    /// How many wait to be taken.
    package var count: Int { entries.count }

    /// The sockets of an address, at most `max`. The caller owns them.
    package func take(_ address: SocketAddress, max: Int) -> [Int32] {
        let found = entries.filter { $0.address == address }
        entries.removeAll { $0.address == address }
        for surplus in found.dropFirst(max) { refuse(surplus, .tooMany) }
        return found.prefix(max).map(\.descriptor)
    }

    /// Ends what nobody has taken.
    package func refuseRest() {
        for entry in entries { refuse(entry, .notConfigured) }
        entries = []
    }

    private func refuse(_ entry: Entry, _ fault: Fault) {
        Self.end(entry.descriptor)
        refusals.append(Refusal(name: entry.name, fault: fault))
    }

    private static func end(_ descriptor: Int32) {
        shutdown(descriptor, Int32(SHUT_RD))
        close(descriptor)
    }

    // MARK: - Judgement

    private struct Sound {
        let address: SocketAddress
        /// The kernel's name of the socket, whatever descriptors it has.
        let cookie: UInt64
    }

    private struct Refused: Error {
        let fault: Fault
        /// It is a TCP socket that takes connections.
        let isListening: Bool

        init(_ fault: Fault, isListening: Bool = false) {
            self.fault = fault
            self.isListening = isListening
        }
    }

    private static func judge(_ fd: Int32, home: UInt64?) -> Result<Sound, Refused> {
        guard let kind = number(fd, SOL_SOCKET, SO_TYPE) else {
            return .failure(Refused(.notASocket))
        }
        let family = number(fd, SOL_SOCKET, SO_DOMAIN)
        guard kind == Int32(SOCK_STREAM.rawValue), family == AF_INET || family == AF_INET6,
            number(fd, SOL_SOCKET, SO_PROTOCOL) == Int32(IPPROTO_TCP)
        else { return .failure(Refused(.notTCP)) }
        guard number(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1,
            let address = ListenerGroup.localAddress(fd)
        else { return .failure(Refused(.notListening)) }
        if let fault = fault(of: fd, family, address, home: home) {
            return .failure(Refused(fault, isListening: true))
        }
        return .success(Sound(address: address, cookie: wide(fd, SO_COOKIE) ?? UInt64(fd)))
    }

    /// What is wrong with a TCP socket that listens.
    private static func fault(
        of fd: Int32, _ family: Int32?, _ address: SocketAddress, home: UInt64?
    ) -> Fault? {
        if number(fd, SOL_SOCKET, SO_REUSEPORT) != 1 { return .notShared }
        if isBoundToDevice(fd) { return .boundToDevice }
        // 5.14 and later can tell; where neither does there is nothing to compare.
        if wide(fd, SO_NETNS_COOKIE) != home { return .otherNamespace }
        guard family == AF_INET6 else { return nil }
        let takesIPv4 = number(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY) == 0
        return address.isIPv4 || takesIPv4 != address.isUnspecified ? .otherFamily : nil
    }

    /// The network namespace this process is in, as sockets name theirs.
    private static func ownNamespace() -> UInt64? {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let probe = socket(AF_INET, kind, 0)
        guard probe >= 0 else { return nil }
        defer { close(probe) }
        return wide(probe, SO_NETNS_COOKIE)
    }

    private static func number(_ fd: Int32, _ level: Int32, _ option: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(4)
        return getsockopt(fd, level, option, &value, &length) == 0 ? value : nil
    }

    private static func wide(_ fd: Int32, _ option: Int32) -> UInt64? {
        var value: UInt64 = 0
        var length = socklen_t(8)
        return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : nil
    }

    private static func isBoundToDevice(_ fd: Int32) -> Bool {
        var name = [UInt8](repeating: 0, count: Int(IFNAMSIZ))
        var length = socklen_t(name.count)
        let result = getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, &name, &length)
        return result == 0 && length > 0 && name[0] != 0
    }
}
