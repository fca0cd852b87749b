internal import EdgeControlAPI
internal import EdgeCore

/// `/upstreams/NAME/members/MEMBER/ORDER`. MEMBER is an address with port, or the server's name
/// where that has one address only. Parts may be percent-encoded (RFC 3986 §2.1).
struct MemberRoute: Equatable {
    static let pattern = "/upstreams/NAME/members/MEMBER/{ready,drain,maint}"

    let upstream: String
    let member: String
    let order: MemberOrder

    /// Nil: the path is another.
    init?(_ path: String) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0].isEmpty, parts[1] == "upstreams", parts[3] == "members",
            let upstream = PercentText.decoded(parts[2]), !upstream.isEmpty,
            let member = PercentText.decoded(parts[4]), !member.isEmpty,
            let order = MemberOrder(rawValue: String(parts[5]))
        else { return nil }
        self.upstream = upstream
        self.member = member
        self.order = order
    }

    // MARK: - What is done

    /// Finds the member, gives the order, and says what has become of it. Both are logged with
    /// who asked.
    func answer(by peer: PeerCredentials, target: any ControlTarget) -> ControlResponse {
        let address: String
        switch find(in: target.status().upstreams) {
        case .member(let found): address = found.address
        case .missing(let reason): return .error(404, reason)
        case .ambiguous(let reason): return .error(409, reason)
        }
        Log.notice("audit: \(order.rawValue) \(upstream) \(address) by \(peer)")
        switch target.setMember(upstream: upstream, address: address, order: order) {
        case .done: break
        case .refused(let reason):
            Log.notice("audit: \(order.rawValue) \(upstream) \(address) by \(peer): \(reason)")
            return .error(409, reason)
        }
        let upstreams = target.status().upstreams
        let after = upstreams.first { $0.name == upstream }
        guard let after, let member = after.members.first(where: { $0.address == address }) else {
            return .error(404, "the member \(address) has just left")
        }
        Log.notice("audit: \(order.rawValue) \(upstream) \(address) by \(peer): \(member.state)")
        return .json(
            200,
            MemberReply(
                upstream: upstream, order: order, member: member, available: after.available
            ).json)
    }

    private enum Search {
        case member(MemberStatus)
        case missing(String)
        case ambiguous(String)
    }

    private func find(in upstreams: [UpstreamStatus]) -> Search {
        guard let found = upstreams.first(where: { $0.name == upstream }) else {
            let names = upstreams.map(\.name).joined(separator: ", ")
            return .missing(
                names.isEmpty ? "there are no upstreams" : "no such upstream; there are: \(names)")
        }
        let usable = found.members.filter { !$0.address.isEmpty }
        if let exact = usable.first(where: { $0.address == member }) { return .member(exact) }
        // A name with its port, or without.
        let host = member.split(separator: ":").first.map { $0.lowercased() } ?? ""
        let port = member.split(separator: ":").dropFirst().first.map { ":\($0)" } ?? ""
        let named = usable.filter {
            !$0.source.isEmpty && $0.source.lowercased() == host && $0.address.hasSuffix(port)
        }
        if named.count > 1 {
            let list = named.map(\.address).joined(separator: ", ")
            return .ambiguous("\(member) has several addresses: say one of \(list)")
        }
        if let only = named.first { return .member(only) }
        let list = usable.map(\.address).joined(separator: ", ")
        return .missing(
            list.isEmpty ? "\(upstream) has no members" : "no such member; there are: \(list)")
    }
}
