/// Stops the process when one of our own assumptions is broken. Kept in release builds: a proxy
/// that has lost track of its state must be replaced, not trusted. Never guards input: bytes from
/// the network, the kernel or a file get a typed error.
///
/// - Parameter expected: what should have been true, as a sentence.
@inlinable
@inline(__always)
package func invariant(
    _ condition: Bool, _ expected: StaticString,
    file: StaticString = #fileID, line: UInt = #line
) {
    if _slowPath(!condition) { brokenInvariant(expected, file: file, line: line) }
}

/// The end of the line for a broken invariant; separate, so that the check itself stays small.
@usableFromInline
package func brokenInvariant(
    _ expected: StaticString, file: StaticString, line: UInt
) -> Never {
    fatalError("invariant: \(expected)", file: file, line: line)
}
