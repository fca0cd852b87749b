internal import EdgeCore

/// The addresses of hosts(5), for whoever asks for them to be used. Lines that are no such entry
/// are passed over, as everywhere.
package struct HostsTable: Sendable, Equatable {
    package static let byteCountMax = 1 << 20

    /// By name in lower case; at most `NameMachine.addressesMax` each.
    private var entries: [String: [SocketAddress]] = [:]

    package init() {}

    package init(_ bytes: [UInt8]) {
        for line in bytes.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            let text = line.prefix { $0 != UInt8(ascii: "#") }
            let words = text.split { $0 == 0x20 || $0 == 0x09 }
                .map { String(decoding: $0, as: UTF8.self) }
            guard let first = words.first, let address = SocketAddress(address: first, port: 0)
            else { continue }
            for word in words.dropFirst() {
                let name = word.lowercased()
                var list = entries[name] ?? []
                guard list.count < NameMachine.addressesMax, !list.contains(address) else {
                    continue
                }
                list.append(address)
                entries[name] = list
            }
        }
    }

    /// Nil: the name is not in it.
    ///
    /// - Parameter name: in any case, without a final dot.
    package func answer(for name: String) -> NameAnswer? {
        guard let list = entries[name.lowercased()] else { return nil }
        func family(_ isIPv4: Bool) -> FamilyAnswer {
            let matching = list.filter { $0.isIPv4 == isIPv4 }
            return matching.isEmpty ? .empty : .addresses(matching, ttl: .max)
        }
        return NameAnswer(ipv4: family(true), ipv6: family(false))
    }
}
