internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeLimits
internal import EdgeProxy

/// Which policies stand in the way of a request. Nothing is charged, and nobody's debts are looked
/// at: `edgectl limits show ADDRESS` does.
extension Explainer {
    /// - Returns: false if a list keeps the client out.
    func explainLimits(_ rules: RequestRules, _ answer: inout Explanation) -> Bool {
        let plans = snapshot.limits
        let policies = configuration.rateLimits.policies
        let numbers = plans.policies(of: rules.limitPlan).filter { policies.indices.contains($0) }
        let client = answer.place.client
        let caller = plans.caller(client)
        for number in numbers {
            let policy = policies[number]
            var text = "\(policy.name): \(policy.words.joined(separator: "; "))"
            if !policy.whose.isEmpty { text += ", \(policy.whose)" }
            if policy.isShadow { text += ", in shadow mode" }
            if caller.exempt >> UInt64(number) & 1 == 1 {
                text += "; lets \(client.addressText) pass"
            }
            let isDenied = caller.denied >> UInt64(number) & 1 == 1
            if isDenied, policy.isShadow { text += "; would keep \(client.addressText) out" }
            answer.step("limits", text)
            guard isDenied, !policy.isShadow else { continue }
            answer.refuse(403, "\(client.addressText) is kept out by the policy \(policy.name)")
            return false
        }
        return true
    }
}
