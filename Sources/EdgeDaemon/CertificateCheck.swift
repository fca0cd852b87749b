internal import EdgeControlAPI
internal import EdgeTLS
internal import Glibc

/// `edged --check-certificates PATH`: what would become of a file, or of a folder of them, by the
/// code that judges drops.
enum CertificateCheck {
    /// - Returns: nil if there is nothing of that name.
    static func run(_ path: String) -> CertificatesReply? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        let scan = isFolder ? folder(path) : CertificateFolder.scan(file: path)
        let now = CertificateClock.now()
        var rows = scan.store.entries.map { ProxyService.row($0, "", now) }
        for index in rows.indices { rows[index].isServed = false }
        let problems = scan.store.quarantine.map(\.problem) + (scan.problem.map { [$0] } ?? [])
        rows += problems.map {
            CertificateRow(
                file: $0.file, view: "", state: .quarantined, isServed: false,
                reason: $0.description)
        }
        return CertificatesReply(now: now, clock: "synchronised", certificates: rows)
    }

    private static func folder(_ path: String) -> CertificateFolder.Scan {
        var request = CertificateFolder.Request(path)
        request.checking = .all
        return CertificateFolder.scan(request)
    }
}
