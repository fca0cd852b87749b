internal import EdgeConfig
internal import EdgeCore
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeSystem

/// What somebody in front of this node gets to know: whether it serves, and whom.
extension ProxyService {
    /// Listens for probes where the configuration says, from when clients are served.
    func useProbes() {
        guard phase == .serving, let current else { return }
        probes.use(current.configuration.admin.probes) { [weak self] in self?.listenForAdmins() }
    }

    /// Nobody is to come here any more. A successor may listen on the same addresses already: what
    /// is asked there is for that one to answer.
    func closeProbes() {
        guard !probes.sockets.isEmpty else { return }
        probes.use([]) { [weak self] in self?.listenForAdmins() }
    }

    func isReady() -> (Bool, String) {
        guard operation.drainedSince == nil, !operation.isDismissing else {
            return (false, "draining")
        }
        return (phase == .serving, phase.rawValue)
    }

    /// Whether a view's clients are served: it is in use, and there is an interface that they come
    /// by. What its upstreams do is told to the clients themselves.
    func isReady(view name: String) -> (Bool, String)? {
        guard let current, let snapshot,
            let view = current.configuration.views.first(where: { $0.name == name }),
            !view.name.isEmpty
        else { return nil }
        let known = snapshot.routing.views.lazy.compactMap { $0 }.first { $0.name == name }
        guard let known, Int(known.profile) < snapshot.routing.profiles.count,
            snapshot.routing.profiles[Int(known.profile)] != nil
        else { return (false, "view '\(name)' is not served") }
        guard view.interfaces.isEmpty || hasInterface(view.interfaces) else {
            return (false, "no interface of view '\(name)' is there")
        }
        return (true, phase.rawValue)
    }

    /// Some 100 µs. Where they cannot be read, workers go by what they knew.
    private func hasInterface(_ names: [String]) -> Bool {
        do throws(SystemError) {
            let interfaces = try NetworkInterface.readAll()
            return interfaces.contains { names.contains($0.name) }
        } catch {
            Log.warning("the network interfaces cannot be read", ["error": "\(error)"])
            return true
        }
    }
}
