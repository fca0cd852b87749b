internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// What the guardian tells of the addresses that move between nodes, and what it is told of this
/// proxy.
extension ProxyService {
    /// More is no news of a guardian's.
    private static let newsBytesMax = 1 << 20

    func took(_ descriptors: OwnedDescriptors) {
        guard let descriptor = descriptors.borrowed.first else { return }
        do {
            guard
                let bytes = try Descriptor.readAll(descriptor, byteCountMax: Self.newsBytesMax)
            else { return }
            let news = try GuardianNews(json: JSONValue(parsing: bytes))
            operation.news = news
            for incident in news.incidents { operation.incidents.take(incident) }
            // A guardian of another program may know nothing of what was told to the one before.
            operation.toldTroubles = nil
            tellFitness()
        } catch {
            Log.error("what the guardian tells is not understood", ["error": "\(error)"])
        }
    }

    func vip() -> VIPReply? {
        guard var vip = operation.news?.vip else { return nil }
        vip.now = Int64(time(nil))
        return vip
    }

    func yieldVIP(
        isForced: Bool, completion: @escaping (Result<VIPYieldReply, OrderRefusal>) -> Void
    ) {
        guard operation.news?.vip != nil else {
            return completion(.failure(OrderRefusal("no address moves between nodes")))
        }
        let begun = Instant.now()
        ask({ .yieldPlease(requestID: $0, isForced: isForced) }) { outcome, said in
            completion(
                .success(
                    VIPYieldReply(
                        isMoved: outcome == .done, lines: said,
                        milliseconds: Int64(Instant.now().nanoseconds(since: begun) / 1_000_000))))
        }
    }

    // MARK: - Fitness

    /// At every beat: what this node lacks that the other may have.
    func tellFitness() {
        guard operation.news != nil, phase == .serving else { return }
        let troubles = troubles.rawValue
        guard troubles != operation.toldTroubles else { return }
        if channel?.send(.fitness(troubles: troubles)) == true {
            operation.toldTroubles = troubles
        }
    }

    private var troubles: Fitness.Troubles {
        var troubles: Fitness.Troubles = []
        if operation.incidents.goesOn(.upstreamDown) { troubles.insert(.upstreams) }
        let servers = resolver?.serverReports ?? []
        if !servers.isEmpty, servers.allSatisfy({ !$0.degraded.isEmpty }) {
            troubles.insert(.names)
        }
        let now = Int64(time(nil))
        let entries = current?.certificateEntries ?? []
        if entries.contains(where: { $0.verdict == .unusable || $0.notAfter < now }) {
            troubles.insert(.certificates)
        }
        return troubles
    }

    // MARK: - Incidents over a restart

    /// Goes on with the book that was kept.
    func rememberIncidents(_ preparation: Preparation, _ flags: ProxyCommand.Flags) {
        guard let directory = preparation.configuration.stateDirectory else { return }
        let store = IncidentStore(directory: directory, loop: loop)
        operation.incidentStore = store
        guard let kept = store.load() else { return }
        operation.incidents = IncidentBook(
            kept, at: Int64(time(nil)),
            isDaemonNew: flags.isDisjoint(with: [.restarted, .successor]))
    }

    /// At every beat.
    func keepIncidents() {
        guard phase == .serving else { return }
        operation.incidentStore?.keep(operation.incidents, since: incidentsSince, isEnding: false)
    }

    /// We have been told to end: whoever reads the file next knows that.
    func closeIncidents() {
        guard let store = operation.incidentStore else { return }
        store.keep(operation.incidents, since: incidentsSince, isEnding: true)
        operation.closingStore = store
        operation.incidentStore = nil
    }

    /// Since when incidents are noted.
    var incidentsSince: Int64 { operation.incidents.since ?? startedTime }
}
