package import EdgeCore
package import EdgeSystem
package import EdgeVRRP

/// What the failover thread knows at one moment: a value, posted to whoever asks.
package struct FailoverStatus: Sendable, Equatable {
    package var nodeName: String
    /// What this node says of itself, tracked interfaces included.
    package var standing: Standing
    package var instances: [Instance]
    /// Other nodes whose guardians have been heard, with what they say of themselves.
    package var peers: [PresenceMachine.Peer]
    package var figures: Figures
    package var realTime: RealTime.Grant

    package struct Instance: Sendable, Equatable {
        package var interfaceName: String
        package var link: LinkState
        /// The addresses that move, IPv4 first, in the order of the configuration.
        package var addresses: [VirtualAddress]
        /// Name and router id, state, since when and why, peers, and what was counted.
        package var election: ElectionStatus
    }

    package struct Figures: Sendable, Equatable {
        package var addresses = AddressKeeper.Figures()
        package var announcements = Announcer.Figures()
        package var packetsSent: UInt64 = 0
        package var packetsReceived: UInt64 = 0
        package var sendFailures: UInt64 = 0
        package var lastSendFailure: SystemError?
        /// Packets of protocol 112 that no instance was told of, by reason; zeros left out.
        package var refusals: [AdvertisementRefusal: UInt64] = [:]
        /// Times that more packets came than are read. For ten seconds the kernel then drops what
        /// can't be for us; that is not counted.
        package var floods: UInt64 = 0
        package var presenceSent: UInt64 = 0
        package var presenceHeard: UInt64 = 0
        package var presenceRefusals: [PresenceRefusal: UInt64] = [:]
        package var presenceSendFailures: UInt64 = 0
        /// Stamps of packets that were of no use because the wall clock jumped.
        package var clockJumps: UInt64 = 0
        /// How late the thread ran after an election's timer was due.
        package var lateness = Lateness()

        package init() {}
    }
}

/// Why an interface can or can't be used.
package enum LinkState: String, Sendable, Equatable, CaseIterable {
    case up
    /// There is no such interface.
    case absent
    /// The administrator has set it down.
    case disabled
    case noCarrier = "no_carrier"

    package init(_ link: NetworkLink?) {
        guard let link else {
            self = .absent
            return
        }
        self = !link.isEnabled ? .disabled : link.hasCarrier ? .up : .noCarrier
    }

    package var isUp: Bool { self == .up }

    /// What a log says behind "is".
    package var text: String {
        switch self {
        case .up: "up"
        case .absent: "not there"
        case .disabled: "set down"
        case .noCarrier: "without carrier"
        }
    }
}

/// How late a thread runs after its timers are due: its own scheduling delay.
package struct Lateness: Sendable, Equatable {
    /// Turns that were as late as the bound of the same number at most; the last: later.
    package private(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
    package private(set) var max = Duration.zero

    package static let bounds: [Duration] = [1, 2, 5, 10, 20, 50].map { .milliseconds($0) }

    package init() {}

    package mutating func record(_ span: Duration) {
        max = Swift.max(max, span)
        counts[Self.bounds.firstIndex { span <= $0 } ?? Self.bounds.count] += 1
    }
}

/// What the guardian is told, on its own loop.
package enum FailoverEvent: Sendable {
    /// A line for the daemon's log: this thread never waits for a log.
    case log(Log.Level, String)
    /// For incidents and the hook. The status that follows from it comes with `.changed`.
    case transition(FailoverTransition)
    /// The status has changed in something but counters.
    case changed(FailoverStatus)
}

/// An instance went from one state to another.
package struct FailoverTransition: Sendable, Equatable {
    package var instance: String
    package var routerID: UInt8
    package var transition: Transition
    /// Nanoseconds since 1970.
    package var wallClock: UInt64

    package init(
        instance: String, routerID: UInt8, transition: Transition, wallClock: UInt64
    ) {
        self.instance = instance
        self.routerID = routerID
        self.transition = transition
        self.wallClock = wallClock
    }
}
