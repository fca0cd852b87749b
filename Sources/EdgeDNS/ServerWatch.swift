package import EdgeCore

/// What one server's answers are worth. A router that lost its names, or sends everybody to its own
/// page, answers quickly and validly, and wrongly. Sans-IO; one per server of a group.
package struct ServerWatch: Sendable {
    /// Why a server is degraded.
    package enum Reason: String, Sendable, CaseIterable {
        /// It says that names do not exist, or have no address, which it knew before.
        case lostNames = "lost_names"
        /// It gives one address for every name, where there were different ones.
        case oneAddress = "one_address"
        /// It gives an address that is ours.
        case ownAddress = "own_address"
    }

    package struct Degradation: Sendable, Equatable {
        package let reason: Reason
        /// Sorted.
        package let names: [String]
        /// The one address, for `.oneAddress`.
        package let address: SocketAddress?
    }

    /// What to do with an answer.
    package enum Verdict: Sendable, Equatable {
        case believed
        case suspicious
        /// One address that is new for the name: these names tell whether all others have it, too.
        case undecided(witnesses: Set<String>)
    }

    /// Names asked to find out whether all have one address.
    package static let witnessesMax = 4

    /// Queries that ended with an answer, whatever it says; and those without one.
    package private(set) var answered = 0
    package private(set) var failed = 0
    /// Of the newest query; nil if that gave something.
    package private(set) var lastFailure: QueryFailure?
    /// When it has answered anything, and when before that.
    package private(set) var lastAnswer: Instant?
    private var answerBefore: Instant?
    private var knew: Set<String> = []
    private var lost: Set<String> = []
    private var own: Set<String> = []
    private var latest: [String: (addresses: [SocketAddress], at: Instant)] = [:]
    /// Since when it has answered no query for these names.
    private var unanswered: [String: Instant] = [:]
    /// What all names have, while that is so: at most one address of each family.
    private var everywhere: [SocketAddress] = []
    private var alike: Set<String> = []

    package init() {}

    // MARK: - Events

    /// A query has ended. `failure` nil: it gave addresses or records.
    ///
    /// - Parameters:
    ///   - addresses: all that it gave, ports 0; of a service none.
    ///   - isRemembered: whether there was something under this name before this process.
    ///   - ownAddresses: never to be used.
    package mutating func heard(
        _ name: String, _ addresses: [SocketAddress], failure: QueryFailure?, isRemembered: Bool,
        ownAddresses: Set<SocketAddress>, now: Instant
    ) {
        switch failure {
        case .cancelled, .badName, .noChannel:
            return  // Ours: nobody was asked.
        case nil, .unusableAddresses, .ownAddress:
            noteAnswer(name, addresses, now: now)
            if failure == nil {
                knew.insert(name)
                lost.remove(name)
            }
            if ownAddresses.isDisjoint(with: addresses) {
                own.remove(name)
            } else {
                own.insert(name)
            }
            let isOther = !addresses.isEmpty && !everywhere.isEmpty
            if isOther, !Self.isAlike(addresses, everywhere) { endEverywhere() }
        case .nameNotFound, .empty:
            noteAnswer(name, [], now: now)
            own.remove(name)
            if isRemembered || knew.contains(name) { lost.insert(name) }
        case .timeout, .serverFailure, .refused, .malformed, .notImplemented, .noServerUsable,
            .responseCode, .unexpected:
            failed += 1
            if unanswered[name] == nil { unanswered[name] = now }
        }
        lastFailure = failure
    }

    private mutating func noteAnswer(
        _ name: String, _ addresses: [SocketAddress], now: Instant
    ) {
        answered += 1
        latest[name] = (addresses, now)
        // Several that came together are one.
        if lastAnswer != now { answerBefore = lastAnswer }
        lastAnswer = now
        unanswered[name] = nil
    }

    private mutating func endEverywhere() {
        everywhere = []
        alike = []
    }

    /// Names that are asked no more are forgotten.
    package mutating func keep(_ names: Set<String>) {
        knew.formIntersection(names)
        lost.formIntersection(names)
        own.formIntersection(names)
        alike.formIntersection(names)
        unanswered = unanswered.filter { names.contains($0.key) }
        latest = latest.filter { names.contains($0.key) }
        if alike.count < 2 { endEverywhere() }
    }

    // MARK: - Decisions

    /// Whether an answer that was just `heard` is to be believed.
    ///
    /// One single address for a name that had others looks like any renumbering; what tells them
    /// apart are the other names. If each of those asked since has that same address, where at
    /// least two had different ones before, this is no renumbering but a server that says one
    /// thing. Names of the same host (the same addresses before) say nothing about each other.
    ///
    /// - Parameters:
    ///   - before: what is believed of the name.
    ///   - known: what is believed of each name of this server's group.
    ///   - asked: when the query was sent: what other names had before says nothing.
    ///   - isFinal: whether the witnesses have been asked, or there is no time to.
    package mutating func judge(
        _ name: String, _ addresses: [SocketAddress], before: [SocketAddress],
        known: () -> [String: [SocketAddress]],
        asked: Instant, window: Duration, now: Instant, isFinal: Bool
    ) -> Verdict {
        if own.contains(name) { return .suspicious }
        guard Self.isSingle(addresses) else {
            alike.remove(name)
            return .believed
        }
        let isKnownFault = Self.isAlike(addresses, everywhere)
        guard !before.isEmpty else {
            // A new name: nothing is known but what the others say.
            guard isKnownFault else { return .believed }
            alike.insert(name)
            return .suspicious
        }
        guard !before.contains(where: addresses.contains) else {
            alike.remove(name)
            return .believed
        }
        let others = known().filter { other, had in
            other != name && !had.isEmpty && had != before
                && !had.contains(where: addresses.contains)
        }.keys
        let oldest =
            isKnownFault
            ? Instant(nanoseconds: now.nanoseconds - min(window.nanoseconds, now.nanoseconds))
            : asked
        var same: Set<String> = []
        for other in others {
            guard let said = latest[other], said.at >= oldest, !said.addresses.isEmpty else {
                continue
            }
            guard Self.isAlike(said.addresses, addresses) else {
                if isKnownFault { endEverywhere() }
                return .believed
            }
            same.insert(other)
        }
        let wanted = min(others.count, Self.witnessesMax)
        if !isFinal, same.count < wanted, !(isKnownFault && !same.isEmpty) {
            // Those that will say something first.
            let missing = others.filter { !same.contains($0) }.sorted {
                (isMute($0) ? 1 : 0, $0) < (isMute($1) ? 1 : 0, $1)
            }
            return .undecided(witnesses: Set(missing.prefix(wanted - same.count)))
        }
        guard !same.isEmpty else { return .believed }
        everywhere = addresses
        alike.formUnion(same)
        alike.insert(name)
        return .suspicious
    }

    /// At most one address of each family.
    private static func isSingle(_ addresses: [SocketAddress]) -> Bool {
        let ipv4Count = addresses.count(where: \.isIPv4)
        return !addresses.isEmpty && ipv4Count <= 1 && addresses.count - ipv4Count <= 1
    }

    /// The same, but that a family may be missing on one side, because its query failed.
    private static func isAlike(_ left: [SocketAddress], _ right: [SocketAddress]) -> Bool {
        !left.isEmpty && !right.isEmpty
            && (left.allSatisfy(right.contains) || right.allSatisfy(left.contains))
    }

    // MARK: - Queries

    /// Whether it answers others, but not for this name. The newest answer does not count: a server
    /// that is back has answered for one name first.
    package func isMute(_ name: String) -> Bool {
        guard let since = unanswered[name], let answerBefore else { return false }
        return answerBefore > since
    }

    /// In the order of `Reason`; empty: nothing is wrong with it.
    package var degraded: [Degradation] {
        [
            (Reason.lostNames, lost, nil), (.oneAddress, alike, everywhere.first),
            (.ownAddress, own, nil),
        ].filter { !$0.1.isEmpty }.map {
            Degradation(reason: $0.0, names: $0.1.sorted(), address: $0.2)
        }
    }
}
