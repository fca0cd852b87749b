internal import EdgeCore
internal import EdgeSystem

/// Leaves the listening sockets with the service manager, so that they outlive the guardian: who
/// connects while none runs waits in the kernel's queue for the next one.
///
/// The manager closes its copies when the service is stopped for good; so long, at most, clients
/// wait for nobody. Works on the guardian's loop and never waits.
final class ListenerStore {
    private let service: ServiceNotify?
    private let loop: PollLoop
    /// The groups of which the manager has every socket.
    private var kept: [ListenerGroup] = []
    /// What is still to be sent: a group and the first of its sockets. In order.
    private var waiting: [(group: ListenerGroup, first: Int)] = []
    private var retries = 0
    private var timer: TimerID?
    private var isRefusalTold = false

    /// How often, and for how many times, a manager that does not read is asked again: 5 s.
    private static let retryInterval = Duration.milliseconds(20)
    private static let retriesMax = 250

    init(service: ServiceNotify?, loop: PollLoop) {
        self.service = service
        self.loop = loop
    }

    /// What was adopted whole is where it came from, and stays there.
    func adopted(_ groups: [ListenerGroup]) {
        kept += groups.filter { $0.adoptedCount == $0.sockets.count && !isKept($0) }
    }

    /// What this process had left there as another program.
    func resume(_ known: [[Succession.Place]], _ places: ListenerPlaces.Layout) {
        for (row, groups) in zip(known, places) {
            for (place, now) in zip(row, groups) where place.isKept { kept.append(now.group) }
        }
    }

    /// Whether the group's sockets outlive this process.
    func isKept(_ group: ListenerGroup) -> Bool { kept.contains { $0 === group } }

    /// Gives the manager every socket that listens. Again is harmless: it has each only once.
    func keep(_ groups: [ListenerGroup]) {
        guard let service, service.storeMax > 0 else { return }
        let count = groups.reduce(0) { $0 + $1.sockets.count }
        guard count <= service.storeMax else {
            if !isRefusalTold {
                Log.warning(
                    "a restart will refuse clients: \(count) listening sockets, and the service "
                        + "manager keeps \(service.storeMax) (FileDescriptorStoreMax=)")
            }
            isRefusalTold = true
            return
        }
        waiting = groups.filter(\.isListening).map { ($0, 0) }
        retries = 0
        send()
    }

    /// It is of no use to a successor. Part of it may have been sent, or adopted.
    func forget(_ group: ListenerGroup) {
        waiting.removeAll { $0.group === group }
        kept.removeAll { $0 === group }
        guard let service, service.storeMax > 0 else { return }
        service.forget(group.storeName)
    }

    /// Descriptors of these names are none of ours.
    func forget(_ refusals: [StoredListeners.Refusal]) {
        for name in Set(refusals.map(\.name)) { service?.forget(name) }
    }

    private func send() {
        if let timer { loop.cancel(timer) }
        timer = nil
        while let (group, first) = waiting.first, let service {
            let sockets = group.sockets[first...].prefix(DescriptorPassing.descriptorsMax)
            switch service.store(Array(sockets), name: group.storeName) {
            case .sent:
                waiting.removeFirst()
                let next = first + sockets.count
                if next < group.sockets.count {
                    waiting.insert((group, next), at: 0)
                } else if !isKept(group) {
                    kept.append(group)
                }
            case .wouldBlock where retries < Self.retriesMax:
                retries += 1
                timer = loop.schedule(after: Self.retryInterval) { [weak self] in self?.send() }
                return
            case .wouldBlock, .closed:
                Log.warning("the service manager takes no sockets: a restart will refuse clients")
                waiting = []
            }
        }
    }
}
