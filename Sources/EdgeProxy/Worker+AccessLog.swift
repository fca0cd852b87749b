internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeTLS

/// The access log's place in a request's life. A record is begun with the exchange and becomes a
/// line where the exchange is released, which every one comes to exactly once; what fails without
/// an exchange becomes a line on the spot. All of it behind `accessLog.isOn`.
extension Worker {
    // MARK: - Exchanges

    /// A request begins: its head is in `requestHead`, and gone by the time of its line.
    func logBegin(_ exchange: Int, _ slot: Int, _ head: Span<UInt8>) {
        let session = channels[transport(slot)].pointee.session
        accessLog.keep(
            exchange, requestHead, head, tlsVersion: session?.version ?? 0,
            name: session?.serverNameBytes, number: downstreams[slot].pointee.requestCount)
        if isStream(slot) { accessLog.record(exchange).pointee.version = 20 }
        exchanges[exchange].pointee.flags.insert(.logged)
    }

    /// A connection begins whose bytes are passed on; all that is known of it is where it comes
    /// from and, of one that speaks TLS, which name it asked for.
    func logBeginRelay(_ exchange: Int, name: Span<UInt8>) {
        name.withUnsafeBytes { accessLog.keep(exchange, name: $0) }
        exchanges[exchange].pointee.flags.insert(.logged)
    }

    /// The id that the upstream gets.
    func logIdentifier(_ exchange: Int, _ id: (high: UInt64, low: UInt64)) {
        guard exchanges[exchange].pointee.flags.contains(.logged) else { return }
        let record = accessLog.record(exchange)
        record.pointee.idHigh = id.high
        record.pointee.idLow = id.low
    }

    /// A connection was taken from the pool, or its connect has begun.
    func noteConnecting(_ exchange: Int, to member: SocketAddress, isReused: Bool) {
        let state = exchanges[exchange]
        state.pointee.times.connecting = now
        state.pointee.times.connected = isReused ? now : Instant(nanoseconds: 0)
        state.pointee.times.sent = Instant(nanoseconds: 0)
        state.pointee.times.answered = Instant(nanoseconds: 0)
        state.pointee.isReused = isReused
        noteMember(exchange, member)
    }

    /// An older connection than the newest is what the exchange has now.
    func noteMember(_ exchange: Int, _ slot: Int) {
        let state = exchanges[exchange]
        state.pointee.times.connecting = upstream(slot).pointee.idleSince
        guard let pool = pools[Int(upstream(slot).pointee.pool)] else { return }
        noteMember(exchange, pool.group.members.members[Int(upstream(slot).pointee.member)].address)
    }

    private func noteMember(_ exchange: Int, _ member: SocketAddress) {
        guard exchanges[exchange].pointee.flags.contains(.logged) else { return }
        let record = accessLog.record(exchange)
        record.pointee.member = member
        record.pointee.hasMember = true
    }

    /// The exchange is over, however it went: it is counted, and has its line.
    // hot: once per request; no allocation.
    func noteEnd(_ exchange: Int) {
        let state = exchanges[exchange]
        let isRelay = state.pointee.flags.contains(.relay)
        countEnd(exchange)
        if state.pointee.status >= 400, state.pointee.rules >= 0 { noteErrorAnswer(exchange) }
        guard state.pointee.flags.contains(.logged) else { return }
        let wentWell = state.pointee.reason == .none && state.pointee.status < 500
        if wentWell, !accessLog.takesSample() { return }
        let downstream = downstreams[Int(state.pointee.downstream)]
        var line = AccessLine(
            kind: isRelay ? .tcp : .request, listener: Int(downstream.pointee.listener),
            view: Int(downstream.pointee.view), client: downstream.pointee.peer,
            status: state.pointee.status,
            reason: state.pointee.reason, violation: state.pointee.violation,
            received: state.pointee.received, sent: state.pointee.sent,
            pool: state.pointee.pool, isReused: state.pointee.isReused,
            retries: state.pointee.attempts, times: state.pointee.times, ended: now)
        // One that was held back, and refused in the end.
        if refusingPolicy >= 0 { line.policy = takeRefusing() }
        append(line, exchange)
    }

    private func append(_ line: AccessLine, _ exchange: Int) {
        var line = line
        if accessLog.format.kind == .httplog { line.load = load(line, exchange) }
        if !accessLog.append(line, exchange) { block.add(.accessLogDropped) }
    }

    /// What HAProxy's lines say beside the request itself.
    private func load(_ line: AccessLine, _ exchange: Int) -> AccessLine.Load {
        var load = AccessLine.Load()
        load.connections = block.value(.connectionsOpen)
        load.listener = block.connections(listener: line.listener)
        guard line.pool >= 0, Int(line.pool) < pools.count, let group = pools[Int(line.pool)]?.group
        else { return load }
        load.upstream = UInt64(group.active)
        let record = accessLog.record(exchange)
        let member = group.members.members.firstIndex { $0.address == record.pointee.member }
        if record.pointee.hasMember, let member {
            load.member = UInt64(group.members.load(member))
        }
        return load
    }

    // MARK: - Without an exchange

    /// A request that was answered on our own account before it became an exchange.
    func logUnserved(_ slot: Int, _ head: Span<UInt8>, _ status: UInt16, _ reason: ReasonCode) {
        if reason == .none, status < 500, !accessLog.takesSample() { return }
        let session = channels[transport(slot)].pointee.session
        accessLog.keep(
            accessLog.spare, requestHead, head, tlsVersion: session?.version ?? 0,
            name: session?.serverNameBytes, number: downstreams[slot].pointee.requestCount)
        if isStream(slot) { accessLog.record(accessLog.spare).pointee.version = 20 }
        var line = line(.request, slot, reason)
        line.status = status
        line.times.head = now
        append(line, accessLog.spare)
    }

    /// A request of which no head came about: refused, or the client went away in the middle.
    func logHeadless(
        _ slot: Int, _ status: UInt16, _ reason: ReasonCode, _ violation: UInt8
    ) {
        keepSpare(slot, number: downstreams[slot].pointee.requestCount &+ 1)
        var line = line(.request, slot, reason)
        line.status = status
        line.violation = violation
        append(line, accessLog.spare)
    }

    /// A client's connection that failed while it carried no exchange.
    func logFailure(_ slot: Int, _ reason: ReasonCode) {
        if channels[slot].pointee.phase == .handshaking {
            keepSpare(slot, number: 0)
            append(line(.handshake, slot, reason), accessLog.spare)
        } else if downstreams[slot].pointee.headStarted {
            logHeadless(slot, 0, reason, AccessLine.noViolation)
        } else {
            keepSpare(slot, number: 0)
            append(line(.connection, slot, reason), accessLog.spare)
        }
    }

    /// A connection that was closed as soon as it was accepted.
    ///
    /// - Parameter view: its number; `noView`: it has none yet.
    func logRefused(
        _ client: SocketAddress?, listener: Int, view: Int = AccessLine.noView,
        _ reason: ReasonCode
    ) {
        accessLog.keepSpare(tlsVersion: 0, name: nil, number: 0)
        var times = ExchangeTimes()
        times.begun = now
        append(
            AccessLine(
                kind: .refused, listener: listener, view: view, client: client, reason: reason,
                policy: takeRefusing(), times: times, ended: now),
            accessLog.spare)
    }

    private func keepSpare(_ slot: Int, number: UInt32) {
        let session = channels[transport(slot)].pointee.session
        accessLog.keepSpare(
            tlsVersion: session?.version ?? 0, name: session?.serverNameBytes, number: number)
    }

    private func line(_ kind: AccessLine.Kind, _ slot: Int, _ reason: ReasonCode) -> AccessLine {
        let downstream = downstreams[slot]
        var times = ExchangeTimes()
        let begun = downstream.pointee.headBegun
        times.begun = begun.nanoseconds == 0 ? now : begun
        return AccessLine(
            kind: kind, listener: Int(downstream.pointee.listener),
            view: Int(downstream.pointee.view), client: downstream.pointee.peer, reason: reason,
            policy: takeRefusing(), times: times, ended: now)
    }

    /// The policy that has refused what the line is about.
    private func takeRefusing() -> Int32 {
        defer { refusingPolicy = -1 }
        return refusingPolicy
    }

    // MARK: - The worker's

    /// Names as they stand in lines, and where lines go from now on.
    func useAccessLog(of snapshot: RuntimeSnapshot) {
        accessLog.format.use(
            listeners: snapshot.listeners.map(\.name),
            views: snapshot.routing.views.map { $0?.name ?? "" },
            upstreams: snapshot.pools.map { (Int($0.id), $0.upstream) },
            policies: snapshot.limits.policies.map(\.name))
        block.add(.accessLogDropped, UInt64(accessLog.takeLost()))
        accessLog.use(snapshot.accessLog, buffer: max(setup.index - 1, 0))
        setLogClock()
    }

    /// Once a second: what has been put together goes out however little it is.
    func keepAccessLog() {
        guard accessLog.isOn else { return }
        accessLog.handOver()
        block.add(.accessLogDropped, UInt64(accessLog.takeLost()))
        setLogClock()
    }

    private func setLogClock() {
        accessLog.format.clockOffset = WallClock.now() &- now.nanoseconds
    }
}
