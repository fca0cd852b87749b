/// What `--version` prints, of the daemon and of `edgectl`: they are built together.
package enum EdgedVersion {
    package static let text = "0.1.0"
    /// When this version was made, in seconds since 1970 (2026-11-23): no clock that says less is
    /// right.
    package static let released: Int64 = 1_795_392_000
}
