internal import Foundation

/// What went wrong in the test kit itself or in what a test waited for: one sentence.
package struct KitError: Error, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }

    /// A failed system call with the text of `errno`.
    package static func system(_ what: String, _ number: Int32 = errno) -> KitError {
        KitError("\(what): \(String(cString: strerror(number))) (errno \(number))")
    }
}
