internal import EdgeCore
internal import EdgeSystem

/// The sockets of `admin.probes`. An address that cannot be bound, because its tunnel is not up
/// yet, say, is tried again every few seconds: that a probe finds nobody is no reason not to serve.
/// Control thread.
final class ProbeListeners {
    private static let retryInterval = Duration.seconds(3)
    /// A warning for every so many attempts in vain: once a minute.
    private static let warnEvery = 20

    private let loop: PollLoop
    private var wanted: [SocketAddress] = []
    private var groups: [ListenerGroup] = []
    private var retry: TimerID?
    private var attempts = 0
    /// The sockets are others than before.
    private var onChange: () -> Void = {}

    init(loop: PollLoop) { self.loop = loop }

    /// Those that listen.
    var sockets: [Int32] { groups.flatMap(\.sockets) }

    /// Listens on these addresses, and on no other.
    ///
    /// - Parameter onChange: called whenever `sockets` has changed, now or later; those that are
    ///   not in it any more are closed when it returns.
    func use(_ addresses: [SocketAddress], onChange: @escaping () -> Void) {
        self.onChange = onChange
        wanted = addresses
        attempts = 0
        if let retry { loop.cancel(retry) }
        retry = nil
        let former = groups
        groups = groups.filter { addresses.contains($0.address) }
        let isBound = bindMissing()
        if isBound || groups.count != former.count { onChange() }
        withExtendedLifetime(former) {}
    }

    /// - Returns: whether one more listens.
    private func bindMissing() -> Bool {
        var isAny = false
        var missing: [SocketAddress] = []
        for address in wanted where !groups.contains(where: { $0.address == address }) {
            do throws(SystemError) {
                let group = try ListenerGroup(address: address, count: 1)
                try group.listen()
                groups.append(group)
                isAny = true
                Log.notice("admin.probes: listening", ["address": "\(address)"])
            } catch {
                missing.append(address)
                if attempts % Self.warnEvery == 0 {
                    Log.warning("admin.probes: \(error); it is tried again")
                }
            }
        }
        if !missing.isEmpty { tryLater() }
        return isAny
    }

    private func tryLater() {
        attempts += 1
        retry = loop.schedule(after: Self.retryInterval) { [weak self] in
            guard let self else { return }
            retry = nil
            if bindMissing() { onChange() }
        }
    }
}
