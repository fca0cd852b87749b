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

/// What the daemons of the current test say, for messages: an error that a test throws is reported
/// when its daemons are gone already.
final class LogBook: @unchecked Sendable {
    // Sendable: `pages` is guarded by `lock`.
    static let shared = LogBook()
    private let lock = NSLock()
    private var pages: [Page] = []

    private struct Page {
        let owner: ObjectIdentifier
        var isOpen = true
        var text: () -> String
    }

    /// The first daemon of a test begins a new book.
    func add(_ owner: AnyObject, _ text: @escaping () -> String) {
        lock.withLock {
            if !pages.contains(where: \.isOpen) { pages = [] }
            pages.append(Page(owner: ObjectIdentifier(owner), text: text))
        }
    }

    /// The daemon is gone; its last words are kept.
    func close(_ owner: AnyObject) {
        lock.withLock {
            for index in pages.indices where pages[index].owner == ObjectIdentifier(owner) {
                let last = pages[index].text()
                pages[index].isOpen = false
                pages[index].text = { last }
            }
        }
    }

    var texts: [String] { lock.withLock { pages.map { $0.text() } } }
}
