internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeFailover
internal import EdgeSystem
internal import EdgeVRRP

extension VIPReply {
    /// What the failover thread has said last, for people.
    ///
    /// - Parameters:
    ///   - settings: those that it has been given.
    ///   - fingerprint: of this node's files.
    ///   - saidAt: when the thread said so.
    ///   - now: on the monotonic clock, at the Unix time `time` in milliseconds.
    init(
        _ status: FailoverStatus, settings: FailoverSettings, fingerprint: UInt64,
        saidAt: Instant, handover: String, now: Instant, time: Int64
    ) {
        func moment(_ instant: Instant) -> Int64 {
            time - Int64(now.nanoseconds(since: instant) / 1_000_000)
        }
        self.init(
            now: time / 1000, node: status.nodeName, fitness: "\(status.standing.fitness)",
            isInMaintenance: status.standing.isInMaintenance, handover: handover,
            scheduling: status.realTime.summary)
        instances = status.instances.map { instance in
            let election = instance.election
            let known = settings.instances.first { $0.name == election.name }
            return VIPInstance(
                name: election.name, routerID: Int64(election.routerID),
                interface: instance.interfaceName, link: instance.link.rawValue,
                addresses: instance.addresses.map {
                    "\($0.address.addressText)/\($0.prefixLength)"
                },
                state: VIPState(election.state), since: moment(election.since) / 1000,
                cause: "\(election.cause)", priority: Int64(election.priority),
                intervalMilliseconds: Int64((known?.interval ?? .zero).nanoseconds / 1_000_000),
                heardMaster: election.heardMaster?.source.addressText,
                heardPriority: election.heardMaster.map { Int64($0.priority) },
                waitsFor: election.holdBack?.rawValue, rival: election.rival?.addressText,
                transitions: election.history.map { transition in
                    VIPTransition(
                        from: VIPState(transition.from), to: VIPState(transition.to),
                        cause: "\(transition.cause)", atMilliseconds: moment(transition.at))
                }, counters: election.counters.named)
        }
        peers = status.peers.map { peer in
            let message = peer.message
            return VIPPeer(
                name: message.nodeName, address: peer.address.addressText,
                fitness: "\(message.standing.fitness)",
                isInMaintenance: message.standing.isInMaintenance,
                heard: moment(peer.heardAt) / 1000, isLive: peer.liveUntil > saidAt,
                version: message.programVersion,
                hasSameFiles: message.configurationFingerprint == fingerprint,
                clockMilliseconds: peer.clockDifference / 1_000_000,
                states: status.instances.compactMap { instance in
                    let election = instance.election
                    return message.instances.first { $0.routerID == election.routerID }.map {
                        VIPPeerState(
                            instance: election.name, state: VIPState($0.state),
                            priority: Int64($0.priority), isReady: $0.isReady)
                    }
                })
        }
        counters = status.figures.named
    }
}

extension VIPState {
    init(_ state: ElectionState) {
        self =
            switch state {
            case .initialize: .initialize
            case .backup: .backup
            case .master: .master
            case .fault: .fault
            }
    }
}

extension ElectionCounters {
    /// Those that are not 0.
    fileprivate var named: [NamedCount] {
        NamedCount.present([
            ("advertisements_sent", advertisementsSent),
            ("advertisements_heard", advertisementsHeard),
            ("advertisements_distrusted", advertisementsDistrusted),
            ("address_lists_differing", addressListsDiffering),
            ("priority_zero_sent", priorityZeroSent),
            ("priority_zero_heard", priorityZeroHeard),
            ("take_overs", takeOvers), ("handovers", handovers),
            ("handovers_failed", handoversFailed), ("conflicts_won", conflictsWon),
            ("conflicts_lost", conflictsLost), ("announcements", announcements),
            ("lateness_forgiven", latenessForgiven),
            ("lateness_nanoseconds", latenessNanoseconds),
            ("take_overs_deferred", takeOversDeferred),
        ])
    }
}

extension FailoverStatus.Figures {
    /// Those that are not 0.
    fileprivate var named: [NamedCount] {
        NamedCount.present(
            [
                ("packets_sent", packetsSent), ("packets_received", packetsReceived),
                ("send_failures", sendFailures),
                ("addresses_added", addresses.added), ("addresses_removed", addresses.removed),
                ("addresses_restored", addresses.restored),
                ("addresses_left_behind", addresses.leftBehind),
                ("address_failures", addresses.failures),
                ("announcements_sent", announcements.sent),
                ("announcement_failures", announcements.failures),
                ("presence_sent", presenceSent),
                ("presence_send_failures", presenceSendFailures),
                ("presence_heard", presenceHeard),
                ("clock_jumps", clockJumps),
                ("late_turns", lateness.counts.dropFirst(3).reduce(0, +)),
                ("lateness_max_nanoseconds", lateness.max.nanoseconds),
            ]
                + AdvertisementRefusal.allCases.map {
                    ("refused_\($0.rawValue)", refusals[$0] ?? 0)
                }
                + PresenceRefusal.allCases.map {
                    ("presence_refused_\($0.rawValue)", presenceRefusals[$0] ?? 0)
                })
    }
}

extension NamedCount {
    fileprivate static func present(_ counts: [(String, UInt64)]) -> [NamedCount] {
        counts.filter { $0.1 > 0 }.map { NamedCount($0.0, Int64(clamping: $0.1)) }
    }
}
