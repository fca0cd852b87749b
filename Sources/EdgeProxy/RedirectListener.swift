package import EdgeHTTP

/// What listeners that only redirect do.
extension RuntimeSnapshot.Listener {
    /// Whether a target is `/.well-known/acme-challenge/` and a token (RFC 8555 §8.3), which is
    /// asked for in the clear. Nothing else goes there: no dot segment leads out of it, whoever
    /// reads the path.
    package static func isChallenge(_ target: Span<UInt8>) -> Bool {
        let prefix: StaticString = "/.well-known/acme-challenge/"
        let start = prefix.utf8CodeUnitCount
        guard target.count > start else { return false }
        for index in 0..<start where target[index] != prefix.utf8Start[index] { return false }
        var end = start
        while end < target.count, isOfToken(target[end]) { end += 1 }
        return end > start && (end == target.count || target[end] == UInt8(ascii: "?"))
    }

    /// base64url, RFC 8555 §8.1.
    private static func isOfToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// The same resource by https.
    ///
    /// - Parameter request: whose ranges lie in `bytes`.
    package static func secureLocation(
        of request: borrowing RequestHead, _ bytes: Span<UInt8>, port: UInt16
    ) -> [UInt8] {
        var location = Array("https://".utf8)
        let host = bytes.extracting(request.host.indices)
        var isLiteral = false
        for index in host.indices where host[index] == UInt8(ascii: ":") { isLiteral = true }
        if isLiteral { location.append(UInt8(ascii: "[")) }
        for index in host.indices { location.append(host[index]) }
        if isLiteral { location.append(UInt8(ascii: "]")) }
        if port != 443 { location += Array(":\(port)".utf8) }
        if !request.isAsterisk {
            if request.lacksPath { location.append(UInt8(ascii: "/")) }
            let target = bytes.extracting(request.target.indices)
            for index in target.indices { location.append(target[index]) }
        }
        return location
    }
}

extension RequestHead {
    /// Path and query as the client wrote them; empty without a path.
    package var writtenTarget: ByteRange {
        isAsterisk || lacksPath ? ByteRange(0..<0) : target
    }
}
