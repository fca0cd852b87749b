import EdgeUpstream

/// The upstreams while those who name them are read: which exist, which are used, and whether they
/// can be used so.
final class UpstreamNames {
    let drafts: [UpstreamDraft]
    /// A bad value inside does not matter: what is not defined may have been meant to be.
    private let isReadable: Bool
    private let indexes: [String: Int]
    private var used: Set<Int> = []
    private var relayed: Set<Int> = []

    init(_ drafts: [UpstreamDraft], isReadable: Bool) {
        self.drafts = drafts
        self.isReadable = isReadable
        indexes = Dictionary(
            drafts.enumerated().map { ($1.name.value, $0) }, uniquingKeysWith: { first, _ in first }
        )
    }

    /// Where the upstream is in the list, which is used from now on; nil, after a report, if there
    /// is none of that name.
    ///
    /// - Parameters:
    ///   - name: with the place to report.
    ///   - user: who names it, for the message.
    func use(
        _ name: Located<String>, by user: @autoclosure () -> String, in section: Section
    ) -> Int? {
        guard let index = indexes[name.value] else {
            guard isReadable else { return nil }
            section.error(
                name.location, "\(user()): undefined upstream \(quoted(name.value))",
                hint: Suggestion.defined(
                    for: name.value, among: drafts.map(\.name.value), kind: "upstream"))
            return nil
        }
        used.insert(index)
        return index
    }

    func reportUnused() {
        for (index, draft) in drafts.enumerated() where !used.contains(index) {
            draft.section.error(
                draft.name.location,
                "no site and no tcp listener uses the upstream '\(draft.name.value)'",
                hint: "name it in 'sites', or remove it")
        }
    }

    // MARK: - Connections whose bytes are passed on as they are

    /// - Parameters:
    ///   - user: as the operator would call it, `listener 'x'` or `sites[0]`.
    ///   - what: whose connections they are, for messages.
    func checkRelay(
        _ index: Int, by user: @autoclosure () -> String, of what: String,
        at location: Location, in section: Section
    ) {
        let draft = drafts[index]
        let configuration = draft.configuration
        let name = draft.name.value
        if configuration.tls != nil {
            section.error(
                location, "\(user()): upstream '\(name)' has 'tls'",
                hint: "\(what) passes bytes on as they are; TLS is then between the client and "
                    + "the server")
        }
        if configuration.version != .http1 {
            section.error(
                location, "\(user()): upstream '\(name)' has a 'protocol'",
                hint: "\(what) passes bytes on as they are, whatever they mean")
        }
        guard relayed.insert(index).inserted else { return }
        checkRequestSettings(of: draft, by: user(), of: what)
    }

    /// What needs to know requests.
    private func checkRequestSettings(
        of draft: UpstreamDraft, by user: String, of what: String
    ) {
        let configuration = draft.configuration
        let section = draft.section
        func refuse(_ key: String) {
            section.error(
                section.location(of: key),
                "\(section.title).\(key) has no effect on \(what)'s connections",
                hint: "\(user) passes bytes on as they are")
        }
        if configuration.sticky != nil { refuse("sticky") }
        switch configuration.balance {
        case .hash(.header), .hash(.cookie): refuse("hash")
        case .hash(.client), .roundRobin, .leastRequests, .fastest: break
        }
        let retries = configuration.retries
        let isForRequests =
            !retries.statuses.isEmpty || retries.perTry != nil || retries.overall != nil
            || retries.hedgeAfter != nil
        if isForRequests { refuse("retries") }
    }
}
