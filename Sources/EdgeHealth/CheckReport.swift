package import EdgeTLS
package import EdgeUpstream

/// What became of one check.
package struct CheckReport: Sendable, Equatable {
    package let outcome: CheckOutcome
    /// From the start of its connection to the verdict; without the time it waited for its turn.
    package var duration: Duration = .zero
    /// Until the TCP connection was there; nil: it never was.
    package var connectTime: Duration?
    /// When the upstream's certificate ends, in seconds since 1970; nil if none was seen.
    package var certificateNotAfter: Int64?
    /// Why the certificate is not to be believed: `certificate has expired`, `hostname mismatch`.
    package var certificateProblem: String?
    /// The check could not be made, and that was not the member's doing (no descriptors, no memory,
    /// or the checker was closed): `outcome` says why and nothing of the member.
    package var isInconclusive = false

    init(outcome: CheckOutcome) { self.outcome = outcome }

    static func inconclusive(_ reason: String) -> CheckReport {
        var report = CheckReport(outcome: .failed(reason: reason))
        report.isInconclusive = true
        return report
    }
}

/// How a check speaks TLS: as traffic does, unless the policy has its own.
package struct CheckTLS: Sendable {
    package let trust: ClientTrust
    /// The certificate that is shown to the upstream; nil: none.
    package let identity: ClientIdentity?
    /// SNI and verified name, or an address to be verified; nil: only the chain is.
    package let name: String?

    package init(trust: ClientTrust, identity: ClientIdentity? = nil, name: String?) {
        self.trust = trust
        self.identity = identity
        self.name = name
    }
}
