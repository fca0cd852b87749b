internal import CEdge

/// The server name of a ClientHello (RFC 6066 §3). OpenSSL refuses broken lists, NUL and names over
/// 255 bytes; what no host can be called is left to us.
extension TLSEngine {
    /// True if the client named something that is no host name: the handshake must not go on with
    /// the default certificate, as if nothing had been named. An address, which clients should not
    /// send, is a name that nobody has.
    static func hasMalformedName(_ session: OpaquePointer) -> Bool {
        guard let name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else {
            return false
        }
        var last = UInt8(ascii: ".")
        var position = 0
        // OpenSSL ends the name with a NUL.
        while case let byte = UInt8(bitPattern: name[position]), byte != 0 {
            switch byte {
            case UInt8(ascii: "."): if last == UInt8(ascii: ".") { return true }
            case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
                break
            default: return true
            }
            last = byte
            position += 1
        }
        return position == 0
    }
}
