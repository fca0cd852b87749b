package import EdgeControlAPI

extension MetricsText {
    /// What status knows of upstreams, their members and DNS. Counts of members begin anew when a
    /// member leaves and comes back.
    package mutating func upstreams(_ status: StatusReply) {
        members(status.upstreams)
        dns(status)
    }

    /// Whether anybody may be sent to an upstream, and each member by its state.
    private mutating func members(_ upstreams: [UpstreamStatus]) {
        family(
            "edged_upstream_members_available", .gauge,
            "Members that requests may be sent to, by upstream."
        ) { sample in
            for upstream in upstreams {
                guard let available = upstream.available else { continue }
                sample([("upstream", upstream.name)], Self.count(available))
            }
        }
        perMember(
            "edged_upstream_member_state", .gauge, "Always 1; the member's state is a label.",
            upstreams, { [([("state", $0.state)], 1)] })
        perMember(
            "edged_upstream_member_checks_total", .counter, "Active checks by their result.",
            upstreams,
            {
                [
                    ([("result", "passed")], $0.checksPassed),
                    ([("result", "failed")], $0.checksFailed),
                ]
            })
        perMember(
            "edged_upstream_member_requests_total", .counter,
            "Requests that came to an answer or failed, by member.", upstreams,
            { [([], $0.requests)] })
        perMember(
            "edged_upstream_member_failures_total", .counter,
            "Of those, the ones without an answer or with a 5xx.", upstreams,
            { [([], $0.failures)] })
        perMember(
            "edged_upstream_ejections_total", .counter, "Times that traffic took a member out.",
            upstreams, { [([], $0.ejections)] })
        perMember(
            "edged_upstream_member_certificate_not_after_seconds", .gauge,
            "When the certificate ends that checks have seen, in Unix seconds.", upstreams,
            { member in member.certificateNotAfter.map { [([], $0)] } ?? [] })
    }

    private mutating func perMember(
        _ name: String, _ kind: Kind, _ help: String, _ upstreams: [UpstreamStatus],
        _ values: (MemberStatus) -> [(labels: [(String, String)], value: Int64)]
    ) {
        family(name, kind, help) { sample in
            for upstream in upstreams {
                // An address that two names share is two members in status; series are unique.
                var seen: Set<String> = []
                for member in upstream.members {
                    let place = member.address.isEmpty ? member.source : member.address
                    guard seen.insert(place).inserted else { continue }
                    let labels = [("upstream", upstream.name), ("member", place)]
                    for (more, value) in values(member) {
                        sample(labels + more, Self.count(value))
                    }
                }
            }
        }
    }

    private mutating func dns(_ status: StatusReply) {
        let servers: [(ResolverStatus, labels: [(String, String)])] = status.resolvers.map {
            ($0, [("resolver", $0.group), ("server", $0.server)])
        }
        family("edged_dns_answers_total", .counter, "Answers of DNS servers that could be used.") {
            sample in
            for (resolver, labels) in servers { sample(labels, Self.count(resolver.answered)) }
        }
        family(
            "edged_dns_failures_total", .counter,
            "Queries that a DNS server did not answer, or not usably."
        ) { sample in
            for (resolver, labels) in servers { sample(labels, Self.count(resolver.failed)) }
        }
        family(
            "edged_dns_resolver_degraded", .gauge,
            "Names for which a DNS server answers, but not as it should."
        ) { sample in
            for (resolver, labels) in servers {
                let names = Set(resolver.degraded.flatMap(\.names))
                // A reason without names is one all the same.
                sample(labels, resolver.degraded.isEmpty ? 0 : UInt64(max(names.count, 1)))
            }
        }
        family("edged_dns_names", .gauge, "Names that are looked up, by their state.") { sample in
            for state in ["fresh", "stale", "unresolved"] {
                let count = status.names.count { $0.state == state }
                sample([("state", state)], UInt64(count))
            }
        }
    }

    /// No count is negative; one that was must not end the daemon.
    private static func count(_ value: Int64) -> UInt64 { UInt64(max(value, 0)) }
}
