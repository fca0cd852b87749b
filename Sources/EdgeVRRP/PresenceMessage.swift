/// What a guardian says of its node to the other's: one UDP datagram (at most
/// `byteCountMax` bytes), every presence interval and at each change. VRRP itself stays as the RFC
/// has it; what two edged know beyond it is here.
package struct PresenceMessage: Sendable, Equatable {
    /// FNV-1a of the node's name: who speaks, whatever address it has.
    package var nodeID: UInt64
    /// The node's name; at most 64 bytes of UTF-8.
    package var nodeName: String
    /// Random for each start of the guardian; the same after an upgrade in place.
    package var bootID: UInt64
    /// Rises with each message of a boot.
    package var sequence: UInt64
    /// The sender's present challenge to the receiver: to be echoed.
    package var challenge: UInt64
    /// The receiver's challenge as the sender heard it last; 0: none yet.
    package var echo: UInt64
    /// CLOCK_REALTIME at sending, nanoseconds.
    package var wallClock: UInt64
    /// CLOCK_MONOTONIC at sending, nanoseconds.
    package var monotonic: UInt64
    /// Of the node as a whole: for whoever looks at it, and for instances that are not listed.
    package var standing: Standing
    /// Of the sender's configuration, as `edgectl status` shows it; 0: none.
    package var configurationFingerprint: UInt64
    /// `edged`'s version; at most 32 bytes of UTF-8.
    package var programVersion: String
    /// At most `instancesMax`, one per router id.
    package var instances: [Instance]

    /// What the sender is in one instance.
    package struct Instance: Sendable, Equatable {
        package var routerID: UInt8
        package var state: ElectionState
        /// What its advertisements say, or would.
        package var priority: UInt8
        /// True if it would take the addresses when asked: a backup behind its boot gate.
        package var isReady: Bool
        /// True while it gives the addresses up and wants the receiver to take them now.
        package var asksToTakeOver: Bool
        /// How long it has been in its state, milliseconds.
        package var sinceMilliseconds: UInt32
        /// Of the node as far as this instance goes: interfaces that only one tracks ail only one.
        package var standing: Standing

        package init(
            routerID: UInt8, state: ElectionState, priority: UInt8, isReady: Bool,
            asksToTakeOver: Bool, sinceMilliseconds: UInt32, standing: Standing
        ) {
            self.routerID = routerID
            self.state = state
            self.priority = priority
            self.isReady = isReady
            self.asksToTakeOver = asksToTakeOver
            self.sinceMilliseconds = sinceMilliseconds
            self.standing = standing
        }
    }

    package init(
        nodeName: String, bootID: UInt64, sequence: UInt64, challenge: UInt64, echo: UInt64,
        wallClock: UInt64, monotonic: UInt64, standing: Standing,
        configurationFingerprint: UInt64, programVersion: String, instances: [Instance]
    ) {
        nodeID = Self.nodeID(of: nodeName)
        self.nodeName = nodeName
        self.bootID = bootID
        self.sequence = sequence
        self.challenge = challenge
        self.echo = echo
        self.wallClock = wallClock
        self.monotonic = monotonic
        self.standing = standing
        self.configurationFingerprint = configurationFingerprint
        self.programVersion = programVersion
        self.instances = instances
    }

    package static let instancesMax = 32
    package static let nodeNameByteCountMax = 64
    package static let versionByteCountMax = 32
    package static let byteCountMax =
        headByteCount + 2 + nodeNameByteCountMax + versionByteCountMax
        + instancesMax * instanceByteCount
        + PresenceAuthenticator.byteCount

    /// FNV-1a, 64 bits.
    package static func nodeID(of name: String) -> UInt64 {
        name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}

/// Makes the 32 bytes at the end of authenticated messages: HMAC-SHA256 with the pair's secret, by
/// whoever has a hash function.
package struct PresenceAuthenticator: Sendable {
    package static let byteCount = 32

    package typealias Code = @Sendable ([UInt8]) -> [UInt8]

    /// 32 bytes for a message. Must not fail; called for each message sent and received.
    package let code: Code
    /// With which other secrets a message may come, while they are being replaced.
    let others: [Code]

    package init(others: [Code] = [], code: @escaping Code) {
        self.code = code
        self.others = others
    }

    /// Whether a code is right for a message.
    func proves(_ body: [UInt8], _ theirs: ArraySlice<UInt8>) -> Bool {
        var isRight = false
        for make in [code] + others {
            let ours = make(body)
            // Every byte is compared, so that the time says nothing about where they differ.
            var difference: UInt8 =
                ours.count == Self.byteCount && theirs.count == Self.byteCount ? 0 : 1
            for (one, other) in zip(ours, theirs) { difference |= one ^ other }
            if difference == 0 { isRight = true }
        }
        return isRight
    }
}

/// Why a datagram said nothing about a peer. The names are those of metrics.
package enum PresenceRefusal: String, Error, Sendable, CaseIterable {
    /// Shorter or longer than what it says is in it, or than any message may be.
    case length
    /// Not a presence message at all.
    case magic
    /// A version that we do not know.
    case version
    /// A field has a value that it can't have.
    case malformed
    /// We have a secret, the message has no code.
    case unauthenticated
    /// The message has a code, we have no secret.
    case noSecret = "no_secret"
    /// The code is wrong: another secret, or another sender.
    case authentication
    /// We have sent it ourselves, or another node has our name.
    case ownNode = "own_node"
    /// It comes from none of the configured addresses.
    case sourceUnknown = "source_unknown"
    /// As old as one heard before, or older.
    case replayed
    /// It does not echo a challenge of ours: from before our start, recorded, or a first word.
    case unechoed
    /// One node more than can be remembered.
    case tooManyPeers = "too_many_peers"
}
