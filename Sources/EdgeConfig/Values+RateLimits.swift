import EdgeCore
import EdgeLimits

/// The strings that rate limits are described with.
extension TextValue {
    private static let digitsMax = 12

    /// `120 per 10s`, `120 per 10s burst 200`.
    static func rate(_ text: String) throws(ValueProblem) -> RateLimit {
        try rate(text, "120 per 10s") { word throws(ValueProblem) in
            guard word.utf8.allSatisfy(HostName.isDigit), !word.isEmpty,
                word.utf8.count <= digitsMax, let number = UInt64(word)
            else {
                throw ValueProblem(
                    "\(quoted(word)) in the limit \(quoted(text)) is not a number",
                    hint: "such as 120 per 10s")
            }
            return number
        }
    }

    /// `1MiB per 1s`, `1MiB per 1s burst 8MiB`.
    static func byteRate(_ text: String) throws(ValueProblem) -> RateLimit {
        try rate(text, "1MiB per 1s") { word throws(ValueProblem) in
            UInt64(try Quantity.size(word))
        }
    }

    private static func rate(
        _ text: String, _ example: String, _ amount: (String) throws(ValueProblem) -> UInt64
    ) throws(ValueProblem) -> RateLimit {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map { String($0) }
        // `120/10s`, `120 / 10s` and `120r/s` are what other programs have.
        guard words.count == 3 || words.count == 5, words[1] == "per",
            words.count == 3 || words[3] == "burst"
        else {
            throw ValueProblem(
                "\(quoted(text)) is not a limit",
                hint: "a number, 'per' and a duration: \(example), or \(example) burst N")
        }
        let quantity = try amount(words[0])
        let period = try Quantity.duration(words[2])
        let burst = words.count == 5 ? try amount(words[4]) : quantity
        do throws(RateLimit.Failure) {
            return try RateLimit(quantity, per: period, burst: burst)
        } catch {
            throw problem(error, text)
        }
    }

    private static func problem(_ failure: RateLimit.Failure, _ text: String) -> ValueProblem {
        switch failure {
        case .empty:
            ValueProblem(
                "the limit \(quoted(text)) lets nothing pass", hint: "at least 1 per 1ms")
        case .tooLong:
            ValueProblem(
                "the limit \(quoted(text)) takes too long to come back",
                hint: "a used-up burst has to be there again within 23h")
        case .tooFast:
            ValueProblem("the limit \(quoted(text)) limits nothing", hint: "leave out the key")
        }
    }

    /// What `rate_limits.*.key` says; `isPeer`: a forwarder is meant.
    struct LimitKey: Sendable, Equatable {
        var key: LimitPolicy.Key
        var isPeer = false
    }

    /// `client`, `peer`, `everybody`, `header NAME` (in lower case) or `cookie NAME`.
    static func limitKey(_ text: String) throws(ValueProblem) -> LimitKey {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        switch (words.first, words.count) {
        case ("client", 1): return LimitKey(key: .client)
        case ("peer", 1): return LimitKey(key: .client, isPeer: true)
        case ("everybody", 1): return LimitKey(key: .everybody)
        case ("header", 2) where isToken(words[1]):
            return LimitKey(key: .field(words[1].lowercased()))
        case ("cookie", 2): return LimitKey(key: .cookie(try token(String(words[1]))))
        default:
            throw ValueProblem(
                "\(quoted(text)) is nobody to count",
                hint: "'client', 'header X-Api-Key', 'cookie session', 'everybody' or 'peer'")
        }
    }
}
