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
        store.keep(property.groups)
        return true
    }

    /// Tells the proxy which sockets are an address's.
    func send(
        _ place: ListenerPlaces.Place, listener: Int, address: Int, to channel: ProxyChannel
    ) {
        var first = 0
        let all = place.group.sockets
        while first < all.count {
            let sockets = all[first...].prefix(DescriptorPassing.descriptorsMax)
            channel.send(
                .listener(
                    .init(
                        listener: listener, address: address, group: place.number,
                        firstSocket: first, count: sockets.count)),
                descriptors: Array(sockets))
            first += sockets.count
        }
    }

    /// The new configuration is in use: its sockets stay, others are left in three steps. Nobody
    /// new is let in, handshakes under way come to their end, the proxy takes what has queued.
    func use(_ layout: ListenerPlaces.Layout) {
        for place in property.places.use(layout) {
            Log.notice("\(place.group.address) is no longer listened on")
            store.forget(place.group)
            do throws(SystemError) {
                try place.group.closeDoor()
            } catch {
                Log.warning("\(error)")
            }
            loop.schedule(after: Self.doorTime) { [weak self] in self?.leave(place) }
        }
        // Those that were adopted while no proxy ran do not listen yet.
        if supervisor.isListening { _ = listen() }
    }

    /// For handshakes that have begun: a round trip and a lost segment.
    private static let doorTime = Duration.milliseconds(400)
    /// A proxy that does not let go of sockets in this time loses them all the same.
    private static let leaveTime = Duration.seconds(10)

    private func leave(_ place: ListenerPlaces.Place) {
        guard property.places.isLeaving(place) else { return }
        guard let channel, channel.send(.leaveGroup(place.number)) else { return dropLeaving() }
        loop.schedule(after: Self.leaveTime) { [weak self] in
            guard let self, self.property.places.isLeaving(place) else { return }
            // Its number stays its own until the proxy lets go, or ends.
            Log.warning("the proxy does not let go of \(place.group.address)")
            place.group.stopListening()
        }
    }

    /// The proxy has let go of it. Nothing if that is known already, or untrue.
    func groupLeft(_ number: Int) {
        guard let place = property.places.left(number) else { return }
        place.group.stopListening()
    }

    /// The proxy that took what waited on them is gone.
    func dropLeaving() {
        for place in property.places.dropLeaving() { place.group.stopListening() }
    }

    /// Clients are refused from now on, also by who keeps the sockets.
    func stopListening() {
        for group in property.groups { group.stopListening() }
        for group in property.groups { store.forget(group) }
    }

    /// Ends those that do not outlive us. Who connects to the others waits for our successor.
    func leaveListeners() {
        var count = 0
        for group in property.groups {
            if store.isKept(group) {
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
