internal import EdgeX509

/// The certificates and keys of a PEM text, decoded, with the lines that they begin at.
struct CertificateText {
    struct Part {
        var bytes: [UInt8]
        let line: Int
    }

    private(set) var certificates: [Part] = []
    private(set) var keys: [(part: Part, form: PrivateKeyOutline.Form)] = []
    /// The line of a key under a password, which is not decoded.
    private(set) var encryptedKeyLine: Int?

    private static let certificatesMax = 16
    private static let keysMax = 4

    /// What is wrong with a block.
    struct Damage: Error {
        let line: Int
        /// `certificate 2`, `private key`.
        let what: String
        let violation: X509Violation
    }

    var hasKey: Bool { !keys.isEmpty || encryptedKeyLine != nil }

    /// - Parameter wantsKeys: false: keys are passed over.
    init(_ text: Span<UInt8>, wantsKeys: Bool = true) throws(Damage) {
        var reader = PEMReader()
        var what = "block"
        do throws(X509Violation) {
            while let block = try reader.next(text) {
                switch block.kind(text) {
                case .certificate:
                    what = "certificate \(certificates.count + 1)"
                    guard certificates.count < Self.certificatesMax else { continue }
                    var bytes: [UInt8] = []
                    try block.decode(text, into: &bytes)
                    certificates.append(Part(bytes: bytes, line: line(reader, text)))
                case .privateKey(let form):
                    what = "private key"
                    guard wantsKeys, keys.count < Self.keysMax else { continue }
                    var bytes: [UInt8] = []
                    do throws(X509Violation) {
                        try block.decode(text, into: &bytes)
                    } catch .encrypted {
                        encryptedKeyLine = line(reader, text)
                        continue
                    }
                    keys.append((Part(bytes: bytes, line: line(reader, text)), form))
                case .encryptedKey: encryptedKeyLine = line(reader, text)
                case .other: what = "block"
                }
                what = "block"
            }
        } catch {
            if error == .openBlock { what = "the last block" }
            throw Damage(line: line(reader, text), what: what, violation: error)
        }
    }

    private func line(_ reader: PEMReader, _ text: Span<UInt8>) -> Int {
        PEMReader.line(of: reader.blockStart, in: text)
    }
}
