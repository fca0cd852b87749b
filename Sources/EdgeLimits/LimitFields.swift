import EdgeCore

/// The fields that tell a client about its limit (draft-ietf-httpapi-ratelimit-headers-10, and
/// RFC 9110 §10.2.3).
package enum LimitFields {
    /// `"public";q=120;w=10`: so many per so many seconds, rounded up. Empty without a limit.
    static func policy(_ name: String, _ rate: RateLimit?) -> [UInt8] {
        guard let rate else { return [] }
        return Array("\"\(name)\";q=\(rate.quantity);w=\(seconds(rate.period))".utf8)
    }

    /// `"public";r=0;t=5`: what is left, and in how many seconds all of it is there again.
    ///
    /// - Parameters:
    ///   - bytes: appended to; a worker keeps it.
    package static func appendState(
        _ name: String, _ rate: RateLimit, debt: UInt64, to bytes: inout [UInt8]
    ) {
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: name.utf8)
        bytes.append(contentsOf: [0x22, 0x3B, 0x72, 0x3D])  // ";r=
        append(rate.remaining(debt: debt), to: &bytes)
        bytes.append(contentsOf: [0x3B, 0x74, 0x3D])  // ;t=
        append(seconds(RateLimit.nanoseconds(debt)), to: &bytes)
    }

    /// Seconds for `Retry-After`, at least 1: until the same passes, if nothing else is asked; what
    /// can never pass waits until all is there.
    package static func retryAfter(_ rate: RateLimit, debt: UInt64, cost: UInt32) -> UInt64 {
        max(1, seconds(rate.wait(debt: debt, cost: cost) ?? RateLimit.nanoseconds(debt)))
    }

    /// Rounded up.
    package static func seconds(_ nanoseconds: UInt64) -> UInt64 {
        nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 == 0 ? 0 : 1)
    }

    private static func append(_ number: UInt64, to bytes: inout [UInt8]) {
        var divisor: UInt64 = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            bytes.append(0x30 + UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }
}
