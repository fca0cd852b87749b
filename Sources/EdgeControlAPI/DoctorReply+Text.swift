extension DoctorReply {
    /// What has to be looked at; `unknown` is no finding.
    package var findings: [DoctorCheck] {
        checks.filter { $0.verdict == .problem || $0.verdict == .warning }
    }

    /// For a person: problems first, then warnings, each with what to do about it.
    ///
    /// - Parameter all: what is fine, too.
    package func text(all: Bool) -> String {
        let order: [DoctorCheck.Verdict] = [.problem, .warning, .unknown, .fine]
        var text = ""
        for verdict in order where all || verdict != .fine {
            for check in checks where check.verdict == verdict {
                let line = "\(Self.word(verdict)) \(check.name): \(check.found)"
                text += StatusText.printable(line) + "\n"
                if !check.remedy.isEmpty {
                    text += "         -> \(StatusText.printable(check.remedy))\n"
                }
            }
        }
        let fine = checks.count { $0.verdict == .fine }
        text += "\(checks.count) checks, \(fine) fine, \(findings.count) findings\n"
        return text
    }

    private static func word(_ verdict: DoctorCheck.Verdict) -> String {
        switch verdict {
        case .fine: "ok      "
        case .warning: "warning "
        case .problem: "problem "
        case .unknown: "unknown "
        }
    }
}
