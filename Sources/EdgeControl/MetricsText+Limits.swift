package import EdgeControlAPI

extension MetricsText {
    /// - Parameter fileFailures: how often a file of blocks could not be used.
    package mutating func limits(_ limits: LimitsReply, fileFailures: UInt64) {
        func each(
            _ name: String, _ kind: Kind, _ help: String, _ value: (LimitPolicyStatus) -> Int64
        ) {
            family("edged_limit_\(name)", kind, help) { sample in
                for policy in limits.policies {
                    sample([("policy", policy.name)], UInt64(max(value(policy), 0)))
                }
            }
        }
        each(
            "admitted_total", .counter, "Requests that a policy counted and let pass.",
            \.admitted)
        each(
            "refused_total", .counter,
            "Requests and connections that a policy refused, bans and lists included.", \.refused)
        each(
            "over_shadow_total", .counter,
            "What a policy would have refused, were it not in shadow mode.", \.shadow)
        each("bans_total", .counter, "Clients that a policy has banned for errors.", \.bans)
        each("banned", .gauge, "Clients that a policy has banned and that still are.", \.bannedNow)
        single(
            "edged_limit_banned_by_administrators", .gauge, "Clients that administrators banned.",
            UInt64(limits.bans.count { $0.policy == nil }))
        single(
            "edged_limit_files_unusable", .gauge,
            "Files of allow_files and deny_files that cannot be used as they are.",
            UInt64(limits.files.count { $0.problem != nil }))
        single(
            "edged_limit_file_failures_total", .counter,
            "How often such a file could not be taken into use, since the process began.",
            fileFailures)
    }
}
