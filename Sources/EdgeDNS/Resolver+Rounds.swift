internal import EdgeCore
internal import EdgeSystem

/// Asking, and what becomes of the answers.
extension Resolver {
    // MARK: - Asking

    /// Asks for what is due, as much as may be out.
    func beginRounds(now: Instant) {
        if settings.usesHosts { hosts.refresh(now: now, interval: cache.timing.ceiling) }
        guard cache.nextDue <= now else { return }
        for group in -1..<groups.count { beginRounds(of: group, now: now) }
    }

    private func beginRounds(of group: Int, now: Instant) {
        let isMeant = { self.groupIndex(for: $0) == group }
        let services = cache.takeDueServices(now: now, room: room(group), where: isMeant)
        for name in services { begin(.service(name), now: now) }
        // Each name that the hosts file answers makes room for another, so that this ends.
        for _ in 0..<Self.outstandingMax {
            let due = cache.takeDue(now: now, room: room(group), where: isMeant)
            guard !due.isEmpty else { return }
            for name in due where !answerFromHosts(name, now: now) { begin(.host(name), now: now) }
        }
    }

    /// How many more may be asked of a group at once.
    func room(_ group: Int) -> Int {
        Self.outstandingMax - rounds.keys.count { groupIndex(for: $0.name) == group }
    }

    private func answerFromHosts(_ name: String, now: Instant) -> Bool {
        guard settings.usesHosts, let answer = hosts.table.answer(for: name) else {
            fromHosts.remove(name)
            return false
        }
        fromHosts.insert(name)
        answered(
            .host(answer.without(ownAddresses)), of: .host(name), isSuspicious: false, now: now)
        return true
    }

    private func begin(_ subject: QuerySubject, now: Instant) {
        let servers = servers(of: groupIndex(for: subject.name), now: now)
        let isHurried =
            switch subject {
            case .host(let name): cache[name]?.schedule.isHurried ?? false
            case .service(let name): cache[service: name]?.schedule.isHurried ?? false
            }
        rounds[subject] = NameRound(
            subject, servers: servers.map(\.number), isHurried: isHurried, timing: cache.timing,
            now: now)
        let lostAfter = cache.timing.tryTimeout
        for server in servers { ask(subject, of: server, lostAfter: lostAfter, now: now) }
    }

    private func ask(
        _ subject: QuerySubject, of server: DNSServer, lostAfter: Duration, now: Instant
    ) {
        server.ask(subject, now: now, lostAfter: lostAfter, finished: finished) {
            DNSChannel(
                server: server.address, loop: loop, tryTimeout: cache.timing.tryTimeout
            ) { [weak self] in self?.pump() }
        }
    }

    // MARK: - Hearing

    /// Hands what has come to the rounds it is for.
    func collect() {
        let now = Instant.now()
        for query in finished.takeAll() {
            guard let server = servers[query.server], server.pending[query.subject] === query
            else { continue }
            if query.isEnded {
                server.pending[query.subject] = nil
                heard(query.answer, of: query, server: server, now: now)
            } else if query.answer.failure == nil {
                rounds[query.subject]?.set(server.number, .partial(since: now))
            }
        }
    }

    private func heard(
        _ answer: QueryAnswer, of query: DNSQuery, server: DNSServer, now: Instant
    ) {
        let subject = query.subject
        let before = server.watch.degraded
        note(answer, of: subject, server: server, now: now)
        if rounds[subject]?.replies[server.number]?.isOpen == true {
            weigh(answer, of: subject, server: server, now: now)
        } else if case .host(let host) = answer {
            // Too late to count, but it says something about the server.
            let window = evidenceWindow.nanoseconds
            let since = Instant(nanoseconds: now.nanoseconds - min(window, now.nanoseconds))
            _ = judge(host, subject.name, server, since: since, now: now, isFinal: true)
        }
        // Answers that waited for this one.
        for (other, round) in rounds {
            guard case .held(let answer, let witnesses, _) = round.replies[server.number],
                witnesses.contains(subject.name)
            else { continue }
            weigh(answer, of: other, server: server, now: now)
        }
        log(server, before: before)
    }

    private func note(
        _ answer: QueryAnswer, of subject: QuerySubject, server: DNSServer, now: Instant
    ) {
        var addresses: [SocketAddress] = []
        var failure = answer.failure
        if case .host(let host) = answer {
            addresses = host.addresses
            failure = host.without(ownAddresses).failure
        }
        server.watch.heard(
            subject.name, addresses, failure: failure, isRemembered: isKnown(subject),
            ownAddresses: ownAddresses, now: now)
    }

    private func isKnown(_ subject: QuerySubject) -> Bool {
        // From disk: what this process has learnt may be another server's.
        switch subject {
        case .host(let name): cache[name].map { $0.isRestored } ?? false
        case .service(let name): cache[service: name].map { $0.isRestored } ?? false
        }
    }

    /// Decides what a server's answer is worth to its round.
    ///
    /// - Parameter isFinal: there is no time to ask for other names first.
    private func weigh(
        _ answer: QueryAnswer, of subject: QuerySubject, server: DNSServer, now: Instant,
        isFinal: Bool = false
    ) {
        guard let round = rounds[subject] else { return }
        let number = server.number
        guard case .host(let host) = answer else {
            let reply: NameRound.Reply =
                answer.failure == nil ? .good(answer, at: now) : .useless(answer)
            rounds[subject]?.set(number, reply)
            return
        }
        let usable = host.without(ownAddresses)
        guard usable.failure == nil else {
            rounds[subject]?.set(number, .useless(.host(usable)))
            return
        }
        let verdict = judge(
            host, subject.name, server, since: round.asked, now: now, isFinal: isFinal)
        switch verdict {
        case .believed: rounds[subject]?.set(number, .good(.host(usable), at: now))
        case .suspicious: rounds[subject]?.set(number, .suspicious(.host(usable)))
        case .undecided(let wanted):
            hold(answer, of: subject, server: server, witnesses: wanted, now: now)
        }
    }

    /// How long ago other names' answers may be to show that a server still says one thing.
    private var evidenceWindow: Duration { cache.timing.ceiling * 2 }

    private func judge(
        _ answer: NameAnswer, _ name: String, _ server: DNSServer, since: Instant, now: Instant,
        isFinal: Bool
    ) -> ServerWatch.Verdict {
        server.watch.judge(
            name, answer.addresses, before: cache[name]?.addresses ?? [],
            known: { known(to: server) }, asked: since, window: evidenceWindow, now: now,
            isFinal: isFinal)
    }

    /// Asks the same server for other names before an answer is believed. Those that were asked
    /// already have said nothing that helps.
    private func hold(
        _ answer: QueryAnswer, of subject: QuerySubject, server: DNSServer,
        witnesses wanted: Set<String>, now: Instant
    ) {
        var asked: Set<String> = []
        if case .held(_, let witnesses, _) = rounds[subject]?.replies[server.number] {
            asked = witnesses
        } else {
            asked = wanted
            // A server that says one thing says it at once, also of names that it did not answer
            // before: those are asked again, and not waited for longer than that.
            let moment = cache.timing.patience / 2
            for name in wanted {
                let isMute = server.watch.isMute(name)
                ask(.host(name), of: server, lostAfter: isMute ? .zero : moment, now: now)
            }
            let until =
                asked.allSatisfy(server.watch.isMute)
                ? now.advanced(by: moment) : rounds[subject]?.deadline ?? now
            rounds[subject]?.set(server.number, .held(answer, witnesses: asked, until: until))
        }
        let isWaiting = asked.contains { server.pending[.host($0)] != nil }
        if !isWaiting { weigh(answer, of: subject, server: server, now: now, isFinal: true) }
    }

    /// What is believed of the names of this server's group.
    private func known(to server: DNSServer) -> [String: [SocketAddress]] {
        cache.known { groupIndex(for: $0) == server.group && !fromHosts.contains($0) }
    }

    // MARK: - Deciding

    /// Ends the rounds whose answer is known, or for which time is up.
    func endRounds(now: Instant) {
        for subject in rounds.keys.sorted(by: { $0.name < $1.name }) {
            guard let round = rounds[subject] else { continue }
            for number in round.overdue(now: now) { giveUpWaiting(subject, number, now: now) }
            guard
                let decision = rounds[subject]?.decision(
                    now: now, isNews: { self.isNews($0, of: subject) })
            else { continue }
            rounds[subject] = nil
            let server = servers[decision.server]?.name ?? ""
            answered(
                decision.answer, of: subject, isSuspicious: decision.isSuspicious,
                server: server, now: now)
        }
    }

    private func giveUpWaiting(_ subject: QuerySubject, _ number: Int, now: Instant) {
        guard let server = servers[number] else {
            rounds[subject]?.set(number, .useless(.failed(.cancelled, subject)))
            return
        }
        switch rounds[subject]?.replies[number] {
        case .held(let answer, _, _):
            weigh(answer, of: subject, server: server, now: now, isFinal: true)
        case .awaited, .partial:
            let answer = server.pending[subject]?.answer ?? .failed(.timeout, subject)
            weigh(answer, of: subject, server: server, now: now, isFinal: true)
        case .good, .suspicious, .useless, nil: break
        }
    }

    private func isNews(_ answer: QueryAnswer, of subject: QuerySubject) -> Bool {
        switch answer {
        case .host(let host): host.addresses != cache[subject.name]?.addresses
        case .service(.records(let records, _)):
            ServiceMachine.canonical(records) != cache[service: subject.name]?.records
        case .service: false
        }
    }

    /// Tells the cache.
    func answered(
        _ answer: QueryAnswer, of subject: QuerySubject, isSuspicious: Bool, server: String = "",
        now: Instant
    ) {
        let before = status(of: subject)
        switch (subject, answer) {
        case (.host(let name), .host(let answer)):
            if cache.answered(name, answer, isSuspicious: isSuspicious, now: now) != nil {
                store?.changed()
            }
        case (.service(let name), .service(let answer)):
            let records = cache[service: name]?.records
            cache.answered(service: name, answer, now: now)
            if cache[service: name]?.records != records { store?.changed() }
        case (.host, .service), (.service, .host): return
        }
        stir(subject.name)
        forgetOthers()
        log(subject, before: before, server: server)
    }

    // MARK: - Log

    private struct SubjectStatus {
        let failures: Int
        let failure: QueryFailure?
        let isKnown: Bool
    }

    private func status(of subject: QuerySubject) -> SubjectStatus? {
        switch subject {
        case .host(let name):
            cache[name].map {
                SubjectStatus(
                    failures: $0.failures, failure: $0.lastFailure, isKnown: !$0.addresses.isEmpty)
            }
        case .service(let name):
            cache[service: name].map {
                SubjectStatus(
                    failures: $0.schedule.failures, failure: $0.lastFailure,
                    isKnown: !$0.records.isEmpty)
            }
        }
    }

    /// One line when a name is lost or found again, not one per failed query.
    private func log(_ subject: QuerySubject, before: SubjectStatus?, server: String) {
        guard let before, let after = status(of: subject) else { return }
        if before.failures == 0, after.failures == 1, let failure = after.failure {
            let kept = after.isKnown ? "keeping what is known" : "no address known"
            let resolver = group(groupIndex(for: subject.name)).name
            Log.warning(
                "dns: no answer, \(kept)",
                [
                    "name": subject.name, "error": failure.label, "resolver": resolver,
                    "server": server,
                ])
        } else if before.failures > 0, after.failures == 0 {
            Log.notice("dns: answered again", ["name": subject.name, "server": server])
        }
    }

    /// One line when a server begins to be degraded in some way, and one when that is over.
    private func log(_ server: DNSServer, before: [ServerWatch.Degradation]) {
        let after = server.watch.degraded
        for item in after where !before.contains(where: { $0.reason == item.reason }) {
            var names = item.names.prefix(5).joined(separator: ", ")
            if item.names.count > 5 { names += ", …" }
            Log.warning(
                "dns: a resolver is degraded",
                [
                    "reason": item.reason.rawValue, "resolver": server.groupName,
                    "server": server.name, "names": names,
                    "address": item.address?.addressText ?? "-",
                ])
        }
        for item in before where !after.contains(where: { $0.reason == item.reason }) {
            Log.notice(
                "dns: a resolver is degraded no more",
                [
                    "reason": item.reason.rawValue, "resolver": server.groupName,
                    "server": server.name,
                ])
        }
    }
}
