import EdgeUpstream

extension EjectionPolicy {
    /// - Parameter owner: the upstream's section.
    /// - Returns: nil: `off`.
    static func decode(_ owner: Section) -> Self? {
        guard let section = owner.sectionUnlessOff("ejection") else { return nil }
        let first = section.duration("first")
        let last = section.duration("last")
        let latency = section.integer("latency") ?? 0
        if first > last, section.has("last") {
            section.error(
                section.location(of: "last"),
                "\(section.title).last is less than \(section.title).first",
                hint: "at least \(Quantity.text(first))")
        }
        if latency == 1 {
            section.error(
                section.location(of: "latency"),
                "\(section.title).latency of 1 takes out every member slower than most",
                hint: "2 or more; 0: not looked at")
        }
        return Self(
            consecutive: section.integer("failures") ?? 1,
            failurePercent: section.integer("rate") ?? 0,
            requestsMin: section.integer("requests") ?? 1, latencyFactor: latency,
            first: first, last: max(first, last), sharePercent: section.integer("share") ?? 1)
    }
}

extension RetryPolicy {
    /// - Parameter response: the upstream's `timeouts.response`.
    static func decode(_ section: Section, response: Duration) -> Self {
        let result = Self(
            attempts: section.integer("attempts") ?? 0,
            statuses: section.statuses("statuses").flatMap { Array($0) }.sortedOnce(),
            budgetPercent: section.integer("budget") ?? 0,
            perTry: section.durationIfWritten("per_try"),
            overall: section.durationIfWritten("overall"),
            hedgeAfter: section.durationIfWritten("hedge"))
        if result.attempts == 0 {
            for name in ["statuses", "per_try", "budget"] where section.has(name) {
                section.error(
                    section.location(of: name),
                    "\(section.title).\(name) has no effect with 'attempts: 0'",
                    hint: "remove one of them")
            }
        }
        check(result, section, response: response)
        return result
    }

    private static func check(_ result: Self, _ section: Section, response: Duration) {
        let attempt = min(result.perTry ?? response, response)
        if let perTry = result.perTry, perTry > response {
            section.error(
                section.location(of: "per_try"),
                "\(section.title).per_try is more than timeouts.response",
                hint: "at most \(Quantity.text(response))")
        }
        if let overall = result.overall, let perTry = result.perTry, overall < perTry {
            section.error(
                section.location(of: "overall"),
                "\(section.title).overall is less than per_try",
                hint: "at least \(Quantity.text(perTry))")
        }
        if let hedge = result.hedgeAfter, hedge >= min(attempt, result.overall ?? attempt) {
            section.error(
                section.location(of: "hedge"),
                "\(section.title).hedge is not reached: the attempt ends before",
                hint: "less than \(Quantity.text(min(attempt, result.overall ?? attempt)))")
        }
    }
}

extension [UInt16] {
    /// In order, each once.
    fileprivate func sortedOnce() -> [UInt16] { Set(self).sorted() }
}
