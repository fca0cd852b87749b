internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeTLS

/// What the control thread does about certificates: those that were only indexed are checked in
/// the background, and what is wrong with them is logged, counted and shown.
extension ProxyService {
    /// After a start or a reload.
    func auditCertificates() {
        guard let current else { return }
        countCertificates()
        let poster = loop.poster
        let service = LoopBound(self)
        audit.begin(current.certificateEntries) { problems, count in
            poster.post { service.value.audited(problems, count) }
        }
    }

    private func audited(_ problems: [CertificateProblem], _ count: Int) {
        for problem in problems.prefix(Self.loggedMax) { Log.error("\(problem)") }
        if problems.count > Self.loggedMax {
            Log.error("and \(problems.count - Self.loggedMax) more certificates are unusable")
        }
        Log.notice("certificates: \(count) checked, \(problems.count) unusable")
        countCertificates()
    }

    /// Brings the gauges up to date; workers may have found unusable ones.
    func countCertificates() {
        guard let current, let board else { return }
        let entries = current.certificateEntries
        let unusable = entries.reduce(0) { $0 + ($1.verdict == .unusable ? 1 : 0) }
        board.block(0).set(.certificates, UInt64(entries.count))
        board.block(0).set(.certificatesUnusable, UInt64(unusable))
    }

    /// The unusable ones, then those that end first: as many as a person may want to see.
    func certificateStatus(_ all: [CertificateEntry]) -> [CertificateStatus] {
        var entries = all
        if entries.count > Self.shownMax {
            entries.sort {
                ($0.verdict == .unusable ? 0 : 1, $0.notAfter)
                    < ($1.verdict == .unusable ? 0 : 1, $1.notAfter)
            }
        }
        return entries.prefix(Self.shownMax).map {
            CertificateStatus(
                names: $0.names, notAfter: $0.notAfter, isUnusable: $0.verdict == .unusable)
        }
    }

    private static let loggedMax = 20
    private static let shownMax = 100
}
