/// What an instance must know after its guardian has executed itself: plain numbers, on the same
/// monotonic clock. The state file's form is others' business.
package struct ElectionRecord: Sendable, Equatable {
    package var routerID: UInt8
    /// `ElectionState.rawValue`. A handover under way is recorded as `master`.
    package var state: UInt8
    package var sinceNanoseconds: UInt64
    /// When a master last advertised, and which interval it named.
    package var advertisedNanoseconds: UInt64
    package var advertisedCentiseconds: UInt16
    /// Which interval a backup has adopted; 0: none.
    package var adoptedCentiseconds: UInt16
    /// Whether the boot gate has been passed.
    package var isGateOpen: Bool
    /// Whether a peer's guardian has ever been heard.
    package var knowsEdgedPeer: Bool
    /// Times of take-overs within the damping window.
    package var takeOverNanoseconds: [UInt64]
    package var dampedUntilNanoseconds: UInt64
    package var holdDowns: UInt32
    package var preemptBlockedUntilNanoseconds: UInt64
    package var counters: ElectionCounters

    package init(
        routerID: UInt8, state: UInt8, sinceNanoseconds: UInt64, advertisedNanoseconds: UInt64,
        advertisedCentiseconds: UInt16, adoptedCentiseconds: UInt16, isGateOpen: Bool,
        knowsEdgedPeer: Bool, takeOverNanoseconds: [UInt64], dampedUntilNanoseconds: UInt64,
        holdDowns: UInt32, preemptBlockedUntilNanoseconds: UInt64, counters: ElectionCounters
    ) {
        self.routerID = routerID
        self.state = state
        self.sinceNanoseconds = sinceNanoseconds
        self.advertisedNanoseconds = advertisedNanoseconds
        self.advertisedCentiseconds = advertisedCentiseconds
        self.adoptedCentiseconds = adoptedCentiseconds
        self.isGateOpen = isGateOpen
        self.knowsEdgedPeer = knowsEdgedPeer
        self.takeOverNanoseconds = takeOverNanoseconds
        self.dampedUntilNanoseconds = dampedUntilNanoseconds
        self.holdDowns = holdDowns
        self.preemptBlockedUntilNanoseconds = preemptBlockedUntilNanoseconds
        self.counters = counters
    }
}
