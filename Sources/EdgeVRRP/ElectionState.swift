package import EdgeCore

/// What a node is in one instance, as status, hooks and presence say it (RFC 9568 §6.3 and
/// `fault`).
package enum ElectionState: UInt8, Sendable, CaseIterable {
    /// Not taking part: not started, not prepared, or stopped.
    case initialize = 0
    case backup = 1
    /// "Active" in RFC 9568: it holds the addresses.
    case master = 2
    /// It can't take part: no link, or no address to speak from.
    case fault = 3
}

/// Why a state was left for another.
package enum TransitionCause: Sendable, Equatable {
    case started
    case stopped
    /// The guardian has executed itself; what was before is not known here.
    case resumed
    /// What the boot gate waits for on this node is there.
    case prepared
    case linkDown
    case linkUp
    /// No family has an address to speak from, or has one again.
    case noAddress
    case addressAppeared
    /// The master was not heard for the master-down interval, or had given up and did not return.
    case masterSilent
    /// The master gave the addresses up (priority 0).
    case masterLeft
    /// The master's presence asked us to take over.
    case asked
    /// The master has a lower priority, and preemption is wanted.
    case preempted
    /// Priority 255: the addresses are ours.
    case owner
    /// Another master has a higher priority, or the same and a greater address.
    case outranked(by: SocketAddress)
    /// We were silent for so long that another had to take over, and it has.
    case wasSilent(by: SocketAddress)
    /// Another master goes on although we answer it: it can't hear us, and so nor can clients.
    case unheard(by: SocketAddress)
    /// Another master's guardian says that it holds the addresses, but nothing of its
    /// advertisements reaches us: VRRP is filtered between the two.
    case contested(by: String)
    /// We gave the addresses away, and the peer has them.
    case gaveWay(HandoverReason)
    /// Our proxy answers nothing; nobody else was found to take the addresses.
    case notAnswering
}

/// Why a master gives the addresses away.
package enum HandoverReason: String, Sendable, Equatable {
    /// `edgectl vip yield`.
    case operatorAsked = "operator"
    /// A live peer is strictly fitter, or this node is unfit and no peer says anything.
    case fitness
    /// The node is drained.
    case maintenance
    /// The guardian ends.
    case stop
}

extension TransitionCause: CustomStringConvertible {
    package var description: String {
        switch self {
        case .started: "started"
        case .stopped: "stopped"
        case .resumed: "goes on after an upgrade"
        case .prepared: "prepared"
        case .linkDown: "link is down"
        case .linkUp: "link is up"
        case .noAddress: "the interface has no address"
        case .addressAppeared: "the interface has an address"
        case .masterSilent: "the master is silent"
        case .masterLeft: "the master has left"
        case .asked: "the master asked us to take over"
        case .preempted: "preempted a master of lower priority"
        case .owner: "the addresses are this node's own"
        case .outranked(let by): "\(by.addressText) is master with a higher rank"
        case .wasSilent(let by): "\(by.addressText) took over while this node was stopped"
        case .unheard(let by): "\(by.addressText) is master and does not hear this node"
        case .contested(let by):
            "\(by) is master by its presence, but no advertisement of it is heard"
        case .gaveWay(.operatorAsked): "gave way as asked"
        case .gaveWay(.fitness): "gave way to a fitter node"
        case .gaveWay(.maintenance): "gave way for maintenance"
        case .gaveWay(.stop): "gave way before stopping"
        case .notAnswering: "the proxy answers nothing"
        }
    }
}

/// One change of state.
package struct Transition: Sendable, Equatable {
    package let from: ElectionState
    package let to: ElectionState
    package let cause: TransitionCause
    package let at: Instant
}
