internal import EdgeControlAPI

/// What administrators have ordered of the node as a whole, and what has happened to it since this
/// proxy started. The control thread's.
final class NodeOperation {
    /// Unix seconds since when clients are told to go; nil: they are not. Outlives reloads.
    var drainedSince: Int64?
    var incidents = IncidentBook()
    /// Requests under way by site's row, as each worker has counted them for a plan.
    var requestCounts: [Int: [Int32: Int]] = [:]
    /// What goes on once they have.
    var awaitingCounts: [() -> Void] = []
}
