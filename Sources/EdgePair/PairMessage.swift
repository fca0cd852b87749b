package import EdgeCore

/// One message of the pair link, in either direction. On the wire: type (2 bytes), zero (2 bytes),
/// the body's length (4 bytes), the body; all numbers big-endian. A type that is not known is
/// passed over, so a later version may send what an earlier one has no use for; a known body that
/// is not exactly what encoding makes ends the link.
package enum PairMessage: Sendable, Equatable {
    /// The first of each side, and only the first.
    case hello(PairHello)
    /// Answered at once with the same number.
    case ping(number: UInt64)
    /// - Parameter wall: the sender's clock in nanoseconds since 1970, when it answers.
    case pong(number: UInt64, wall: UInt64)
    /// All ticket keys that the sender knows, in no particular order.
    case ticketKeys([PairTicketKey])
    /// Some of what the sender remembers of names, as EdgeDNS writes it. Adds to what came before.
    case names([UInt8])
    /// All members that the sender finds down; replaces what came before.
    case troubled([PairMember])
    case fingerprints(PairFingerprints)
    case order(PairOrder)
    case orderResult(PairOrderResult)
    /// What the sender has admitted; adds to what came before.
    case costs(PairCosts)
    /// What the sender knows to be used up, each a maximum.
    case debts([PairDebt])
    /// The sender's, once on each link.
    case textKey(PairTextKey)
    case bans(PairBans)
    case refusals(PairRefusals)
    /// The sender ends the link.
    case farewell(PairFarewell)

    /// Bytes of a body at most; a longer one ends the link.
    package static let bodyBytesMax = 65_536
    package static let headBytes = 8
    /// Bytes of names and lines of text.
    package static let textBytesMax = 253
    package static let ticketKeysMax = 4
    package static let membersMax = 128
    package static let labelsMax = 200
    package static let linesMax = 64

    /// The number that stands for the type on the wire.
    package enum Kind: UInt16, Sendable, CaseIterable {
        case hello = 1
        case ping = 2
        case pong = 3
        case ticketKeys = 4
        case names = 5
        case troubled = 6
        case fingerprints = 7
        case order = 8
        case orderResult = 9
        case farewell = 10
        case costs = 11
        case debts = 12
        case textKey = 13
        case bans = 14
        case refusals = 15
    }

    package var kind: Kind {
        switch self {
        case .hello: .hello
        case .ping: .ping
        case .pong: .pong
        case .ticketKeys: .ticketKeys
        case .names: .names
        case .troubled: .troubled
        case .fingerprints: .fingerprints
        case .order: .order
        case .orderResult: .orderResult
        case .farewell: .farewell
        case .costs: .costs
        case .debts: .debts
        case .textKey: .textKey
        case .bans: .bans
        case .refusals: .refusals
        }
    }
}

/// Who speaks. Later versions may add to its end.
package struct PairHello: Sendable, Equatable {
    /// The versions that the sender speaks; the highest that both do is spoken.
    package var versions: ClosedRange<UInt16>
    /// The sender's number (`PinnedIdentity.number`): what its certificate says already.
    package var node: UInt64
    /// Random, another for each process.
    package var boot: UInt64
    /// The sender's clock, in nanoseconds since 1970.
    package var wall: UInt64
    /// What the node calls itself; may be empty.
    package var name: String
    /// Its program's version.
    package var software: String

    package init(
        versions: ClosedRange<UInt16>, node: UInt64, boot: UInt64, wall: UInt64, name: String,
        software: String
    ) {
        self.versions = versions
        self.node = node
        self.boot = boot
        self.wall = wall
        self.name = name
        self.software = software
    }
}

/// A ticket key on its way. Ages, not times: the nodes' clocks need not agree.
package struct PairTicketKey: Sendable, Equatable {
    /// The number of the node that has made it.
    package var origin: UInt64
    /// Since it was made.
    package var age: Duration
    /// Seconds since 1970 by its maker's clock; only told.
    package var createdSeconds: Int64
    /// `TicketKey.randomBytes` bytes: id, cipher key, MAC key.
    package var random: [UInt8]

    package init(origin: UInt64, age: Duration, createdSeconds: Int64, random: [UInt8]) {
        self.origin = origin
        self.age = age
        self.createdSeconds = createdSeconds
        self.random = random
    }
}

/// A member of an upstream.
package struct PairMember: Sendable, Hashable {
    package var upstream: String
    package var address: SocketAddress

    package init(upstream: String, address: SocketAddress) {
        self.upstream = upstream
        self.address = address
    }
}

/// What a node uses, by numbers that tell two of them apart.
package struct PairFingerprints: Sendable, Equatable {
    /// Of the configuration's bytes, with all that it includes.
    package var configuration: UInt64
    /// How often the sender has changed its configuration since its start.
    package var epoch: UInt64
    /// Of all certificates in use, in any order.
    package var certificates: UInt64
    package var certificateCount: UInt32
    /// Some of them by name, sorted; at most `PairMessage.labelsMax`.
    package var labels: [Label]

    package struct Label: Sendable, Equatable {
        package var name: String
        package var fingerprint: UInt64

        package init(name: String, fingerprint: UInt64) {
            self.name = name
            self.fingerprint = fingerprint
        }
    }

    package init(
        configuration: UInt64, epoch: UInt64, certificates: UInt64, certificateCount: UInt32,
        labels: [Label]
    ) {
        self.configuration = configuration
        self.epoch = epoch
        self.certificates = certificates
        self.certificateCount = certificateCount
        self.labels = labels
    }
}

/// What one node asks the other to do, on behalf of an administrator. Each is answered with its
/// number, once.
package struct PairOrder: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// Read and check your own files; change nothing.
        case plan
        /// Use them, and go back unless `confirm` comes within so many milliseconds.
        case reload(confirmWithin: UInt32)
        /// - Parameter reload: the number of the reload that is to stay; no other one is touched.
        case confirm(reload: UInt64)
    }

    package var number: UInt64
    package var kind: Kind

    package init(number: UInt64, kind: Kind) {
        self.number = number
        self.kind = kind
    }
}

package struct PairOrderResult: Sendable, Equatable {
    package enum Outcome: UInt8, Sendable, CaseIterable {
        /// It was done; of a plan: it could be done.
        case done = 1
        /// There was nothing to do.
        case unchanged = 2
        /// Something is wrong with the files; nothing has changed.
        case refused = 3
        /// It could not be done now.
        case failed = 4
    }

    package var number: UInt64
    package var outcome: Outcome
    /// What was said of it; at most `PairMessage.linesMax`, cut to `PairMessage.textBytesMax`.
    package var lines: [String]

    package init(number: UInt64, outcome: Outcome, lines: [String] = []) {
        self.number = number
        self.outcome = outcome
        self.lines = lines
    }
}

/// Why a side ends the link.
package enum PairFarewell: UInt8, Sendable, CaseIterable {
    /// Its process ends, or hands over to the next one.
    case stopping = 1
    /// There is a newer link.
    case replaced = 2
    /// No version is spoken by both.
    case versions = 3
    /// What came was not understood, was too much, or was not what its certificate says.
    case violation = 4
    /// The link is not wanted any more: another certificate, or none.
    case unpaired = 5
}
