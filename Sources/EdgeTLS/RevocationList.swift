internal import CEdge

/// Lists of revoked certificates (RFC 5280 §5). One that should have been replaced is still
/// believed: who it names stays revoked, and an authority that is late shuts nobody out. So is one
/// that is not valid yet: its authority's clock is ahead of ours, or ours has not been set.
enum RevocationList {
    private static let countMax = 256

    /// The caller owns them.
    ///
    /// - Throws: the first one that is damaged, or that there are too many.
    static func parse(_ pem: [UInt8]) throws(PEMFile.Damage) -> [OpaquePointer] {
        try PEMFile.parseAll(
            pem, "list", upTo: countMax,
            read: { PEM_read_bio_X509_CRL($0, nil, nil, nil) }, free: { X509_CRL_free($0) })
    }

    /// Makes a store look at them: a certificate whose issuer has no list there is refused.
    /// Authorities are looked for in the lists of those above them that have any.
    static func install(_ pem: [UInt8], in store: OpaquePointer) throws(TLSFailure) {
        let lists: [OpaquePointer]
        do throws(PEMFile.Damage) {
            lists = try parse(pem)
        } catch {
            throw .library(call: "PEM_read_bio_X509_CRL", reason: error.text)
        }
        defer { for list in lists { X509_CRL_free(list) } }
        for list in lists {
            guard X509_STORE_add_crl(store, list) == 1 else {
                throw .library("X509_STORE_add_crl")
            }
        }
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL))
        X509_STORE_set_verify_cb(store) { isGood, context in
            guard isGood == 0, let context else { return isGood }
            switch X509_STORE_CTX_get_error(context) {
            case X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID: break
            case X509_V_ERR_UNABLE_TO_GET_CRL:
                guard X509_STORE_CTX_get_error_depth(context) > 0 else { return isGood }
            default: return isGood
            }
            X509_STORE_CTX_set_error(context, X509_V_OK)
            return 1
        }
    }

    /// From when on it is valid, in seconds since 1970.
    static func start(of list: OpaquePointer) -> Int64? {
        X509_CRL_get0_lastUpdate(list).flatMap(seconds)
    }

    /// When it should have been replaced, in seconds since 1970.
    static func end(of list: OpaquePointer) -> Int64? {
        X509_CRL_get0_nextUpdate(list).flatMap(seconds)
    }

    private static func seconds(_ moment: UnsafePointer<ASN1_TIME>) -> Int64? {
        guard let epoch = ASN1_TIME_set(nil, 0) else { return nil }
        defer { ASN1_STRING_free(epoch) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, epoch, moment) == 1 else { return nil }
        return Int64(days) * 86_400 + Int64(seconds)
    }
}
