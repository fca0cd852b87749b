import EdgeCore

/// Who is a member: what the entries of `servers:` claim, and when a claim ends.
extension UpstreamHealth {
    /// Addresses that are not proposed any more and are kept although a proposal needs their place.
    static let rememberedMax = 8

    // MARK: - Joining

    mutating func claimConfiguredAddresses(now: Instant) {
        for (index, server) in configuration.servers.enumerated() {
            guard case .address(let host) = server.host else { continue }
            claim(
                server.port == 0 ? host : host.with(port: server.port),
                MemberHealth.Claim(server: index), now: now)
        }
        sortMembers()
    }

    /// Takes what DNS says into the claims. Members that have none afterwards are still there.
    mutating func apply(
        _ proposal: Proposal, for server: UpstreamConfiguration.Server, now: Instant
    ) {
        for index in configuration.servers.indices
        where configuration.servers[index].isSameSource(as: server) {
            apply(proposal, to: index, now: now)
        }
    }

    private mutating func apply(_ proposal: Proposal, to server: Int, now: Instant) {
        if case .address = configuration.servers[server].host { return }
        if proposal.isExpired {
            for index in members.indices {
                members[index].claims.removeAll { $0.server == server && !$0.isSuspicious }
            }
        }
        var seen: Set<SocketAddress> = []
        let wanted = proposal.addresses.filter { seen.insert($0.address).inserted }
            .prefix(Self.addressesMax)
        guard !wanted.isEmpty else { return }
        let addresses = Set(wanted.map(\.address))
        unpropose(server, except: addresses, proposal)
        if !proposal.isSuspicious { makeRoom(server, for: addresses) }
        for item in wanted {
            if let known = index(of: item.address), let at = claimIndex(known, server) {
                renew(known, at, item, proposal)
            } else if claimCount(server) < Self.addressesMax {
                claim(
                    item.address,
                    MemberHealth.Claim(
                        server: server, weight: item.weight, isBackup: item.isBackup,
                        isConfirmed: proposal.isConfirmed, isSuspicious: proposal.isSuspicious),
                    now: now)
            }
        }
        sortMembers()
    }

    /// Claims that the answer does not have. A suspicious one ends nothing but earlier suspicious
    /// ones, and last-known-good addresses end nothing.
    private mutating func unpropose(
        _ server: Int, except addresses: Set<SocketAddress>, _ proposal: Proposal
    ) {
        for index in members.indices {
            guard let at = claimIndex(index, server) else { continue }
            if proposal.isSuspicious {
                if addresses.contains(members[index].address) { continue }
                members[index].claims[at].isConfirmed = false
                if members[index].claims[at].isSuspicious {
                    members[index].claims[at].isProposed = false
                }
            } else if !proposal.isConfirmed {
                members[index].claims[at].isConfirmed = false
            } else if !addresses.contains(members[index].address) {
                members[index].claims[at].isProposed = false
            }
        }
    }

    private mutating func renew(
        _ index: Int, _ at: Int, _ item: Proposal.Proposed, _ proposal: Proposal
    ) {
        if proposal.isSuspicious {
            if members[index].claims[at].isSuspicious {
                members[index].claims[at].isProposed = true
            }
            return
        }
        guard proposal.isConfirmed else { return }
        members[index].claims[at] = MemberHealth.Claim(
            server: members[index].claims[at].server, weight: item.weight, isBackup: item.isBackup)
    }

    private mutating func claim(
        _ address: SocketAddress, _ claim: MemberHealth.Claim, now: Instant
    ) {
        if let known = index(of: address) {
            guard claimIndex(known, claim.server) == nil else { return }
            members[known].claims.append(claim)
            members[known].claims.sort { $0.server < $1.server }
            return
        }
        var fresh = MemberHealth(
            address: address, claim: claim, isChecked: configuration.health != nil, now: now)
        fresh.source = configuration.servers[claim.server].sourceName
        if let known = absentees.firstIndex(where: { $0.address == address }) {
            fresh.administer(absentees.remove(at: known).word)
        }
        members.append(fresh)
        note(
            HealthNews(
                address: address, source: fresh.source, old: nil, new: fresh.state,
                reason: claim.isSuspicious ? "suspicious answer of DNS" : "new address"))
    }

    /// Addresses that only wait for others to work make room for proposed ones, the least useful
    /// first.
    private mutating func makeRoom(_ server: Int, for addresses: Set<SocketAddress>) {
        let known = members.filter { claimIndex($0, server) != nil }
        let fresh = addresses.count - known.count { addresses.contains($0.address) }
        let surplus = known.count + fresh - Self.addressesMax
        guard surplus > 0 else { return }
        let waiting = known.filter { !addresses.contains($0.address) }
            .filter { member in
                member.claims.contains { $0.server == server && !$0.isProposed }
            }
            .sorted { Self.worth($0) < Self.worth($1) }
        for member in waiting.dropLast(Self.rememberedMax).prefix(surplus) {
            guard let index = index(of: member.address) else { continue }
            members[index].claims.removeAll { $0.server == server }
        }
    }

    private static func worth(_ member: MemberHealth) -> (Int, UInt64) {
        (member.isUsable ? 1 : 0, member.lastSuccess?.nanoseconds ?? 0)
    }

    // MARK: - Leaving

    /// Ends claims that are not proposed any more where a proposed address works. Where one may
    /// work, those of members end that have failed, or that a suspicious answer had brought and
    /// that do not work either.
    mutating func displace() {
        guard members.contains(where: { $0.claims.contains { !$0.isProposed } }) else { return }
        var isChanged = false
        for server in configuration.servers.indices {
            let proposed = members.filter { member in
                member.claims.contains {
                    $0.server == server && $0.isProposed && !$0.isSuspicious
                }
            }
            let works = proposed.contains { $0.isUsable }
            guard works || proposed.contains(where: { $0.isPromising }) else { continue }
            for index in members.indices {
                guard let at = claimIndex(index, server) else { continue }
                let claim = members[index].claims[at]
                guard !claim.isProposed,
                    works || members[index].isOut
                        || claim.isSuspicious && !members[index].isUsable
                else { continue }
                members[index].claims.remove(at: at)
                isChanged = true
            }
        }
        guard isChanged else { return }
        removeUnclaimed(reason: "not proposed any more")
        sortMembers()
    }

    /// A reload has other servers, or the same in another order.
    mutating func remapClaims(
        from old: [UpstreamConfiguration.Server], to new: [UpstreamConfiguration.Server]
    ) {
        let places = old.map { server in new.firstIndex { $0.isSameSource(as: server) } }
        for index in members.indices {
            var claims: [MemberHealth.Claim] = []
            for var claim in members[index].claims {
                guard let place = places[claim.server],
                    !claims.contains(where: { $0.server == place })
                else { continue }
                claim.server = place
                claims.append(claim)
            }
            members[index].claims = claims.sorted { $0.server < $1.server }
        }
    }

    mutating func removeUnclaimed(reason: String) {
        guard members.contains(where: \.claims.isEmpty) || !absentees.isEmpty else { return }
        for member in members where member.claims.isEmpty {
            note(
                HealthNews(
                    address: member.address, source: member.source, old: member.state, new: nil,
                    reason: reason))
            guard member.admin != .ready else { continue }
            if absentees.count == Self.addressesMax { absentees.removeFirst() }
            absentees.append(
                Absentee(address: member.address, source: member.source, word: member.admin))
        }
        members.removeAll { $0.claims.isEmpty }
        absentees.removeAll { absentee in
            !configuration.servers.contains {
                !$0.sourceName.isEmpty && $0.sourceName == absentee.source
            }
        }
    }

    /// A member that DNS has left out, and may bring back.
    struct Absentee: Sendable {
        let address: SocketAddress
        /// The DNS name: with that, this is forgotten.
        let source: String
        let word: AdminState
    }

    // MARK: - Queries

    private func claimIndex(_ index: Int, _ server: Int) -> Int? {
        claimIndex(members[index], server)
    }

    private func claimIndex(_ member: MemberHealth, _ server: Int) -> Int? {
        member.claims.firstIndex { $0.server == server }
    }

    private func claimCount(_ server: Int) -> Int {
        members.count { claimIndex($0, server) != nil }
    }

    /// After claims have come or gone.
    private mutating func sortMembers() {
        for index in members.indices {
            guard let first = members[index].claims.first else { continue }
            members[index].source = configuration.servers[first.server].sourceName
        }
        members.sort { Self.place($0) < Self.place($1) }
    }

    private static func place(_ member: MemberHealth) -> (Int, UInt64, UInt64, UInt16, UInt32) {
        let address = member.address
        return (
            member.claims.first?.server ?? .max, address.high, address.low, address.port,
            address.scope
        )
    }
}
