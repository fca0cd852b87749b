package import EdgeCore

/// One limit as workers have it: numbers only.
package struct CompiledLimit: Sendable, BitwiseCopyable {
    /// How its key is made.
    package enum Whose: UInt8, Sendable, BitwiseCopyable {
        case client
        /// Of a text that the worker has hashed.
        case text
        case everybody
    }

    /// Same policy, thing, scope and rate, same number: in every process, and on the other node.
    package let identity: UInt64
    /// As `identity`, whatever the rate.
    let lineage: UInt64
    package let rate: RateLimit
    package let whose: Whose
    let ipv4Bits: UInt8
    let ipv6Bits: UInt8
    /// Index into `LimitPlans.texts`; meaningful with `.text`.
    package let text: UInt8
    /// Index into `LimitCaller.prices`.
    package let prices: UInt8
    package let countsRefused: Bool
    package let isShadow: Bool
    /// Index into `LimitPlans.policies`.
    package let policy: Int32
    /// Its part of the ceilings in shared memory; -1: it is none.
    package let ceiling: Int32
    /// Index of the same limit with its former rate in `LimitPlans.former`; -1: none.
    package let former: Int32

    /// - Parameter text: hash of the text that decides; 0: there is none.
    // hot: no allocation
    @inline(__always)
    package func subject(client: SocketAddress, text: UInt64) -> LimitSubject {
        switch whose {
        case .everybody: LimitSubject(high: 0, low: 0)
        case .text where text != 0: LimitSubject(high: text, low: 0x7465_7874)
        case .client, .text:
            LimitSubject(client: client, ipv4Bits: ipv4Bits, ipv6Bits: ipv6Bits)
        }
    }
}

/// A limit of what there may be at a time.
package struct CompiledCount: Sendable, BitwiseCopyable {
    package let identity: UInt64
    package let most: UInt32
    let whose: CompiledLimit.Whose
    let ipv4Bits: UInt8
    let ipv6Bits: UInt8
    package let text: UInt8
    package let isShadow: Bool
    package let policy: Int32

    @inline(__always)
    package func subject(client: SocketAddress, text: UInt64) -> LimitSubject {
        switch whose {
        case .everybody: LimitSubject(high: 0, low: 0)
        case .text where text != 0: LimitSubject(high: text, low: 0x7465_7874)
        case .client, .text:
            LimitSubject(client: client, ipv4Bits: ipv4Bits, ipv6Bits: ipv6Bits)
        }
    }
}

/// What a policy says besides numbers.
package struct CompiledPolicy: Sendable {
    package let name: String
    package let status: UInt16
    package let isShadow: Bool
    /// In `Retry-After`'s company: `"public";q=120;w=10`, for the limit of requests.
    package let policyField: [UInt8]
    /// Identity of its bans; another in shadow mode, so that none of those ever holds.
    package let banIdentity: UInt64
    package let errorLimit: Int32
    package let errorStatuses: [ClosedRange<UInt16>]
    package let ban: Duration
    package let allowed: AddressLists
    package let denied: AddressLists
    package let ipv4Bits: UInt8
    package let ipv6Bits: UInt8

    /// Whom a ban hits: always the client's network, whatever the policy counts by.
    package func banned(_ client: SocketAddress) -> LimitSubject {
        LimitSubject(client: client, ipv4Bits: ipv4Bits, ipv6Bits: ipv6Bits)
    }
}
