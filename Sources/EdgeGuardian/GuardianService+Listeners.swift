internal import EdgeCore
internal import EdgeSystem

/// The listening sockets' beginning and end.
extension GuardianService {
    /// Tells what became of the sockets that a former guardian has left.
    func takeOver() {
        for refusal in property.refusals {
            Log.warning("a stored descriptor is not used: \(refusal)")
        }
        store.forget(property.refusals)
        let count = property.groups.reduce(0) { $0 + $1.adoptedCount }
        if count > 0 { Log.notice("\(count) listening sockets were kept over the restart") }
    }

    /// - Returns: false if some could not at the first start: nothing listens then, and we end.
    func listen() -> Bool {
        var isComplete = true
        for group in property.groups {
            do throws(SystemError) {
                try group.listen()
            } catch {
                Log.error("\(error)")
                isComplete = false
            }
        }
        // At the first start the operator is there to see it; later the rest is served.
        guard isComplete || supervisor.hasServed else {
            stopListening()
            return false
        }
        store.keep()
        return true
    }

    /// Clients are refused from now on, also by who keeps the sockets.
    func stopListening() {
        for group in property.groups { group.stopListening() }
        store.forgetAll()
    }

    /// Ends those that do not outlive us. Who connects to the others waits for our successor.
    func leaveListeners() {
        var count = 0
        for (index, group) in property.groups.enumerated() {
            if store.isKept(index) {
                count += group.sockets.count
            } else {
                group.stopListening()
                store.forget(group)
            }
        }
        Log.notice(
            count > 0
                ? "\(count) listening sockets stay with the service manager" : "listening stops")
    }
}
