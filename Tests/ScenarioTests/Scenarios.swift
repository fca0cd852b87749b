internal import EdgeTesting
internal import Foundation
internal import Testing

/// The real programs between real peers. One at a time: each starts daemons, and some measure
/// time or kill. What the daemons of a failed test said stands with the failure.
@Suite(
    "Scenarios", .serialized,
    .compactMapIssues { issue in
        var issue = issue
        // Once: the trait is inherited, and each suite on the way applies it.
        for text in LogBook.shared.texts.map({ Comment(rawValue: $0) })
        where !issue.comments.contains(text) { issue.comments.append(text) }
        return issue
    })
struct Scenarios {}

/// The daemons that run at the moment, for messages.
final class LogBook: @unchecked Sendable {
    // Sendable: `open` is guarded by `lock`.
    static let shared = LogBook()
    private let lock = NSLock()
    private var open: [ObjectIdentifier: () -> String] = [:]

    func add(_ owner: AnyObject, _ text: @escaping () -> String) {
        lock.withLock { open[ObjectIdentifier(owner)] = text }
    }

    func remove(_ owner: AnyObject) { _ = lock.withLock { open.removeValue(forKey: .init(owner)) } }

    var texts: [String] { lock.withLock { Array(open.values) }.map { $0() } }
}
