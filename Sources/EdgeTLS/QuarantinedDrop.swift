/// A file of certificates that is not used as it is, and why. What was read from a file of that
/// name before is served meanwhile.
package struct QuarantinedDrop: Sendable, Equatable {
    /// Within its folder.
    package let name: String
    package let problem: CertificateProblem
    /// When it was first not usable, in nanoseconds since 1970.
    package let since: Int64
    /// Whether an older certificate of the same name is served.
    package let isKept: Bool
    /// What was judged.
    let file: CertificateFile

    func with(isKept: Bool) -> QuarantinedDrop {
        QuarantinedDrop(name: name, problem: problem, since: since, isKept: isKept, file: file)
    }
}
