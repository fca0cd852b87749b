package import EdgeCore

extension ElectionMachine {
    /// What can happen to an instance.
    package enum Event: Sendable, Equatable {
        /// Begins to take part as soon as the boot gate allows.
        case start
        /// Gives the addresses up and ends; `.stopped` follows, at once or after the handover.
        case stop
        /// The instance's interface exists, is up and has carrier, or not.
        case link(isUp: Bool)
        /// What our advertisements come from (port 0); nil: none (yet).
        case localAddress(IPFamily, SocketAddress?)
        /// What of this node's own preparations is done.
        case readiness(Readiness)
        case standing(Standing)
        /// An advertisement that the filter has admitted.
        case advertisement(Heard)
        /// A message of a peer's guardian that `PresenceMachine` has believed.
        case presence(PeerReport)
        /// An administrator wants the addresses elsewhere. Without `isForced` only if a peer is
        /// known to be ready and no less fit; a less fit one would give them back. `.yieldRefused`
        /// or `.yieldEnded` follows.
        case yield(isForced: Bool)
        /// The guardian is about to be silent for so long (it executes itself): a master advertises
        /// an interval that lets backups wait. Feed timers for one interval more, then export.
        case announcePause(Duration)
        /// There was no pause after all, or it is over.
        case endPause
        /// `nextDeadline` has come, and every packet received before now has been fed.
        case timer
    }

    /// An advertisement as it was heard.
    package struct Heard: Sendable, Equatable {
        package var family: IPFamily
        package var source: SocketAddress
        package var priority: UInt8
        package var centiseconds: UInt16
        /// When the kernel received it (SO_TIMESTAMPNS, on the monotonic clock), not when it was
        /// read.
        package var receivedAt: Instant
        /// Whether its addresses are others than ours.
        package var addressesDiffer: Bool

        package init(
            family: IPFamily, source: SocketAddress, priority: UInt8, centiseconds: UInt16,
            receivedAt: Instant, addressesDiffer: Bool = false
        ) {
            self.family = family
            self.source = source
            self.priority = priority
            self.centiseconds = centiseconds
            self.receivedAt = receivedAt
            self.addressesDiffer = addressesDiffer
        }

        package init(
            _ received: ReceivedAdvertisement, receivedAt: Instant, addressesDiffer: Bool = false
        ) {
            self.init(
                family: received.advertisement.family, source: received.source,
                priority: received.advertisement.priority,
                centiseconds: received.advertisement.centiseconds, receivedAt: receivedAt,
                addressesDiffer: addressesDiffer)
        }
    }

    /// What the boot gate waits for on this node; once there, it stays.
    package struct Readiness: OptionSet, Sendable, Equatable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let listeners = Readiness(rawValue: 1)
        package static let certificates = Readiness(rawValue: 2)
        package static let all: Readiness = [.listeners, .certificates]
    }

    /// What the driver does, in this order.
    package enum Action: Sendable, Equatable {
        /// One advertisement to the group or to each peer of the family; `centiseconds` is the
        /// interval to write. A family without a local address is never asked to send.
        case send(IPFamily, priority: UInt8, centiseconds: UInt16)
        /// Every virtual address of the instance, if it is not there yet; also what it is
        /// reconciled to from now on.
        case putAddressesOn
        case takeAddressesOff
        /// Gratuitous ARP and unsolicited neighbour advertisements, once for every address.
        case announce(Announcement)
        case transition(Transition)
        /// Tell the peers' guardians now: something has changed.
        case tellPeers
        case yieldRefused(YieldRefusal)
        /// True if a peer has the addresses.
        case yieldEnded(isMoved: Bool)
        /// The instance has ended; nothing follows but `start`.
        case stopped
    }

    /// Why addresses are announced.
    package enum Announcement: String, Sendable, Equatable {
        case takeOver = "take_over"
        case repetition
        case refresh
        /// Another master was heard, and we are the one that stays.
        case conflict
        /// That master has been quiet for its master-down interval.
        case conflictOver = "conflict_over"
        /// The guardian has executed itself, or settings have changed.
        case resumed
    }

    package enum YieldRefusal: Sendable, Equatable {
        case notMaster
        /// No peer's presence is live.
        case noPeer
        /// The peer can't take the addresses, or is less fit than it should be.
        case peerNotReady(Standing, ElectionState)
        case underWay

        package var reason: String {
            switch self {
            case .notMaster: "this node does not hold the addresses"
            case .noPeer: "no peer is known to be alive"
            case .peerNotReady(let standing, let state):
                "the peer is not ready: \(state), \(standing.fitness)"
                    + (standing.isInMaintenance ? ", in maintenance" : "")
            case .underWay: "the addresses are being given away already"
            }
        }
    }
}

/// What one peer's guardian says of itself and of one instance.
package struct PeerReport: Sendable, Equatable {
    package var nodeID: UInt64
    package var nodeName: String
    package var bootID: UInt64
    package var heardAt: Instant
    /// Until when it counts as live if nothing more is heard.
    package var liveUntil: Instant
    package var standing: Standing
    /// nil: the peer does not know this instance.
    package var instance: PresenceMessage.Instance?
    /// Whether it goes before us if nothing else tells the two apart; exactly one of two does.
    package var goesFirst: Bool

    package init(
        nodeID: UInt64, nodeName: String, bootID: UInt64, heardAt: Instant, liveUntil: Instant,
        standing: Standing, instance: PresenceMessage.Instance?, goesFirst: Bool = false
    ) {
        self.nodeID = nodeID
        self.nodeName = nodeName
        self.bootID = bootID
        self.heardAt = heardAt
        self.liveUntil = liveUntil
        self.standing = standing
        self.instance = instance
        self.goesFirst = goesFirst
    }
}
