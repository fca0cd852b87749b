internal import EdgeX509

/// Which of the certificates of a file are sent behind the leaf, and in which order: each certifies
/// the one before it (RFC 5246 §7.4.2). Copies are left out; what belongs to no place, such as a
/// cross-signed issuer, comes last.
enum ChainOrder {
    /// - Parameters:
    ///   - outlines: of `certificates`, in the same order.
    ///   - leaf: the index of the one that is served.
    /// - Returns: indices; nil if there are others, and none of them has issued the leaf.
    static func order(
        _ certificates: [[UInt8]], _ outlines: [CertificateOutline], leaf: Int
    ) -> [Int]? {
        var rest: [Int] = []
        for index in certificates.indices
        where certificates[index] != certificates[leaf]
            && !rest.contains(where: { certificates[$0] == certificates[index] })
        {
            rest.append(index)
        }
        var chain: [Int] = []
        var last = leaf
        while let next = rest.firstIndex(where: {
            isIssuer($0, of: last, certificates, outlines)
        }) {
            last = rest.remove(at: next)
            chain.append(last)
        }
        let isSelfIssued = isIssuer(leaf, of: leaf, certificates, outlines)
        guard !chain.isEmpty || rest.isEmpty || isSelfIssued else { return nil }
        return chain + rest
    }

    /// Whether the name of the one is the issuer that the other says.
    static func isIssuer(
        _ issuer: Int, of certificate: Int, _ certificates: [[UInt8]],
        _ outlines: [CertificateOutline]
    ) -> Bool {
        certificates[issuer][outlines[issuer].subject].elementsEqual(
            certificates[certificate][outlines[certificate].issuer])
    }
}
