internal import CEdge
internal import EdgeConfig
package import EdgeCore
package import EdgeSystem
internal import Glibc

/// The sockets of all listening addresses: those of the configuration in use, those of one that is
/// being prepared, and those that are on their way out. A group of sockets has a number for as long
/// as it is open, by which both processes know it.
package final class ListenerPlaces {
    package struct Place {
        package let number: Int
        /// As configured; the group's own address has the port that port 0 became.
        package let asked: SocketAddress
        package let group: ListenerGroup
    }

    /// By listener of the configuration, then by its addresses.
    package typealias Layout = [[Place]]

    package private(set) var current: Layout
    /// No longer configured; the proxy still takes what waits on them.
    private(set) var leaving: [Place] = []
    private let workers: Int

    /// Binds, or takes over, the sockets of the first configuration.
    init(
        _ configuration: Configuration, workers: Int, stored: StoredListeners
    ) throws(SystemError) {
        self.workers = workers
        current = []
        var number = 0
        for listener in configuration.listeners {
            var places: [Place] = []
            for address in listener.addresses {
                let group = try ListenerGroup(
                    address: address, count: workers, stored: stored,
                    isAbsent: configuration.mayLack(address))
                places.append(Place(number: number, asked: address, group: group))
                number += 1
            }
            current.append(places)
        }
    }

    /// Takes over what this process had before it became another binary.
    init(current: Layout, leaving: [Place], workers: Int) {
        self.current = current
        self.leaving = leaving
        self.workers = workers
    }

    package var groups: [ListenerGroup] { current.flatMap { $0 }.map(\.group) }

    /// The sockets of another configuration: those of an address that stays are the same, new ones
    /// are bound and do not listen yet. Nothing of ours changes. What is on its way out goes: an
    /// address that comes back meanwhile has sockets of its own beside the old ones.
    ///
    /// - Throws: what cannot be bound.
    func layout(for configuration: Configuration) throws(SystemError) -> Layout {
        let known = current.flatMap { $0 }
        var used = Set((known + leaving).map(\.number))
        var result: Layout = []
        for listener in configuration.listeners {
            var places: [Place] = []
            for address in listener.addresses {
                if let same = known.first(where: { $0.asked == address }) {
                    places.append(same)
                    continue
                }
                guard
                    let number = (0..<ProxyCommand.listenerAddressesMax).first(where: {
                        !used.contains($0)
                    })
                else { throw SystemError("listen", code: ENOSPC, subject: "\(address)") }
                used.insert(number)
                places.append(
                    Place(
                        number: number, asked: address,
                        group: try ListenerGroup(
                            address: address, count: workers,
                            isAbsent: configuration.mayLack(address))))
            }
            result.append(places)
        }
        return result
    }

    /// Whether the proxy has never heard of it.
    func isNew(_ place: Place) -> Bool {
        !current.contains { $0.contains { $0.number == place.number } }
    }

    /// - Returns: those that are no longer configured, which are `leaving` from now on.
    func use(_ layout: Layout) -> [Place] {
        let kept = Set(layout.flatMap { $0 }.map(\.number))
        let gone = current.flatMap { $0 }.filter { !kept.contains($0.number) }
        leaving += gone
        current = layout
        return gone
    }

    /// Whether it is still on its way out; its number may be another's by now.
    func isLeaving(_ place: Place) -> Bool { leaving.contains { $0.group === place.group } }

    /// - Returns: the place that has left; its sockets end with it.
    func left(_ number: Int) -> Place? {
        guard let index = leaving.firstIndex(where: { $0.number == number }) else { return nil }
        return leaving.remove(at: index)
    }

    /// No proxy uses them any more.
    func dropLeaving() -> [Place] {
        defer { leaving = [] }
        return leaving
    }
}

extension Configuration {
    /// Whether it is an address that moves, and so may be another node's.
    fileprivate func mayLack(_ address: SocketAddress) -> Bool {
        failover?.addresses.contains(address.with(port: 0)) ?? false
    }
}
