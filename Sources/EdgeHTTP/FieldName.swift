/// Names of fields that the proxy acts upon; everything else is `.other`.
@frozen
public enum FieldName: UInt8, Sendable, CaseIterable {
    case other
    // Message framing and connection.
    case host, connection, keepAlive, proxyConnection, te, trailer, transferEncoding, upgrade
    case contentLength, expect, http2Settings, proxyAuthenticate, proxyAuthorization
    // Who the client is.
    case forwarded, xForwardedFor, xForwardedProto, xForwardedHost, xForwardedPort
    /// Any further name that starts with `X-Forwarded-`.
    case xForwardedOther
    case xRealIP, xRequestID
    /// Proxies that the request has passed (RFC 8586).
    case cdnLoop
    /// Which trace the request is part of (W3C Trace Context).
    case traceparent, tracestate
    // What is logged or rewritten.
    case date, server, via, cookie, setCookie, location, contentLocation, refresh
    case authorization, origin, referer, userAgent, contentType, accessControlAllowOrigin

    /// Ends at this hop whatever a Connection field says (RFC 9110 §7.6.1), framing included:
    /// what we send is framed anew.
    @inlinable
    public var isHopByHop: Bool {
        switch self {
        case .connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade,
            .http2Settings, .proxyAuthenticate, .proxyAuthorization:
            true
        default: false
        }
    }

    /// Says who the client is or which request this is: believed only from a trusted source.
    @inlinable
    public var isForwardingClaim: Bool {
        switch self {
        case .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost, .xForwardedPort,
            .xForwardedOther, .xRealIP, .xRequestID:
            true
        default: false
        }
    }

    /// May stand in a trailer section (RFC 9110 §6.5.1): nothing about framing, routing, this hop,
    /// credentials or who the client is.
    @inlinable
    public var isAllowedInTrailers: Bool { self == .other || self == .date || self == .server }
}

extension FieldName {
    /// The name in `bytes[range]`, which is already known to be a token, in any letter case.
    // hot: once per field; no allocation.
    package static func identify(_ bytes: Span<UInt8>, _ range: ByteRange) -> FieldName {
        let count = Int(range.count)
        guard count >= 2 else { return .other }
        let key = NameKey(bytes, start: Int(range.start), count: count)
        switch count {
        case 2: return key.is("te") ? .te : .other
        case 3: return key.is("via") ? .via : .other
        case 4:
            if key.is("host") { return .host }
            return key.is("date") ? .date : .other
        case 6:
            if key.is("cookie") { return .cookie }
            if key.is("expect") { return .expect }
            if key.is("origin") { return .origin }
            return key.is("server") ? .server : .other
        case 7:
            if key.is("referer") { return .referer }
            if key.is("upgrade") { return .upgrade }
            if key.is("trailer") { return .trailer }
            return key.is("refresh") ? .refresh : .other
        case 8:
            if key.is("location") { return .location }
            return key.is("cdn-loop") ? .cdnLoop : .other
        case 9:
            if key.is("forwarded") { return .forwarded }
            return key.is("x-real-ip") ? .xRealIP : .other
        case 10:
            if key.is("user-agent") { return .userAgent }
            if key.is("connection") { return .connection }
            if key.is("tracestate") { return .tracestate }
            if key.is("set-cookie") { return .setCookie }
            return key.is("keep-alive") ? .keepAlive : .other
        case 11: return key.is("traceparent") ? .traceparent : .other
        case 12:
            if key.is("content-type") { return .contentType }
            if key.is("x-request-id") { return .xRequestID }
            return key.is("x-forwarded-") ? .xForwardedOther : .other
        case 13:
            if key.is("authorization") { return .authorization }
        case 14:
            if key.is("content-length") { return .contentLength }
            if key.is("http2-settings") { return .http2Settings }
        case 15: if key.is("x-forwarded-for") { return .xForwardedFor }
        case 16:
            if key.is("x-forwarded-host") { return .xForwardedHost }
            if key.is("x-forwarded-port") { return .xForwardedPort }
            if key.is("content-location") { return .contentLocation }
            if key.is("proxy-connection") { return .proxyConnection }
        case 17:
            if key.is("transfer-encoding") { return .transferEncoding }
            if key.is("x-forwarded-proto") { return .xForwardedProto }
        case 18: if key.is("proxy-authenticate") { return .proxyAuthenticate }
        case 19: if key.is("proxy-authorization") { return .proxyAuthorization }
        case 27:
            if key.is("access-control-allow-origin") { return .accessControlAllowOrigin }
        default: break
        }
        return count > 12 && key.startsWithForwardedPrefix ? .xForwardedOther : .other
    }
}

/// A token folded to lower case as a few machine words that can be compared at once. Setting bit 5
/// maps upper to lower case, and no two different token characters that are not the two cases of
/// one letter meet, except `^`/`~` and the like that no known name contains.
private struct NameKey {
    let count: Int
    private var first: UInt64 = 0
    private var second: UInt64 = 0
    private var third: UInt64 = 0
    private var last: UInt64 = 0

    @inline(__always)
    init(_ bytes: Span<UInt8>, start: Int, count: Int) {
        self.count = count
        // The bytes of bytes: any integer may be loaded from them.
        let raw = unsafe bytes.bytes
        if count >= 8 {
            first = Self.load8(raw, start)
            last = Self.load8(raw, start + count - 8)
            if count > 16 { second = Self.load8(raw, start + 8) }
            if count > 24 { third = Self.load8(raw, start + 16) }
        } else if count >= 4 {
            first = Self.load4(raw, start) | Self.load4(raw, start + count - 4) << 32
        } else {
            for offset in 0..<count {
                first |= UInt64(bytes[start + offset] | 0x20) << UInt64(8 * offset)
            }
        }
    }

    /// Folds to comparisons with constants when `name` is a literal in lower case.
    @inline(__always)
    func `is`(_ name: StaticString) -> Bool {
        // A static string lives for ever and is `utf8CodeUnitCount` bytes long.
        let text = unsafe UnsafeRawPointer(name.utf8Start)
        let length = name.utf8CodeUnitCount
        guard length == count else { return false }
        if length >= 8 {
            guard unsafe first == text.loadUnaligned(as: UInt64.self),
                unsafe last == text.loadUnaligned(fromByteOffset: length - 8, as: UInt64.self)
            else { return false }
            if length > 16 {
                let word = unsafe text.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                guard second == word else { return false }
            }
            if length > 24 {
                let word = unsafe text.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
                guard third == word else { return false }
            }
            return true
        }
        if length >= 4 {
            let low = unsafe UInt64(text.loadUnaligned(as: UInt32.self))
            let high = unsafe UInt64(
                text.loadUnaligned(fromByteOffset: length - 4, as: UInt32.self))
            return first == low | high << 32
        }
        var word: UInt64 = 0
        for offset in 0..<length {
            let byte = unsafe text.load(fromByteOffset: offset, as: UInt8.self)
            word |= UInt64(byte) << UInt64(8 * offset)
        }
        return first == word
    }

    /// True if the name starts with `x-forwarded-`; `count` is above 12.
    var startsWithForwardedPrefix: Bool {
        // "x-forwar" as a little-endian word, then "ded-".
        guard first == 0x7261_7772_6f66_2d78 else { return false }
        let rest = count > 16 ? second : last >> UInt64(8 * (16 - count))
        return rest & 0xFFFF_FFFF == 0x2d64_6564
    }

    // Both loads are bounds-checked by RawSpan, and any bit pattern is an integer.
    @inline(__always)
    private static func load8(_ raw: RawSpan, _ offset: Int) -> UInt64 {
        unsafe raw.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
            | 0x2020_2020_2020_2020
    }

    @inline(__always)
    private static func load4(_ raw: RawSpan, _ offset: Int) -> UInt64 {
        UInt64(
            unsafe raw.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self) | 0x2020_2020)
    }
}
