internal import EdgeControlAPI

/// What administrators have ordered of the node as a whole, what the guardian has told of it, and
/// what has happened to it. The control thread's.
final class NodeOperation {
    /// Unix seconds since when clients are told to go; nil: they are not. Outlives reloads.
    var drainedSince: Int64?
    /// Clients are told to go: by an administrator's word, or while addresses move.
    var isDismissing = false
    /// What the guardian has told last; nil: nothing, it may be older than this program.
    var news: GuardianNews?
    /// What the guardian was told last of how well this proxy serves.
    var toldTroubles: UInt32?
    var incidents = IncidentBook()
    /// Requests under way by site's row, as each worker has counted them for a plan.
    var requestCounts: [Int: [Int32: Int]] = [:]
    /// What goes on once they have.
    var awaitingCounts: [() -> Void] = []
    /// Where incidents are kept over a restart; nil: nowhere.
    var incidentStore: IncidentStore?
    /// Where the names of bans are kept over a restart; nil: nowhere.
    var banStore: BanStore?
    /// It writes its last word.
    var closingStore: IncidentStore?
}
