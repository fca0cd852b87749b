internal import EdgeCore
internal import EdgeProxy
internal import EdgeSystem

/// Listeners that come and go while the proxy serves.
extension ProxyService {
    /// Workers take connections from the sockets of the configuration in use, and go on taking them
    /// from those that it has no more until the guardian says that nobody new comes.
    func listenAsPlaced() {
        guard let snapshot, let hello, let workers else { return }
        sockets.number(snapshot.listenerNumbers)
        for worker in 0..<hello.workers {
            let placed = sockets.sockets(
                of: worker, workers: hello.workers, numbers: snapshot.listenerNumbers)
            workers.post(.listen(placed, keeping: sockets.unplaced), to: worker)
        }
    }

    /// Nobody new can connect to these any more.
    func leave(_ group: Int) {
        guard sockets.leave(group) else {
            channel?.send(.groupLeft(group))
            return
        }
        listenAsPlaced()
    }

    /// A worker has let go of a socket.
    func left(_ descriptor: Int32) {
        if let group = sockets.left(descriptor) { channel?.send(.groupLeft(group)) }
    }

    /// Open connections of a listener, by its number.
    func connections(listener: Int) -> UInt64 {
        board?.workerBlocks.reduce(0) { $0 &+ $1.connections(listener: listener) } ?? 0
    }

    /// Whether the number means something still.
    func isInUse(listener: Int) -> Bool {
        connections(listener: listener) > 0 || sockets.heldNumbers.contains(listener)
    }
}
