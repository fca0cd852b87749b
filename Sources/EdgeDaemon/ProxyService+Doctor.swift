internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// What only the proxy can find out about its host: what it may do as the user that it is.
extension ProxyService {
    func doctor() -> DoctorReply {
        guard let configuration = current?.configuration else { return DoctorReply(checks: []) }
        var checks = [Self.state(configuration.stateDirectory)]
        if let certificates = configuration.certificates {
            checks.append(Self.certificates(certificates.directory))
        }
        checks.append(Self.quarantine(certificateKeeper.quarantined))
        if !LimitFiles.paths(configuration.rateLimits.policies).isEmpty {
            checks.append(Self.limitFiles(limitFiles.files.problems))
        }
        if let file = configuration.accessLog?.path { checks.append(Self.accessLog(file)) }
        if let vip = operation.news?.vip, vip.instances.isEmpty {
            checks.append(
                DoctorCheck(
                    "failover", .problem, vip.fitness,
                    remedy: "it is tried again at least every 30 s; the guardian's log says more"))
        }
        return DoctorReply(checks: checks)
    }

    static func state(_ folder: String?) -> DoctorCheck {
        let name = "state folder"
        guard let folder else {
            return DoctorCheck(
                name, .warning, "none: what DNS said is forgotten by a restart",
                remedy: "set `state` in the configuration")
        }
        guard access(folder, W_OK | X_OK) == 0 else {
            return DoctorCheck(
                name, .problem, "\(folder): \(errorText(errno))",
                remedy: "it has to be writable for the proxy's user")
        }
        return DoctorCheck(name, .fine, "\(folder) can be written")
    }

    static func certificates(_ folder: String) -> DoctorCheck {
        let name = "certificate folder"
        var status = stat()
        guard stat(folder, &status) == 0, access(folder, R_OK | X_OK) == 0 else {
            return DoctorCheck(
                name, .problem, "\(folder): \(errorText(errno))",
                remedy: "chgrp to the proxy's group, and chmod 0750")
        }
        guard status.st_mode & 0o022 == 0 else {
            return DoctorCheck(
                name, .problem, "\(folder) can be written by others than its owner",
                remedy: "chmod go-w \(folder)")
        }
        guard status.st_mode & 0o005 == 0 else {
            return DoctorCheck(
                name, .warning, "\(folder) is open to everybody on this host",
                remedy: "chmod o-rx \(folder)")
        }
        return DoctorCheck(name, .fine, "\(folder) is readable for the proxy alone")
    }

    static func quarantine(_ problems: [CertificateProblem]) -> DoctorCheck {
        guard let first = problems.first else {
            return DoctorCheck("certificate files", .fine, "all are used")
        }
        let more = problems.count > 1 ? ", and \(problems.count - 1) more" : ""
        return DoctorCheck(
            "certificate files", .problem, "in quarantine: \(first.file): \(first.reason)\(more)",
            remedy: "edgectl cert list says what of each; the ones before serve meanwhile")
    }

    static func limitFiles(_ problems: [LimitFiles.Problem]) -> DoctorCheck {
        let name = "limit files"
        guard let first = problems.first else { return DoctorCheck(name, .fine, "all are used") }
        let more = problems.count > 1 ? ", and \(problems.count - 1) more" : ""
        return DoctorCheck(
            name, .problem, "\(first)\(more)",
            remedy: "edgectl limits show says what of each; what it was goes on meanwhile")
    }

    static func accessLog(_ file: String) -> DoctorCheck {
        let name = "access log file"
        guard access(file, W_OK) == 0 else {
            return DoctorCheck(
                name, .problem, "\(file): \(errorText(errno))",
                remedy: "its folder belongs to the proxy's user; then kill -USR1")
        }
        return DoctorCheck(name, .fine, "\(file) can be written")
    }

    private static func errorText(_ code: Int32) -> String {
        strerror(code).map { String(cString: $0) } ?? "error \(code)"
    }
}
