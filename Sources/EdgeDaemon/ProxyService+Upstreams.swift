internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgeUpstream

/// Members, names and DNS servers as the admin socket shows them, and an administrator's word about
/// a member.
extension ProxyService {
    func upstreamStatus(_ upstream: UpstreamConfiguration) -> UpstreamStatus {
        let rows = health?.report(of: upstream.name) ?? []
        let isFailingOpen = health?.isFailingOpen(upstream.name) ?? false
        let available = rows.count { $0.rank == .preferred || $0.rank == .fallback }
        let allDown: String? =
            if isFailingOpen { "open" } else if available == 0 { "closed" } else { nil }
        return UpstreamStatus(
            name: upstream.name, tls: upstream.tls != nil,
            members: rows.map { member($0, of: upstream.name) }, policy: upstream.policyWords,
            available: Int64(isFailingOpen ? 0 : available), total: Int64(rows.count),
            allDown: allDown)
    }

    /// An upstream's members as an explanation shows them, and whether none of them may be asked.
    func members(of upstream: String) -> (members: [ExplainMember], isDown: Bool) {
        let known = current?.configuration.upstreams.first { $0.name == upstream }
        guard let status = known.map(upstreamStatus) else { return ([], true) }
        return (
            status.members.map {
                ExplainMember(
                    address: $0.address.isEmpty ? $0.source : $0.address, state: $0.state,
                    reason: $0.reason)
            }, status.allDown == "closed"
        )
    }

    private func member(_ row: MemberHealthReport, of upstream: String) -> MemberStatus {
        let seen = row.address.flatMap { health?.seen(upstream, $0) }
        let isFine = row.state == .up || row.state == .standby
        return MemberStatus(
            address: row.address.map { "\($0)" } ?? "", source: row.source, state: row.state.word,
            reason: isFine ? row.remedy : row.failure, since: unixTime(row.since),
            weight: Int64(row.weight), isBackup: row.isBackup, admin: "\(row.admin)",
            checksPassed: Int64(clamping: row.checksPassed),
            checksFailed: Int64(clamping: row.checksFailed),
            ejections: Int64(clamping: row.ejections),
            certificateNotAfter: seen?.certificateNotAfter,
            latencyMicroseconds: seen?.latency.map { Int64($0 / 1000) },
            requests: Int64(clamping: seen?.requests ?? 0),
            failures: Int64(clamping: seen?.failures ?? 0))
    }

    private func unixTime(_ instant: Instant) -> Int64? {
        guard instant.nanoseconds > 0 else { return nil }
        let ago = Instant.now().nanoseconds(since: instant)
        return Int64(WallClock.now() / 1_000_000_000) - Int64(ago / 1_000_000_000)
    }

    var resolverStatus: [ResolverStatus] {
        (resolver?.serverReports ?? []).map { server in
            ResolverStatus(
                group: server.group, server: server.address.map { "\($0)" } ?? "resolv.conf",
                answered: Int64(server.answered), failed: Int64(server.failed),
                lastError: server.lastError,
                degraded: server.degraded.map { degraded in
                    let text = degraded.reason.rawValue.replacing("_", with: " ")
                    let address = degraded.address.map { " (\($0.addressText))" } ?? ""
                    return DegradationStatus(reason: text + address, names: degraded.names)
                })
        }
    }

    func setMember(upstream: String, address: String, order: MemberOrder) -> MemberOrderResult {
        let state: AdminState =
            switch order {
            case .ready: .ready
            case .drain: .drain
            case .maint: .maint
            }
        let row = health?.report(of: upstream).first { $0.address.map { "\($0)" } == address }
        guard let member = row?.address,
            health?.administer(upstream, member, state) == true
        else { return .refused("upstream \(upstream) has no member \(address)") }
        return .done
    }
}

extension String {
    /// Every `old` becomes `new`.
    fileprivate func replacing(_ old: Character, with new: Character) -> String {
        String(map { $0 == old ? new : $0 })
    }
}
