package import EdgeHTTP

/// What listeners that only redirect do.
extension RuntimeSnapshot.Listener {
    /// Whether a path is below `/.well-known/acme-challenge/` (RFC 8555 §8.3), which is asked for in
    /// the clear.
    package static func isChallenge(_ path: Span<UInt8>) -> Bool {
        let prefix: StaticString = "/.well-known/acme-challenge/"
        guard path.count > prefix.utf8CodeUnitCount else { return false }
        for index in 0..<prefix.utf8CodeUnitCount where path[index] != prefix.utf8Start[index] {
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
    /// The target without its query, as the client wrote it; empty without a path.
    package func pathIndices(_ bytes: Span<UInt8>) -> Range<Int> {
        guard !isAsterisk, !lacksPath else { return 0..<0 }
        let target = target.indices
        var end = target.lowerBound
        while end < target.upperBound, bytes[end] != UInt8(ascii: "?") { end += 1 }
        return target.lowerBound..<end
    }
}
