package import EdgeHTTP

/// What listeners that only redirect do.
extension RuntimeSnapshot.Listener {
    /// Whether a target is below `/.well-known/acme-challenge/` (RFC 8555 §8.3), which is asked for in
    /// the clear.
    package static func isChallenge(_ target: Span<UInt8>) -> Bool {
        let prefix: StaticString = "/.well-known/acme-challenge/"
        guard target.count > prefix.utf8CodeUnitCount else { return false }
        for index in 0..<prefix.utf8CodeUnitCount where target[index] != prefix.utf8Start[index] {
            return false
        }
        return true
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
