/// What `--version` prints, of the daemon and of `edgectl`: they are built together.
package enum EdgedVersion {
    package static let text = "0.1.0"
}
