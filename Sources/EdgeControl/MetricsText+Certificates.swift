package import EdgeControlAPI

/// What becomes of the certificates' files.
package struct CertificateFigures: Sendable {
    /// Files that cannot be used.
    package var quarantined: UInt64
    /// How often other files were taken into use.
    package var rotations: UInt64
    /// Files that could not be, by why.
    package var failures: [(reason: String, count: UInt64)]
    package var isClockSynchronised: Bool

    package init(
        quarantined: UInt64, rotations: UInt64, failures: [(reason: String, count: UInt64)],
        isClockSynchronised: Bool
    ) {
        self.quarantined = quarantined
        self.rotations = rotations
        self.failures = failures
        self.isClockSynchronised = isClockSynchronised
    }
}

extension MetricsText {
    /// Series of single certificates beyond this many are left out: those that end last.
    static let certificatesMax = 100

    package mutating func certificates(_ rows: [CertificateRow], _ figures: CertificateFigures) {
        family(
            "edged_certificate_expiry_seconds", .gauge,
            "When a certificate that is served ends, in Unix seconds: the 100 that end first."
        ) { sample in
            let served = rows.filter { $0.isServed && !$0.key.isEmpty }
                .sorted { ($0.notAfter, $0.file) < ($1.notAfter, $1.file) }
            for row in served.prefix(Self.certificatesMax) {
                sample(
                    [
                        ("file", row.file), ("view", row.view),
                        ("name", row.names.first ?? ""), ("key", row.key),
                    ], UInt64(max(row.notAfter, 0)))
            }
        }
        single(
            "edged_certificates_quarantined", .gauge,
            "Files of certificates, keys, authorities and revocations that cannot be used.",
            figures.quarantined)
        single(
            "edged_certificate_rotations_total", .counter,
            "Times that other files were taken into use, since the process began.",
            figures.rotations)
        family(
            "edged_certificate_failures_total", .counter,
            "Files that could not be taken into use, by why, since the process began."
        ) { sample in
            for (reason, count) in figures.failures { sample([("reason", reason)], count) }
        }
        single(
            "edged_clock_synchronised", .gauge, "Whether somebody keeps the kernel's clock right.",
            figures.isClockSynchronised ? 1 : 0)
    }
}
