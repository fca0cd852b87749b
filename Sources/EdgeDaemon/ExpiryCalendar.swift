/// Which certificates are to be warned about because they end soon: each once per threshold. No
/// clock of its own.
struct ExpiryCalendar {
    /// Days before the end, the last first.
    static let thresholds: [Int64] = [1, 3, 7, 14, 30]
    private static let day: Int64 = 86_400

    struct Certificate {
        let file: String
        /// Seconds since 1970.
        let notBefore: Int64
        let notAfter: Int64
    }

    struct Warning: Equatable {
        let file: String
        let notAfter: Int64
        /// Days until then, rounded up; 0: it has ended.
        let days: Int64
    }

    /// What was warned about, by file: the end, and the threshold.
    private var told: [String: (notAfter: Int64, threshold: Int64)] = [:]

    /// - Parameter seconds: since 1970.
    mutating func update(_ certificates: [Certificate], at seconds: Int64) -> [Warning] {
        var warnings: [Warning] = []
        var known: [String: (notAfter: Int64, threshold: Int64)] = [:]
        for certificate in certificates {
            guard let threshold = Self.threshold(certificate, seconds) else { continue }
            known[certificate.file] = (certificate.notAfter, threshold)
            if let old = told[certificate.file], old.notAfter == certificate.notAfter,
                old.threshold <= threshold
            {
                continue
            }
            let left = max(certificate.notAfter - seconds, 0)
            warnings.append(
                Warning(
                    file: certificate.file, notAfter: certificate.notAfter,
                    days: (left + Self.day - 1) / Self.day))
        }
        told = known
        return warnings.sorted { ($0.notAfter, $0.file) < ($1.notAfter, $1.file) }
    }

    /// The smallest that is reached, 0 at the end; nil: it has time. Thresholds beyond a third of
    /// its life do not count: certificates of a week are renewed after four days.
    private static func threshold(_ certificate: Certificate, _ seconds: Int64) -> Int64? {
        let left = certificate.notAfter - seconds
        guard left > 0 else { return 0 }
        let life = certificate.notAfter - certificate.notBefore
        return thresholds.first { left <= $0 * day && $0 * day <= life / 3 }
    }
}
