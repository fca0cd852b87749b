import EdgeCore

@testable import EdgeVRRP

/// What can go wrong, and how it is put right.
extension PairSimulation {
    /// A guardian starts: whatever an earlier one has left on the interface goes.
    mutating func boot(_ index: Int) {
        let settings = nodes[index].settings
        nodes[index].isRunning = true
        nodes[index].stalledUntil = nil
        nodes[index].holds = false
        nodes[index].queue = []
        nodes[index].wakeAt = .never
        nodes[index].election = ElectionMachine(settings: settings, now: now)
        nodes[index].boots += 1
        makePresence(index, bootID: random.next(), sequence: 1)
        trace.note(now, index, "starts")
        for family in settings.families.map(\.family) {
            feed(.localAddress(family, nodes[index].addresses[family]), to: index)
        }
        feed(.link(isUp: nodes[index].hasCarrier), to: index)
        feed(.readiness(.all), to: index)
        feed(.standing(nodes[index].standing), to: index)
        feed(.start, to: index)
        plan(index)
    }

    private mutating func makePresence(_ index: Int, bootID: UInt64, sequence: UInt64) {
        guard setup.hasPresence else { return }
        nodes[index].presence = PresenceMachine(
            configuration: PresenceMachine.Configuration(
                nodeName: "lb-0\(index + 1)", bootID: bootID, programVersion: "1",
                peers: [SimulatedNode.presenceAddress(1 - index)],
                interval: setup.presenceInterval, timeout: setup.presenceInterval * 3),
            authenticator: .toy, seed: random.next(), sequence: sequence, now: now)
    }

    mutating func stall(_ index: Int, for span: Duration) {
        guard nodes[index].isRunning, nodes[index].isPowered else { return }
        let until = now.advanced(by: span)
        trace.note(now, index, "stopped for \(span)")
        nodes[index].stalledUntil = max(nodes[index].stalledUntil ?? until, until)
        heap.push(.resume(node: index), at: nodes[index].stalledUntil ?? until)
    }

    mutating func cutPower(_ index: Int, for span: Duration) {
        guard nodes[index].isPowered else { return }
        trace.note(now, index, "loses power for \(span)")
        nodes[index].isPowered = false
        nodes[index].isRunning = false
        nodes[index].holds = false
        nodes[index].stalledUntil = nil
        nodes[index].queue = []
        heap.push(.powerOn(node: index), at: now.advanced(by: span))
    }

    /// The guardian dies; its addresses stay on the interface until the next one starts.
    mutating func kill(_ index: Int, for span: Duration) {
        guard nodes[index].isPowered, nodes[index].isRunning else { return }
        trace.note(now, index, "guardian dies for \(span)")
        nodes[index].isRunning = false
        nodes[index].stalledUntil = nil
        heap.push(.respawn(node: index), at: now.advanced(by: span))
    }

    /// The guardian executes itself, announced.
    mutating func upgrade(_ index: Int, silence: Duration) {
        guard nodes[index].isSound else { return }
        trace.note(now, index, "executes itself, \(silence)")
        feed(.announcePause(.milliseconds(50)), to: index)
        let record = nodes[index].election.export()
        let sequence = nodes[index].presence?.sequence ?? 1
        nodes[index].isRunning = false
        heap.push(
            .successor(node: index, record, sequence: sequence),
            at: now.advanced(by: silence))
    }

    mutating func resume(_ index: Int, _ record: ElectionRecord, sequence: UInt64) {
        guard !nodes[index].isRunning else { return }
        nodes[index].isRunning = true
        nodes[index].wakeAt = .never
        let bootID = nodes[index].presence?.configuration.bootID ?? 0
        makePresence(index, bootID: bootID, sequence: sequence)
        nodes[index].election = ElectionMachine(settings: nodes[index].settings, now: now)
        let families = nodes[index].settings.families.map(\.family)
        let actions = nodes[index].election.resume(
            record, localAddresses: nodes[index].addresses.filter { families.contains($0.key) },
            readiness: .all, standing: nodes[index].standing, now: now)
        trace.note(now, index, "goes on as \(nodes[index].election.state)")
        perform(actions, index)
        if !nodes[index].hasCarrier { feed(.link(isUp: false), to: index) }
    }

    /// Other settings that change nobody's rank.
    mutating func reload(_ index: Int) {
        guard nodes[index].isPowered, nodes[index].isRunning, nodes[index].stalledUntil == nil
        else { return }
        trace.note(now, index, "has other settings")
        var settings = nodes[index].settings
        settings.announcements.repeats = Int.random(in: 0...16, using: &random)
        settings.damping.takeOversMax = Int.random(in: 1...4, using: &random)
        perform(nodes[index].election.reconfigure(settings, now: now), index)
    }

    mutating func setCarrier(_ index: Int, _ isUp: Bool) {
        guard nodes[index].hasCarrier != isUp else { return }
        trace.note(now, index, isUp ? "link up" : "link down")
        nodes[index].hasCarrier = isUp
        feed(.link(isUp: isUp), to: index)
    }

    mutating func setStanding(_ index: Int, _ standing: Standing) {
        guard nodes[index].standing != standing else { return }
        trace.note(now, index, "\(standing.fitness) maintenance \(standing.isInMaintenance)")
        nodes[index].standing = standing
        feed(.standing(standing), to: index)
    }

    // MARK: - Storms

    /// One thing goes wrong or is put right.
    mutating func strike() {
        let index = Int.random(in: 0..<2, using: &random)
        let interval = setup.interval
        func span(_ times: ClosedRange<Int>) -> Duration {
            interval * Int.random(in: times, using: &random)
        }
        switch Int.random(in: 0..<(setup.reloads ? 19 : 18), using: &random) {
        case 0: stall(index, for: span(1...12))
        case 1: stall(index, for: span(10...200))
        case 2: cutPower(index, for: span(5...100))
        case 3: kill(index, for: span(3...30))
        case 4: upgrade(index, silence: .milliseconds(Int.random(in: 5...50, using: &random)))
        case 5: setCarrier(index, !nodes[index].hasCarrier)
        case 6: nodes[index].isOutCut.toggle()
        case 7: nodes[index].isInCut.toggle()
        case 8: lossPercent = [0, 5, 30, 60].randomElement(using: &random) ?? 0
        case 9: duplicationPercent = [0, 20].randomElement(using: &random) ?? 0
        case 10: delayMax = [400_000, 5_000_000, 40_000_000].randomElement(using: &random) ?? 0
        case 11:
            // Civil time jumps; nothing may depend on it.
            nodes[index].wallOffset &+=
                UInt64(bitPattern: Int64.random(in: -9...9, using: &random))
                &* 3_600_000_000_000
        case 12, 16: setStanding(index, randomStanding())
        case 13: isVRRPCut = chance(30)
        case 14, 17: feed(.yield(isForced: chance(50)), to: index)
        case 18: reload(index)
        default: setStanding(index, Standing(fitness: .fit))
        }
        noteImpairment()
    }

    mutating func randomStanding() -> Standing {
        let fitness: Fitness =
            switch Int.random(in: 0..<5, using: &random) {
            case 0: .fit
            case 1: .degraded(.names)
            case 2: .degraded([.names, .upstreams])
            case 3: .unfit(.proxyNotServing, answers: false)
            default: .unfit(.trackedInterface, answers: true)
            }
        return Standing(fitness: fitness, isInMaintenance: chance(15))
    }

    /// The network is as it should be; hosts are up again soon.
    mutating func calm() {
        lossPercent = setup.lossPercent
        duplicationPercent = 0
        isVRRPCut = false
        delayMax = 400_000
        for index in nodes.indices {
            nodes[index].isOutCut = false
            nodes[index].isInCut = false
            if nodes[index].stalledUntil != nil {
                nodes[index].stalledUntil = now
                heap.push(.resume(node: index), at: now)
            }
            setCarrier(index, true)
        }
        trace.note(now, -1, "calm")
        noteImpairment()
    }
}
