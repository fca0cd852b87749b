internal import EdgeUpstream

/// What a status says of a member.
enum AnswerRule {
    /// - Parameter trouble: why no token was sent.
    case statuses([ClosedRange<UInt16>], trouble: String?)
    /// kube-apiserver's /readyz.
    case kubernetes(CheckCredential)
    /// Of several, the one that answers 200 has the traffic.
    case activeMember

    func outcome(_ status: UInt16) -> CheckOutcome {
        switch self {
        case .statuses(let passing, let trouble):
            if passing.contains(where: { $0.contains(status) }) { return .passed }
            guard let trouble, status == 401 || status == 403 else { return Self.failed(status) }
            return .failed(reason: "\(CheckReason.status(status)), \(trouble)")
        case .kubernetes(let credential):
            switch status {
            case 200: return .passed
            // It answers, and does not tell us more: no reason to take it out.
            case 401, 403: return .alive(remedy: Self.remedy(status, credential))
            default: return Self.failed(status)
            }
        case .activeMember:
            switch status {
            case 200: return .passed
            case 300...399, 503: return .standby
            default: return Self.failed(status)
            }
        }
    }

    private static func failed(_ status: UInt16) -> CheckOutcome {
        .failed(reason: CheckReason.status(status))
    }

    private static func remedy(_ status: UInt16, _ credential: CheckCredential) -> String {
        let prefix = "/readyz answers \(status): "
        if let trouble = credential.trouble { return prefix + trouble }
        if credential.token != nil || credential.showsCertificate {
            let what = credential.token != nil ? "token" : "client certificate"
            guard status == 403 else { return prefix + "its \(what) is not accepted, renew it" }
            return prefix
                + "bind the user of the \(what) to the cluster role system:public-info-viewer"
        }
        return prefix
            + "allow anonymous requests of it (cluster role system:public-info-viewer), or give "
            + "the check a client certificate or a token_file"
    }
}

/// Makes one outcome of an answer over HTTP, whatever its version.
struct AnswerJudge {
    private let rule: AnswerRule
    private var search: TextSearch?
    /// Bytes of content that are looked at.
    private var contentLeft = AnswerJudge.contentMax

    static let contentMax = 64 << 10

    init(_ rule: AnswerRule, text: String?) {
        self.rule = rule
        search = text.map { TextSearch(Array($0.utf8)) }
    }

    /// - Returns: nil if the content decides.
    mutating func head(_ status: UInt16) -> CheckOutcome? {
        let outcome = rule.outcome(status)
        guard outcome == .passed, let search, !search.isFound else { return outcome }
        return nil
    }

    /// - Returns: nil if the content to come decides.
    mutating func content(_ bytes: Span<UInt8>) -> CheckOutcome? {
        let count = min(bytes.count, contentLeft)
        contentLeft -= count
        if search?.take(bytes.extracting(0..<count)) == true { return .passed }
        return contentLeft > 0 ? nil : end()
    }

    /// The content was all there is.
    func end() -> CheckOutcome { .failed(reason: CheckReason.bodyLacksText) }
}
