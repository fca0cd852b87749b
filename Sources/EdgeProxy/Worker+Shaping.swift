internal import EdgeCore
internal import EdgeLimits
internal import EdgeRing

/// Bytes per second, each way: what clients send and get is charged as it passes, and whoever is in
/// debt is not read from until it is paid: the client of an upload, the upstream of a download.
/// Nothing is dropped or closed, and nothing is kept beside what has been received by then. A pause
/// ends by a timer of its own, so that the channel's deadline stays what it is; time-outs that
/// would hit who is kept waiting are begun anew.
///
/// Content is charged, and all bytes of tunnels and relayed connections; heads, framing and our own
/// answers are not.
extension Worker {
    /// Resolution of pauses. What ends late is made up for: debts are paid by the clock.
    static let pauseTick: UInt64 = 4_000_000
    /// How long a request may be held back; then it is refused.
    static let heldBackMax: UInt64 = 30_000_000_000

    // MARK: - Exchanges

    /// The exchange begins: it is metered if its plan says so, and does not begin while its client
    /// is in debt.
    ///
    /// - Returns: true if it waits for that; its upstream is acquired later.
    // Never inlined: requests without limits do not pay for its frame.
    @inline(never)
    func isHeldBack(_ exchange: Int, _ plan: Int32) -> Bool {
        guard limits.shapes(plan) else { return false }
        startMeters(exchange, plan, limits.texts.isEmpty ? .init(repeating: 0) : describedTexts)
        let state = exchanges[exchange]
        guard state.pointee.isMetered, let memory = limitTables else { return false }
        let meter = meters[exchange]
        let wait = debtTime(exchange, memory)
        guard wait > 0 else { return false }
        meter.pointee.isHeldBack = true
        meter.pointee.heldBackAt = now
        pause(Int(state.pointee.downstream), wait)
        return true
    }

    /// Nanoseconds until a request may begin: it has an answer, and may have content.
    private func debtTime(_ exchange: Int, _ memory: LimitTables) -> UInt64 {
        let plans = limits
        let meter = meters[exchange].pointee
        let wait = plans.wait(meter.plan, .download, meter.caller, now: now, in: memory.rates)
        guard !exchanges[exchange].pointee.flags.contains(.requestComplete) else { return wait }
        return max(
            wait, plans.wait(meter.plan, .upload, meter.caller, now: now, in: memory.rates))
    }

    /// Begins to charge the exchange's bytes, if its plan says so.
    ///
    /// - Parameter texts: as `LimitCaller.texts`.
    func startMeters(_ exchange: Int, _ plan: Int32, _ texts: [4 of UInt64]) {
        guard plan >= 0, limitTables != nil else { return }
        let state = exchanges[exchange]
        let plans = limits
        var caller = plans.caller(downstreams[Int(state.pointee.downstream)].pointee.peer)
        caller.texts = texts
        let upload = plans.turn(plan, .upload, caller)
        let download = plans.turn(plan, .download, caller)
        guard upload > 0 || download > 0 else { return }
        if upload > 0 { state.pointee.flags.insert(.metersUpload) }
        if download > 0 { state.pointee.flags.insert(.metersDownload) }
        meters[exchange].pointee = Meter(
            caller: caller, plan: plan,
            upload: TransferMeter(
                turn: upload, least: Ring.bufferBytes, moved: state.pointee.received),
            download: TransferMeter(
                turn: download, least: Ring.bufferBytes, moved: state.pointee.sent))
    }

    /// The plan of a relayed connection; -1: nothing is limited.
    ///
    /// - Parameter site: that it is passed through for; -1: none, or not known any more.
    func relayPlan(_ slot: Int, _ site: Int32) -> Int32 {
        let connections = snapshot.routing.connections
        return connections.site(view: viewIndex(slot), site)?.all ?? arrivalPlan(slot)
    }

    /// A tunnel or relayed connection has both its sides: each direction waits for its debt.
    @inline(never)
    func pauseTunnel(_ exchange: Int) {
        guard let memory = limitTables else { return }
        let state = exchanges[exchange]
        let meter = meters[exchange]
        let plans = limits
        let upload = plans.wait(
            meter.pointee.plan, .upload, meter.pointee.caller, now: now, in: memory.rates)
        if upload > 0 { pause(Int(state.pointee.downstream), upload) }
        let download = plans.wait(
            meter.pointee.plan, .download, meter.pointee.caller, now: now, in: memory.rates)
        if download > 0 { pause(Int(state.pointee.upstream), download) }
    }

    /// The exchange is over: what has not been charged is, and its client may go on. Another
    /// request of the same client waits for the debt.
    @inline(never)
    func endMeters(_ exchange: Int) {
        let state = exchanges[exchange]
        let meter = meters[exchange]
        let received = meter.pointee.upload.take(of: state.pointee.received)
        _ = spend(exchange, .upload, received)
        let sent = meter.pointee.download.take(of: state.pointee.sent)
        _ = spend(exchange, .download, sent)
        if let memory = limitTables {
            limits.unspend(
                meter.pointee.plan, .download, meter.pointee.caller,
                amount: meter.pointee.download.unused(of: state.pointee.sent), now: now,
                in: memory.rates)
        }
        meter.pointee.isHeldBack = false
        state.pointee.flags.subtract([.metersUpload, .metersDownload])
        endPause(Int(state.pointee.downstream))
        if state.pointee.upstream >= 0 { endPause(Int(state.pointee.upstream)) }
    }

    // MARK: - Charging

    /// After a round of content from the client.
    // hot: once per round of a metered exchange.
    @inline(never)
    func chargeUpload(_ exchange: Int) {
        let state = exchanges[exchange]
        let meter = meters[exchange]
        let amount = meter.pointee.upload.take(of: state.pointee.received)
        guard amount > 0 else { return }
        let wait = spend(exchange, .upload, amount)
        guard meter.pointee.upload.pauses(after: amount, wait: wait) else { return }
        let client = Int(state.pointee.downstream)
        switch downstreams[client].pointee.phase {
        case .receivingBody, .tunnel: pause(client, wait)
        // There is nothing more to be read.
        case .awaitingHead, .awaitingAnswer, .ended: break
        }
    }

    /// After a round of content to the client.
    // hot: once per round of a metered exchange.
    @inline(never)
    func chargeDownload(_ exchange: Int) {
        let state = exchanges[exchange]
        let meter = meters[exchange]
        let amount = meter.pointee.download.take(of: state.pointee.sent)
        guard amount > 0 else { return }
        let wait = spend(exchange, .download, amount)
        let slot = Int(state.pointee.upstream)
        guard meter.pointee.download.pauses(after: amount, wait: wait), slot >= 0 else { return }
        switch upstream(slot).pointee.phase {
        case .receivingBody, .tunnel: pause(slot, wait)
        case .connecting, .idle, .awaitingHead, .multiplexing, .ended: break
        }
    }

    private func spend(_ exchange: Int, _ thing: LimitedThing, _ amount: UInt32) -> UInt64 {
        guard amount > 0, let memory = limitTables else { return 0 }
        let meter = meters[exchange]
        let plans = limits
        let pause = plans.spend(
            meter.pointee.plan, thing, meter.pointee.caller, amount: amount, now: now,
            in: memory.rates, journal: &admitted)
        if pause.shadow >= 0 { block.add(.transfersOverShadowLimit) }
        return pause.nanoseconds
    }

    /// The most that a round of bulk may take from a channel: what the turn of its exchange leaves.
    @inline(never)
    func meteredRound(_ slot: Int, _ exchange: Int, _ most: Int) -> Int {
        let meter = meters[exchange]
        let transfer = isDownstream(slot) ? meter.pointee.upload : meter.pointee.download
        return transfer.isOn ? min(most, max(transfer.round, Ring.bufferBytes)) : most
    }

    // MARK: - Pauses

    /// Nothing is read from the channel for so many nanoseconds, whoever wants it.
    private func pause(_ slot: Int, _ nanoseconds: UInt64) {
        let channel = channels[slot]
        if !channel.pointee.flags.contains(.paused) {
            let isWanted = channel.pointee.flags.contains(.wantsInput)
            pauseInput(slot)
            channel.pointee.flags.insert(.paused)
            if isWanted { channel.pointee.flags.insert(.resumesLater) }
            block.add(.transfersPaused)
        }
        armPause(slot, nanoseconds)
    }

    private func armPause(_ slot: Int, _ nanoseconds: UInt64) {
        let end = now.advanced(byNanoseconds: nanoseconds)
        pauses.arm(slot, at: end)
        lastPause = max(lastPause, end)
    }

    /// The channel is read again, if somebody wants it to be.
    private func endPause(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.flags.contains(.paused) else { return }
        let isWanted = channel.pointee.flags.contains(.resumesLater)
        channel.pointee.flags.subtract([.paused, .resumesLater])
        pauses.disarm(slot)
        if isWanted { resumeInput(slot) }
    }

    /// Ends the pauses that are over.
    @inline(never)
    func endPauses() {
        while let slot = pauses.popExpired(now: now) { pauseIsOver(slot) }
        if now.nanoseconds > lastPause.nanoseconds + Worker.pauseTick {
            lastPause = Instant(nanoseconds: 0)
        }
    }

    private func pauseIsOver(_ slot: Int) {
        // Else it is another user's slot by now.
        guard channels[slot].pointee.flags.contains(.paused) else { return }
        let exchange = Int(
            isDownstream(slot)
                ? downstreams[slot].pointee.exchange : upstream(slot).pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.phase != .free else {
            endPause(slot)
            return
        }
        if isDownstream(slot), meters[exchange].pointee.isHeldBack,
            staysHeldBack(exchange, slot)
        {
            return
        }
        restartDeadline(slot)
        if isDownstream(slot) {
            meters[exchange].pointee.upload.resume()
            let upstream = Int(exchanges[exchange].pointee.upstream)
            // A tunnel's deadline is on that side.
            if upstream >= 0 { moveTunnelDeadline(upstream) }
        } else {
            meters[exchange].pointee.download.resume()
        }
        endPause(slot)
        if isDownstream(slot) { goOn(exchange) }
    }

    /// Others of the same client have been let go on before it: it waits for their debt, but not
    /// for ever.
    private func staysHeldBack(_ exchange: Int, _ slot: Int) -> Bool {
        guard let memory = limitTables else { return false }
        let wait = debtTime(exchange, memory)
        guard wait > 0 else { return false }
        let meter = meters[exchange]
        guard now.nanoseconds(since: meter.pointee.heldBackAt) < Worker.heldBackMax else {
            meter.pointee.isHeldBack = false
            endPause(slot)
            noteRefusedDebtor(exchange, memory)
            failExchange(exchange, .rateLimited, retryAfter: LimitFields.seconds(wait))
            return true
        }
        armPause(slot, wait)
        return true
    }

    private func noteRefusedDebtor(_ exchange: Int, _ memory: LimitTables) {
        let plans = limits
        let meter = meters[exchange].pointee
        func debtor(_ thing: LimitedThing) -> Int32 {
            plans.debtor(meter.plan, thing, meter.caller, now: now, in: memory.rates)
        }
        let policy = max(debtor(.download), debtor(.upload))
        guard policy >= 0 else { return }
        nameRefusing(policy)
        tally.refused(meter.caller.address, by: policy, of: plans, now: now)
    }

    /// A request that was held back gets its upstream. A turn of its answer is charged in advance,
    /// so that of many that wait one goes on after the other.
    private func goOn(_ exchange: Int) {
        let meter = meters[exchange]
        guard exchanges[exchange].pointee.isMetered, meter.pointee.isHeldBack else { return }
        meter.pointee.isHeldBack = false
        _ = spend(exchange, .download, meter.pointee.download.prepay())
        meter.pointee.heldBackFor = now.nanoseconds(since: meter.pointee.heldBackAt)
        acquireUpstream(exchange, allowsReuse: true)
        // On a connection that was there already; else it is sent when it is.
        sendRequest(exchange)
        flushStage()
    }

    /// Whoever was kept waiting has all its time again.
    private func restartDeadline(_ slot: Int) {
        switch channels[slot].pointee.deadlineKind {
        case .body:
            if isDownstream(slot) {
                setDeadline(slot, .body, snapshot.timeouts.body)
            } else {
                awaitContent(slot)
            }
        case .tunnel: moveTunnelDeadline(slot)
        case .none, .proxyHeader, .clientHello, .handshake, .requestHead, .keepAlive, .write,
            .connect, .race, .response, .stall, .idle, .queue, .linger, .lingerBriefly:
            break
        }
    }

    /// The deadline of a channel that is paused, or of a tunnel with a side that is, has passed
    /// meanwhile: it begins anew.
    ///
    /// - Returns: false if it is nobody's pause.
    func excusesPause(_ slot: Int, _ kind: DeadlineKind) -> Bool {
        var isPaused = channels[slot].pointee.flags.contains(.paused)
        if kind == .tunnel, !isPaused {
            let exchange = Int(upstream(slot).pointee.exchange)
            isPaused =
                exchange >= 0
                && channels[Int(exchanges[exchange].pointee.downstream)].pointee.flags.contains(
                    .paused)
        }
        guard isPaused else { return false }
        channels[slot].pointee.deadlineKind = kind
        restartDeadline(slot)
        return true
    }

    // MARK: - Reload

    /// Other limits apply: to what is under way from now on, and to what is paused at once.
    ///
    /// - Parameter keepsTexts: they count by the same fields and cookies; whose request was not
    ///   asked about them, or about others, is counted by address.
    @inline(never)
    func meterAnew(keepsTexts: Bool) {
        for exchange in 0..<exchangeSlots.touched
        where exchanges[exchange].pointee.phase != .free {
            let state = exchanges[exchange]
            let former = state.pointee.isMetered ? meters[exchange].pointee : nil
            let plan =
                state.pointee.flags.contains(.relay)
                ? relayPlan(Int(state.pointee.downstream), -1)
                : limitPlan(state.pointee.rules)
            guard plan >= 0 || former != nil else { continue }
            state.pointee.flags.subtract([.metersUpload, .metersDownload])
            let none: [4 of UInt64] = .init(repeating: 0)
            startMeters(exchange, plan, keepsTexts ? former?.caller.texts ?? none : none)
            guard let former else { continue }
            adopt(exchange, former)
            rearm(exchange, Int(state.pointee.downstream), .upload)
            if state.pointee.upstream >= 0 {
                rearm(exchange, Int(state.pointee.upstream), .download)
            }
        }
    }

    /// What was being charged goes on to be, under whatever there is now.
    private func adopt(_ exchange: Int, _ former: Meter) {
        let state = exchanges[exchange]
        var meter = former
        if state.pointee.isMetered {
            // Begins with what has been moved by now: a direction that was not charged until now
            // would be charged for all of it.
            meter = meters[exchange].pointee
            meter.isHeldBack = former.isHeldBack
            meter.heldBackAt = former.heldBackAt
            meter.heldBackFor = former.heldBackFor
        } else {
            // Its pauses have to be ended all the same.
            meter.plan = -1
            state.pointee.flags.insert(.metersUpload)
        }
        meters[exchange].pointee = meter
    }

    /// A pause under the limits that there were ends as those that there are say.
    private func rearm(_ exchange: Int, _ slot: Int, _ thing: LimitedThing) {
        guard channels[slot].pointee.flags.contains(.paused), let memory = limitTables else {
            return
        }
        let meter = meters[exchange]
        guard !meter.pointee.isHeldBack else {
            armPause(slot, debtTime(exchange, memory))
            return
        }
        let plans = limits
        armPause(
            slot,
            plans.wait(meter.pointee.plan, thing, meter.pointee.caller, now: now, in: memory.rates)
        )
    }
}
