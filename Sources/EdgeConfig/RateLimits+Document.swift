import EdgeCore
package import EdgeLimits
import EdgeRouting

extension Configuration {
    /// `rate_limits:` and how much there is to remember for it.
    package struct RateLimits: Sendable, Equatable {
        /// What rules refer to by index.
        package var policies: [LimitPolicy] = []
        /// Clients that have room in the table; 32 bytes each.
        package var trackedClients = 1_000_000

        package init() {}

        /// Bytes of the memory that workers share for it.
        package var memoryByteCount: Int {
            LimitMemoryLayout.byteCount(trackedClients: trackedClients)
        }
    }
}

/// All policies, for those who name them, and who does.
final class RateLimitList {
    struct Draft {
        let section: Section
        let name: Located<String>
        let policy: LimitPolicy
        /// A forwarder's address is meant.
        let isPeer: Bool
    }

    private static let countMax = LimitPlans.policiesMax
    private static let filesMax = 8

    private(set) var drafts: [Draft] = []
    /// What is not defined may have been meant to be.
    private var isReadable = true
    private var indexes: [String: Int] = [:]
    private var used: Set<Int> = []

    /// - Parameter main: the main file's top level.
    func decode(_ main: Section) {
        let errorCount = main.pass.diagnostics.errorCount
        let named = main.namedSections("rate_limits")
        if main.has("rate_limits"), named.isEmpty, !main.pass.diagnostics.hasErrors {
            main.error(
                main.location(of: "rate_limits"), "there is no policy",
                hint: "name at least one, or remove 'rate_limits'")
        }
        if named.count > Self.countMax {
            main.error(named[Self.countMax].name.location, "more than \(Self.countMax) policies")
        }
        for (name, section) in named.prefix(Self.countMax) {
            drafts.append(decode(section, name))
        }
        checkNumbers()
        isReadable = !drafts.isEmpty || main.pass.diagnostics.errorCount == errorCount
        indexes = Dictionary(
            drafts.enumerated().map { ($1.name.value, $0) }, uniquingKeysWith: { first, _ in first }
        )
    }

    /// What workers have room for in each request.
    private func checkNumbers() {
        var texts: Set<LimitPolicy.Key> = []
        var priced = 0
        for draft in drafts {
            switch draft.policy.key {
            case .client, .everybody: break
            case .field, .cookie:
                guard texts.insert(draft.policy.key).inserted,
                    texts.count == LimitPlans.textsMax + 1
                else { break }
                draft.section.error(
                    draft.section.location(of: "key"),
                    "more than \(LimitPlans.textsMax) headers and cookies decide about limits")
            }
            guard !draft.policy.costs.isEmpty else { continue }
            priced += 1
            guard priced == LimitPlans.priceListsMax + 1 else { continue }
            draft.section.error(
                draft.section.location(of: "costs"),
                "more than \(LimitPlans.priceListsMax) policies have costs",
                hint: "name one of them wherever its costs apply")
        }
    }

    // MARK: - Who names them

    /// The policies that a view, site or path names.
    func use(in section: Section) -> [Int] {
        var places: [Int: Location] = [:]
        var indexes: [Int] = []
        for name in section.texts("rate_limits") {
            guard let index = self.indexes[name.value] else {
                guard isReadable else { continue }
                section.error(
                    name.location,
                    "\(section.title).rate_limits: undefined policy \(quoted(name.value))",
                    hint: Suggestion.defined(
                        for: name.value, among: drafts.map(\.name.value), kind: "policy"))
                continue
            }
            if let first = places[index] {
                section.error(
                    name.location, "\(section.title).rate_limits has '\(name.value)' twice",
                    hint: "first at \(first)")
                continue
            }
            places[index] = name.location
            used.insert(index)
            indexes.append(index)
        }
        return indexes
    }

    /// To be called when all who may name a policy have been read.
    func reportUnused() {
        for (index, draft) in drafts.enumerated() where !used.contains(index) {
            draft.section.error(
                draft.name.location, "the policy '\(draft.name.value)' limits nobody",
                hint: "name it as 'rate_limits' of a view, a site or a path, or remove it")
        }
    }

    // MARK: - One policy

    private enum Answer: String { case no, yes }

    private enum Place: String {
        case everywhere, view, site, path

        var scope: LimitPolicy.Scope {
            switch self {
            case .everywhere: .policy
            case .view: .view
            case .site: .site
            case .path: .path
            }
        }
    }

    private func decode(_ section: Section, _ name: Located<String>) -> Draft {
        var policy = LimitPolicy(name: name.value)
        for thing in LimitedThing.allCases {
            let rate =
                switch thing {
                case .upload, .download:
                    section.text(thing.word, as: .byteRate, parse: TextValue.byteRate)
                case .requests, .connections, .handshakes, .fullHandshakes, .resumedHandshakes:
                    section.text(thing.word, as: .rate, parse: TextValue.rate)
                }
            policy.rates[thing] = rate?.value
        }
        for thing in CountedThing.allCases {
            policy.counts[thing] = section.integer(thing.word).map { UInt32($0) }
        }
        policy.ceiling = section.text("ceiling", as: .rate, parse: TextValue.rate)?.value
        policy.errors = errors(section.section("errors"))
        policy.costs = costs(section)
        let key = section.text("key", as: .limitKey, parse: TextValue.limitKey)
        policy.key = key?.value.key ?? .client
        policy.scope = section.choice("per", as: Place.self)?.scope ?? .policy
        policy.countsRefused = section.choice("count_refused", as: Answer.self) == .yes
        policy.isShadow = section.choice("shadow", as: Answer.self) == .yes
        policy.status = section.choice("status", as: Status.self) == .unavailable ? 503 : 429
        decodeNetworks(&policy, section)
        decodeLists(&policy, section)
        check(policy, in: section)
        return Draft(
            section: section, name: name, policy: policy, isPeer: key?.value.isPeer ?? false)
    }

    private enum Status: String {
        case tooMany = "429"
        case unavailable = "503"
    }

    private func errors(_ section: Section?) -> LimitPolicy.Errors? {
        guard let section else { return nil }
        let limit = section.text("limit", as: .rate, parse: TextValue.rate)
        let statuses = section.statuses("statuses")
        let ban = section.duration("ban")
        return limit.map {
            LimitPolicy.Errors(
                limit: $0.value, statuses: statuses.isEmpty ? [401...401, 404...404] : statuses,
                ban: ban)
        }
    }

    private func costs(_ section: Section) -> [LimitPolicy.Cost] {
        var costs: [LimitPolicy.Cost] = []
        section.forEachSection("costs") { entry in
            if costs.count == RequestCosts.rulesMax {
                entry.error(
                    entry.location, "\(section.title) has more than \(RequestCosts.rulesMax) costs")
            }
            let methods = entry.texts("methods").map(\.value)
            let path = entry.text("path")?.value
            let cost = entry.integer("cost") ?? 1
            costs.append(LimitPolicy.Cost(methods: methods, path: path, cost: UInt32(cost)))
        }
        return costs
    }

    private func decodeNetworks(_ policy: inout LimitPolicy, _ section: Section) {
        policy.ipv4Bits = UInt8(section.integer("ipv4_prefix") ?? 32)
        policy.ipv6Bits = UInt8(section.integer("ipv6_prefix") ?? 64)
        guard section.choice("ipv6_hosts", as: Answer.self) == .yes else { return }
        if section.has("ipv6_prefix") {
            section.error(
                section.location(of: "ipv6_prefix"),
                "\(section.title).ipv6_prefix has no effect with 'ipv6_hosts: yes'",
                hint: "each address is a client of its own then")
        }
        policy.ipv6Bits = 128
    }

    private func decodeLists(_ policy: inout LimitPolicy, _ section: Section) {
        func blocks(_ key: String) -> [CIDR] {
            let blocks = section.texts(key, as: .block, parse: TextValue.block)
            if blocks.count > CIDRList.countMax {
                section.error(
                    blocks[CIDRList.countMax].location,
                    "\(section.title).\(key) has more than \(CIDRList.countMax) blocks")
            }
            return blocks.map(\.value)
        }
        func files(_ key: String) -> [String] {
            let files = section.texts(key)
            if files.count > Self.filesMax {
                section.error(
                    files[Self.filesMax].location,
                    "\(section.title).\(key) has more than \(Self.filesMax) files")
            }
            return files.map { section.pass.resolve($0.value) }
        }
        policy.allowed = blocks("allow")
        policy.denied = blocks("deny")
        policy.allowFiles = files("allow_files")
        policy.denyFiles = files("deny_files")
    }
}
