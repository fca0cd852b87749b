internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeFailover
internal import EdgeSystem
internal import Glibc

/// What the guardian alone knows, on its way to the proxy, which shows it.
extension GuardianService {
    /// More would not be read by anybody; the oldest goes.
    private static let incidentsMax = 64
    /// What changes within this time is told together.
    private static let newsDelay = Duration.milliseconds(20)
    /// Counters are told so often.
    private static let newsInterval = Duration.seconds(1)

    /// Nil: no address moves.
    var vip: VIPReply? {
        guard let settings = current.configuration.failover?.settings else { return nil }
        if let failure = failover.failure {
            return VIPReply(
                now: Int64(time(nil)), node: settings.nodeName,
                fitness: "failover does not run: \(failure)",
                isInMaintenance: failover.isDrained)
        }
        guard let status = failover.status else { return nil }
        return VIPReply(
            status, settings: settings, fingerprint: current.fingerprint,
            saidAt: failover.statusTime,
            handover: failover.handoverText, now: .now(),
            time: Int64(WallClock.now() / 1_000_000))
    }

    func note(_ incident: Incident) {
        if untold.count == Self.incidentsMax { untold.removeFirst() }
        untold.append(incident)
        newsChanged()
    }

    /// Tells the proxy soon.
    func newsChanged() {
        guard !isNewsDue, exitCode == nil else { return }
        isNewsDue = true
        loop.schedule(after: Self.newsDelay) { [weak self] in
            guard let self else { return }
            self.isNewsDue = false
            self.tellNews()
        }
    }

    /// The counters as well, as long as there is failover.
    func refreshNews() {
        loop.schedule(after: Self.newsInterval) { [weak self] in
            guard let self else { return }
            self.failover.refresh { [weak self] in self?.tellNews() }
            self.refreshNews()
        }
    }

    /// Only a proxy that serves, and that reads what it is told.
    private func tellNews() {
        guard case .serving = supervisor.state, let channel, channel.isIdle else { return }
        let news = GuardianNews(vip: vip, incidents: untold)
        do throws(SystemError) {
            let file = try MemoryFile.makeSealed(name: "edged-news", Array(news.json.text.utf8))
            if channel.send(.news, descriptors: [file.raw]) { untold = [] }
        } catch {
            Log.error("\(error)")
        }
    }

    /// A proxy began or ended to serve.
    func noteServing(_ notice: SupervisorMachine.Notice) {
        let now = Int64(time(nil))
        switch notice {
        case .notServing(let why):
            if outage == nil { outage = (now, why, totals) }
        case .ready:
            if let outage {
                note(
                    Incident(
                        kind: .proxyRestarted, subject: "", text: outage.why, begun: outage.begun,
                        ended: now,
                        requests: Int64(clamping: totals.answers &- outage.totals.answers),
                        failures: Int64(clamping: totals.errors &- outage.totals.errors)))
            }
            outage = nil
            newsChanged()
        case .stopping: break
        }
    }
}
