package import EdgeCore

/// Who may ask for what, per policy: the allow and deny lists and methods of a view, a site and a
/// path, compiled. A request has to be allowed by each of them. Immutable and flat.
package struct AccessRules: Sendable {
    package enum Verdict: Sendable, Equatable, BitwiseCopyable {
        case allow
        /// 403.
        case forbidden
        /// 405, with what `allowText` says.
        case methodNotAllowed
    }

    private struct Policy: Sendable {
        /// In `sets`, from the first on: those that all have to contain the client, then one that
        /// must not.
        var firstSet: Int32
        var allowCount: Int32
        var hasDenied: Bool
        /// In `methods`.
        var firstMethod: Int32
        var methodCount: Int32
        /// False: whatever its method.
        var limitsMethods: Bool
    }

    private struct Method: Sendable {
        /// In `text`.
        var start: Int32
        var count: Int32
    }

    private var policies: [Policy] = []
    private let sets: CIDRSets
    private var methods: [Method] = []
    private var text: [UInt8] = []

    /// - Parameter policies: per policy the rules that apply, outermost first.
    package init(_ policies: [[RuleConfiguration]]) {
        var sets: [[CIDR]] = []
        var compiled: [(policy: Policy, methods: [String])] = []
        for rules in policies {
            let allowed = rules.map(\.allowed).filter { !$0.isEmpty }
            let denied = rules.flatMap(\.denied)
            let lists = rules.map(\.methods).filter { !$0.isEmpty }
            let common = (lists.last ?? []).filter { method in
                lists.allSatisfy { $0.contains(method) }
            }
            let policy = Policy(
                firstSet: Int32(sets.count), allowCount: Int32(allowed.count),
                hasDenied: !denied.isEmpty, firstMethod: 0, methodCount: Int32(common.count),
                limitsMethods: !lists.isEmpty)
            compiled.append((policy, common))
            sets += allowed
            if !denied.isEmpty { sets.append(denied) }
        }
        self.sets = CIDRSets(sets)
        for (policy, names) in compiled {
            var policy = policy
            policy.firstMethod = Int32(methods.count)
            for name in names {
                methods.append(Method(start: Int32(text.count), count: Int32(name.utf8.count)))
                text += Array(name.utf8)
            }
            self.policies.append(policy)
        }
    }

    /// - Parameters:
    ///   - policy: as `Route.policy`; -1: nothing is refused.
    ///   - client: the true client.
    ///   - method: as written; case-sensitive (RFC 9110 §9.1).
    // hot: once per request; no allocation.
    package func verdict(
        policy number: Int32, client: SocketAddress, method: Span<UInt8>
    ) -> Verdict {
        guard number >= 0 else { return .allow }
        let policy = policies[Int(number)]
        var set = Int(policy.firstSet)
        let end = set + Int(policy.allowCount)
        while set < end {
            guard sets.contains(client, in: set) else { return .forbidden }
            set += 1
        }
        if policy.hasDenied, sets.contains(client, in: end) { return .forbidden }
        return !policy.limitsMethods || allows(policy, method) ? .allow : .methodNotAllowed
    }

    /// Somebody may be refused something.
    package func refuses(policy number: Int32) -> Bool {
        guard number >= 0, Int(number) < policies.count else { return false }
        let policy = policies[Int(number)]
        return policy.allowCount > 0 || policy.hasDenied || policy.limitsMethods
    }

    private func allows(_ policy: Policy, _ method: Span<UInt8>) -> Bool {
        for index in 0..<Int(policy.methodCount)
        where isEqual(methods[Int(policy.firstMethod) + index], method) {
            return true
        }
        return false
    }

    private func isEqual(_ known: Method, _ method: Span<UInt8>) -> Bool {
        guard Int(known.count) == method.count else { return false }
        for offset in 0..<method.count where text[Int(known.start) + offset] != method[offset] {
            return false
        }
        return true
    }

    /// The value of Allow in a 405 (RFC 9110 §10.2.1): `GET, HEAD`; empty if nothing is allowed.
    /// Allocates.
    package func allowText(policy number: Int32) -> String {
        guard number >= 0 else { return "" }
        let policy = policies[Int(number)]
        let first = Int(policy.firstMethod)
        return methods[first..<first + Int(policy.methodCount)].map {
            String(decoding: text[Int($0.start)..<Int($0.start + $0.count)], as: UTF8.self)
        }.joined(separator: ", ")
    }
}
