internal import EdgeHTTP

/// Which fields may stand in a trailer section that is forwarded (RFC 9110 §6.5.1): those that
/// neither frame, route, authorise nor modify the message, nor say how its content is to be read.
enum TrailerRules {
    /// Names that nothing else in the proxy cares about.
    private static let refused: [StaticString] = [
        "age", "cache-control", "content-encoding", "content-range", "expires", "max-forwards",
        "pragma", "range", "retry-after", "vary", "warning", "www-authenticate",
    ]
    private static let refusedPrefixes: [StaticString] = ["if-", "proxy-", "sec-"]

    /// Cold: once per trailer field.
    static func allow(_ field: Field, _ bytes: Span<UInt8>) -> Bool {
        guard field.name.isAllowedInTrailers else { return false }
        let name = field.nameRange.indices
        for text in refused where ByteScan.matches(bytes, name, text) { return false }
        for prefix in refusedPrefixes {
            let count = prefix.utf8CodeUnitCount
            guard name.count >= count else { continue }
            let start = name.lowerBound..<name.lowerBound + count
            if ByteScan.matches(bytes, start, prefix) { return false }
        }
        return true
    }
}
