internal import EdgeCore
internal import EdgeRouting
internal import EdgeSystem

/// Which view a connection belongs to. Interfaces are looked up by the kernel's numbers, which
/// change when one goes and comes back: a number that is not known yet, or is another
/// interface's by now, is asked for at once, before it can be taken for "any interface".
extension Worker {
    /// - Returns: the view's number; if it is negative, the connection must be closed for the
    ///   reason.
    // hot: once per connection; with one view, no system call.
    func view(
        of descriptor: Int32, _ peer: SocketAddress, listener: Int
    ) -> (number: Int, refusal: ReasonCode) {
        var number = snapshot.routing.onlyView
        if number < 0 {
            let interface = ring.arrivalInterface(of: descriptor)
            if !isKnown(interface, socket: descriptor) { learnInterfaces() }
            guard knownInterfaces[interface] != nil,
                let index = places.view(
                    listener: listener, interface: interface, source: peer)
            else { return (-1, .noView) }
            number = Int(snapshot.routing.viewNumbers[index])
        }
        guard let view = snapshot.routing.views[number] else { return (-1, .noView) }
        if view.requiresProxyHeader, !view.trustedProxies.contains(peer) {
            return (-1, .clientNotTrusted)
        }
        return (number, .none)
    }

    /// The number stands for what it stood for when interfaces were last read. One that has been
    /// given to another interface would bring its clients into a view that is not theirs.
    private func isKnown(_ interface: Int32, socket descriptor: Int32) -> Bool {
        guard let name = knownInterfaces[interface] else { return false }
        return ring.isInterface(interface, named: name, socket: descriptor)
    }

    /// Another snapshot has other views, or an interface may have come or gone. Some 100 µs.
    func learnInterfaces() {
        guard snapshot.routing.onlyView < 0 else { return }
        let found = setup.interfaces()
        // There is always `lo`: none at all means that they could not be read.
        if !found.isEmpty { interfaces = found }
        knownInterfaces = Dictionary(
            interfaces.map { ($0.index, $0.nameBytes) }, uniquingKeysWith: { first, _ in first })
        var byName: [String: [Int32]] = [:]
        for interface in interfaces { byName[interface.name, default: []].append(interface.index) }
        // What is made upon an interface to have an address of its own there belongs to it.
        for interface in interfaces where interface.kind == "macvlan" {
            guard let parent = interfaces.first(where: { $0.index == interface.parent }) else {
                continue
            }
            byName[parent.name]?.append(interface.index)
        }
        places = snapshot.routing.places.withInterfaces(byName)
    }
}
