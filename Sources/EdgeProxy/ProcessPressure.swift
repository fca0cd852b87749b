package import EdgeLimits
internal import Synchronization

/// What the control thread has measured of the process, for the workers: read once per connection
/// and once a second. Each figure is written whole by one thread; nothing else depends on it, so
/// no order is kept between them.
package final class ProcessPressure: Sendable {
    private let level = Atomic<Int>(0)
    private let share = Atomic<Int>(0)

    package init() {}

    package var memory: MemoryLevel {
        get { MemoryLevel(rawValue: level.load(ordering: .relaxed)) ?? .enough }
        set { level.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Descriptors that one worker's connections may take; 0: nobody has said.
    package var descriptorShare: Int {
        get { share.load(ordering: .relaxed) }
        set { share.store(newValue, ordering: .relaxed) }
    }
}
