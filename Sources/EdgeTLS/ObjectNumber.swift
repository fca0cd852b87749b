internal import Synchronization

/// Tells one object from all others of the process, those included that are gone: another object
/// may be where one of them was, so that an `ObjectIdentifier` that outlives its object says
/// nothing.
package struct ObjectNumber: Sendable, Hashable {
    private let number: UInt64

    private static let last = Atomic<UInt64>(0)

    /// Another one each time, from any thread.
    init() { number = Self.last.wrappingAdd(1, ordering: .relaxed).newValue }
}
