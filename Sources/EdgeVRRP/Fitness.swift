/// How well a node can serve, as it says of itself: two nodes compare what they say, so that what
/// is down for both moves nothing.
package enum Fitness: Sendable, Equatable {
    case fit
    /// It serves, but not all: upstreams, certificates or DNS trouble it.
    case degraded(Troubles)
    /// It cannot serve here. `answers`: its proxy still answers something, so that alone it is
    /// better than nobody.
    case unfit(Unfitness, answers: Bool)

    /// What troubles a node that serves: bits that both nodes understand in the same way.
    package struct Troubles: OptionSet, Sendable, Hashable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) { self.rawValue = rawValue }

        /// No member of some upstream is usable.
        package static let upstreams = Troubles(rawValue: 1)
        /// A certificate is unusable or has expired.
        package static let certificates = Troubles(rawValue: 2)
        /// No resolver answers.
        package static let names = Troubles(rawValue: 4)
        /// What is configured could not be applied as a whole.
        package static let configuration = Troubles(rawValue: 8)
        /// Too little memory, descriptors or disk.
        package static let resources = Troubles(rawValue: 16)
        /// The public side (tunnel) is down.
        package static let publicSide = Troubles(rawValue: 32)

        /// The names of the bits, in order; unknown ones as a number.
        package var names: [String] {
            var rest = rawValue
            var result: [String] = []
            for (bit, name) in Self.known where contains(bit) {
                result.append(name)
                rest &= ~bit.rawValue
            }
            return rest == 0 ? result : result + ["0x" + String(rest, radix: 16)]
        }

        private static let known: [(Troubles, String)] = [
            (.upstreams, "upstreams"), (.certificates, "certificates"), (.names, "names"),
            (.configuration, "configuration"), (.resources, "resources"),
            (.publicSide, "public-side"),
        ]
    }

    /// Why a node cannot serve.
    package enum Unfitness: UInt8, Sendable, Equatable, CaseIterable {
        /// Nothing has been heard of its proxy yet.
        case starting = 0
        case proxyNotServing = 1
        case listenersMissing = 2
        case noCarrier = 3
        /// An interface that it must have is down.
        case trackedInterface = 4
        /// A hook or an administrator says so.
        case declared = 5
        /// The kernel does not take the virtual addresses.
        case addressesMissing = 6
    }

    /// Whether the proxy answers anything.
    package var answers: Bool {
        switch self {
        case .fit, .degraded: true
        case .unfit(_, let answers): answers
        }
    }

    package var isUnfit: Bool {
        switch self {
        case .fit, .degraded: false
        case .unfit: true
        }
    }
}

extension Fitness: CustomStringConvertible {
    package var description: String {
        switch self {
        case .fit: "fit"
        case .degraded(let troubles): "degraded (\(troubles.names.joined(separator: ", ")))"
        case .unfit(let reason, let answers): "unfit (\(reason)\(answers ? ", answers" : ""))"
        }
    }
}

/// What two nodes compare: fitness, and whether an administrator wants the node out of the way.
package struct Standing: Sendable, Equatable {
    package var fitness: Fitness
    /// True while an administrator has drained the node.
    package var isInMaintenance: Bool

    package init(fitness: Fitness, isInMaintenance: Bool = false) {
        self.fitness = fitness
        self.isInMaintenance = isInMaintenance
    }

    /// True if this standing is better in something and worse in nothing: the peer's troubles are
    /// among ours, or its class is a better one (unfit, in maintenance, serving).
    package func isStrictlyFitter(than other: Standing) -> Bool {
        if rank != other.rank { return rank > other.rank }
        guard rank == .serving else {
            return rank == .unfit && fitness.answers && !other.fitness.answers
        }
        return troubles != other.troubles && troubles.isSubset(of: other.troubles)
    }

    /// True if this node serves and the other can't or should not: worth waiting for.
    package func outclasses(_ other: Standing) -> Bool { rank != .unfit && rank > other.rank }

    private enum Rank: Int, Comparable {
        case unfit, maintenance, serving

        static func < (left: Rank, right: Rank) -> Bool { left.rawValue < right.rawValue }
    }

    private var rank: Rank {
        fitness.isUnfit ? .unfit : isInMaintenance ? .maintenance : .serving
    }

    private var troubles: Fitness.Troubles {
        if case .degraded(let troubles) = fitness { troubles } else { [] }
    }
}
