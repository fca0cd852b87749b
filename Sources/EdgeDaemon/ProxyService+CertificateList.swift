internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeTLS

/// What the admin socket shows of certificates and of files in quarantine.
extension ProxyService {
    func certificates() -> CertificatesReply {
        CertificatesReply(
            now: CertificateClock.now(), clock: certificateKeeper.clockText,
            certificates: certificateRows)
    }

    private var certificateRows: [CertificateRow] {
        guard let files = current?.files else { return [] }
        let now = CertificateClock.now()
        let told = Set(certificateKeeper.quarantined.map(\.description))
        func state(_ problem: CertificateProblem) -> CertificateRow.State {
            told.contains(problem.description) ? .quarantined : .waiting
        }
        var rows: [CertificateRow] = []
        for (view, store) in files.stores {
            let jail = Dictionary(
                store.quarantine.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
            for (index, entry) in store.entries.enumerated() {
                let problem = jail[store.fileName(index)]?.problem
                var row = Self.row(entry, view, now)
                if let problem {
                    row.state = state(problem)
                    row.reason = problem.description
                }
                rows.append(row)
            }
            for drop in store.quarantine where !drop.isKept {
                rows.append(
                    CertificateRow(
                        file: drop.problem.file, view: view, state: state(drop.problem),
                        isServed: false, reason: drop.problem.description))
            }
        }
        for problem in files.problems {
            rows.append(
                CertificateRow(
                    file: problem.file, view: "", state: state(problem), isServed: false,
                    reason: problem.description))
        }
        return rows
    }

    /// Of a certificate by itself.
    static func row(_ entry: CertificateEntry, _ view: String, _ now: Int64) -> CertificateRow {
        let state: CertificateRow.State
        if entry.verdict == .unusable {
            state = .unusable
        } else if entry.notAfter < now {
            state = .expired
        } else if entry.notBefore > now {
            state = .notYetValid
        } else {
            state = .serving
        }
        return CertificateRow(
            file: entry.file, view: view, names: entry.names, key: entry.key.rawValue,
            notBefore: entry.notBefore, notAfter: entry.notAfter, state: state,
            isServed: entry.verdict != .unusable)
    }

    func certificateMetrics(into metrics: inout MetricsText) {
        let keeper = certificateKeeper
        metrics.certificates(
            certificateRows,
            CertificateFigures(
                quarantined: UInt64(keeper.quarantined.count), rotations: keeper.rotations,
                failures: keeper.failures.map { ($0.key.rawValue, $0.value) }
                    .sorted { $0.0 < $1.0 },
                isClockSynchronised: keeper.isClockSynchronised))
    }

    /// What a reload did not use, a line each.
    var reloadWarnings: [String] {
        (current?.files.quarantine ?? []).map { "warning: quarantined: \($0)" }
    }
}
