internal import CEdge

/// Lists of revoked certificates (RFC 5280 §5). One that should have been replaced is still
/// believed: who it names stays revoked, and an authority that is late shuts nobody out.
enum RevocationList {
    private static let countMax = 256

    /// The caller owns them.
    static func parse(_ pem: [UInt8]) -> [OpaquePointer] {
        guard let bio = BIO_new_mem_buf(pem, Int32(pem.count)) else { return [] }
        defer { BIO_free(bio) }
        var result: [OpaquePointer] = []
        while result.count < countMax, let list = PEM_read_bio_X509_CRL(bio, nil, nil, nil) {
            result.append(list)
        }
        return result
    }

    /// Makes a store look at them: a certificate whose issuer has no list there is refused.
    static func install(_ pem: [UInt8], in store: OpaquePointer) throws(TLSFailure) {
        for list in parse(pem) {
            defer { X509_CRL_free(list) }
            guard X509_STORE_add_crl(store, list) == 1 else {
                throw .library("X509_STORE_add_crl")
            }
        }
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK))
        X509_STORE_set_verify_cb(store) { isGood, context in
            guard isGood == 0, let context,
                X509_STORE_CTX_get_error(context) == X509_V_ERR_CRL_HAS_EXPIRED
            else { return isGood }
            X509_STORE_CTX_set_error(context, X509_V_OK)
            return 1
        }
    }

    /// When it should have been replaced, in seconds since 1970.
    static func end(of list: OpaquePointer) -> Int64? {
        guard let next = X509_CRL_get0_nextUpdate(list),
            let epoch = ASN1_TIME_set(nil, 0)
        else { return nil }
        defer { ASN1_STRING_free(epoch) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, epoch, next) == 1 else { return nil }
        return Int64(days) * 86_400 + Int64(seconds)
    }
}
