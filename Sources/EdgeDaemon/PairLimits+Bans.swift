internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeLimits
internal import EdgePair

/// Bans of both nodes, and what both refuse.
extension PairLimits {
    /// What the other node's policies have come to, as it was told.
    struct Told {
        let refusals: PairRefusals
        let at: LimitDesk.Moment
    }

    // MARK: - Bans

    /// Something has begun here; without a link it is told when there is one.
    func changed(_ change: LimitDesk.Change) {
        begun.append(desk.sharing.began(change, at: LimitDesk.Moment.now().time))
        guard begun.count < PairMessage.bansMax else { return tellBegun() }
        guard banTimer == nil else { return }
        banTimer = loop.schedule(after: Self.banDelay) { [weak self] in self?.tellBegun() }
    }

    private func tellBegun() {
        if let banTimer { loop.cancel(banTimer) }
        banTimer = nil
        guard !begun.isEmpty else { return }
        send(.bans(PairBans(isList: false, bans: begun)))
        begun = []
    }

    /// What has begun until now is in the list.
    func tellBans() {
        begun = []
        let now = LimitDesk.Moment.now()
        let known = desk.allBans(at: now)
        for message in desk.sharing.opened(known, at: now.time) { send(message) }
    }

    func take(_ told: PairBans) {
        let now = LimitDesk.Moment.now()
        let known = desk.allBans(at: now)
        let deeds = desk.sharing.take(told, from: peerName, known: known, at: now.time)
        var count = 0
        for deed in deeds {
            switch deed {
            case .ban(let ban):
                guard desk.apply(ban, isOurs: false, at: now) else { continue }
                count += 1
                guard !told.isList else { continue }
                Log.notice(
                    "limits: banned by the other node",
                    [
                        "client": "\(ban.client)", "policy": ban.policy ?? "",
                        "for": "\(ban.until - now.time) s", "node": peerName,
                    ])
            case .lift(let client):
                guard let plans = currentPlans else { continue }
                let lifted = desk.lift(client, plans: plans, isOurs: false, at: now)
                guard lifted > 0 else { continue }
                Log.notice(
                    "limits: a ban was lifted on the other node",
                    ["client": "\(client)", "node": peerName])
            }
        }
        bansTaken += count
        guard told.isList, count > 0 else { return }
        Log.notice("limits: bans of the other node", ["count": "\(count)", "node": peerName])
    }

    // MARK: - What is refused

    /// Whatever is to be told of this node's policies; nil: there are none.
    func refusals(at now: LimitDesk.Moment) -> PairRefusals? {
        let figures = desk.figures
        guard !figures.isEmpty else { return nil }
        func age(_ instant: Instant) -> UInt32 {
            UInt32(clamping: now.instant.nanoseconds(since: instant) / 1_000_000_000)
        }
        return PairRefusals(
            policies: figures.sorted { $0.key < $1.key }.prefix(PairMessage.policiesMax).map {
                PairRefusals.Policy(
                    name: $0.key, admitted: $0.value.admitted, refused: $0.value.refused,
                    shadow: $0.value.shadow, bans: $0.value.bans)
            },
            rows: desk.refused(at: now).prefix(PairMessage.refusedMax).map { row in
                PairRefusals.Row(
                    client: row.key.client.base, bits: row.key.client.bits,
                    policy: row.key.policy, isShadow: row.key.isShadow, count: row.count,
                    surplus: row.surplus, firstAge: age(row.first), lastAge: age(row.last))
            })
    }

    func take(_ refusals: PairRefusals) { told = Told(refusals: refusals, at: .now()) }
}

extension PairLimits.Told {
    /// Of a policy of that name, nothing if it has none.
    func figures(_ policy: String) -> LimitNews.Figures {
        var figures = LimitNews.Figures()
        for row in refusals.policies where row.name == policy {
            figures.admitted = row.admitted
            figures.refused = row.refused
            figures.shadow = row.shadow
            figures.bans = row.bans
        }
        return figures
    }

    /// Adds the other node's rows to ours; most first.
    func merged(
        _ own: [TopTable<LimitNews.Refused>.Row]
    ) -> [TopTable<LimitNews.Refused>.Row] {
        func instant(_ age: UInt32) -> Instant {
            let then = UInt64(age) * 1_000_000_000
            return Instant(nanoseconds: at.instant.nanoseconds - min(then, at.instant.nanoseconds))
        }
        var table = TopTable<LimitNews.Refused>(capacity: own.count + refusals.rows.count)
        for row in refusals.rows {
            table.note(
                LimitNews.Refused(
                    client: ClientNetwork(row.client, ipv4Bits: row.bits, ipv6Bits: row.bits),
                    policy: row.policy, isShadow: row.isShadow),
                count: row.count, surplus: row.surplus, first: instant(row.firstAge),
                now: instant(row.lastAge))
        }
        for row in own {
            table.note(
                row.key, count: row.count, surplus: row.surplus, first: row.first, now: row.last)
        }
        return table.sorted
    }
}
