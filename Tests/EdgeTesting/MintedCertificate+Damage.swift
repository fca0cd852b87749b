internal import Foundation

extension MintedCertificate {
    /// This P-256 certificate and its key as one text, both with a public point that lies on no
    /// curve: the two agree byte for byte, and OpenSSL can use neither.
    package func offCurve() throws -> String {
        try Self.damaged(certificatePEM, "CERTIFICATE") + Self.damaged(keyPEM, "PRIVATE KEY")
    }

    private static func damaged(_ pem: String, _ label: String) throws -> String {
        let body = pem.split(separator: "\n").filter { !$0.hasPrefix("-") }.joined()
        guard var bytes = Data(base64Encoded: body).map({ Array($0) }) else {
            throw KitError("not PEM")
        }
        // A BIT STRING of 66 bytes, all of whose bits count, with an uncompressed point.
        let mark: [UInt8] = [0x03, 0x42, 0x00, 0x04]
        let place = (0..<bytes.count - 67).first { bytes[$0..<$0 + 4].elementsEqual(mark) }
        guard let place else { throw KitError("no point in a \(label)") }
        bytes[place + 67] ^= 1
        let text = Data(bytes).base64EncodedString(options: .lineLength64Characters)
        return "-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----\n"
    }
}
