import EdgeTesting
import Testing

@testable import EdgeX509

@Suite("PEM") struct PEMTests {
    private static func blocks(_ text: String) throws(X509Violation) -> [(String, [UInt8])] {
        let text = Array(text.utf8)
        var reader = PEMReader()
        var found: [(String, [UInt8])] = []
        while let block = try reader.next(text.span) {
            var bytes: [UInt8] = []
            try block.decode(text.span, into: &bytes)
            found.append((String(decoding: text[block.label], as: UTF8.self), bytes))
        }
        return found
    }

    private static func block(_ body: String, _ label: String = "X") -> String {
        "-----BEGIN \(label)-----\n\(body)\n-----END \(label)-----\n"
    }

    @Test("Blocks are found between other text, with any line ends")
    func found() throws {
        let text =
            "subject=/CN=x\n" + Self.block("AAEC", "A") + "\r\n words\r\n"
            + "-----BEGIN B C-----\r\nAwQF\r\nBg==\r\n-----END B C-----  \r\nrest"

        let found = try Self.blocks(text)

        #expect(found.map(\.0) == ["A", "B C"])
        #expect(found.map(\.1) == [[0, 1, 2], [3, 4, 5, 6]])
    }

    @Test("Every length is decoded, in lines of any length")
    func lengths() throws {
        for count in 0..<70 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            for width in [1, 3, 4, 64, 76] {
                let text = Self.base64(bytes)
                var lines = ""
                for (index, letter) in text.enumerated() {
                    if index > 0, index % width == 0 { lines += "\n" }
                    lines.append(letter)
                }
                #expect(try Self.blocks(Self.block(lines)).first?.1 == bytes)
            }
        }
    }

    private static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var word = 0
            for offset in 0..<3 {
                word = word << 8 | Int(group.count > offset ? group[start + offset] : 0)
            }
            for digit in 0..<4 {
                text.append(
                    digit <= group.count ? alphabet[(word >> (18 - 6 * digit)) & 63] : "=")
            }
        }
        return text
    }

    @Test(
        "What is not base64 is refused",
        arguments: [
            "A", "AA", "AAA", "AA=", "A===", "AAAA=", "AA==AAAA", "AA=A", "AA*A", "====",
            "AAAA-", "ÄAAA", "AAAA\0",
        ])
    func notBase64(body: String) {
        #expect(throws: X509Violation.notBase64) { try Self.blocks(Self.block(body)) }
    }

    @Test("Headers mean a password")
    func headers() {
        let body = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA"
        #expect(throws: X509Violation.encrypted) { try Self.blocks(Self.block(body)) }
    }

    @Test(
        "A block without its own end is refused",
        arguments: [
            "-----BEGIN A-----\nAAAA\n", "-----BEGIN A-----\nAAAA\n-----END B-----\n",
            "-----BEGIN A-----\nAAAA\n-----END A----", "-----BEGIN A-----\n-----BEGIN A-----\n",
            "-----BEGIN A-----",
        ])
    func open(text: String) {
        #expect(throws: X509Violation.openBlock) { try Self.blocks(text) }
    }

    @Test("Cut or damaged text is refused or read, never a trap")
    func mutated() throws {
        let text = Array(try Sample.mint.get().intermediate().leaf("a.example").bundlePEM.utf8)
        var whole = 0
        for count in 0..<text.count {
            let part = String(decoding: text.prefix(count), as: UTF8.self)
            if let found = try? Self.blocks(part), found.count == 3 { whole += 1 }
        }
        // Without the line feed at the end it is still whole.
        #expect(whole == 1)
        for seed in 0..<5_000 {
            var random = SeededRandom(seed: UInt64(seed))
            var damaged = text
            damaged[Int(random.next() % UInt64(text.count))] =
                UInt8(truncatingIfNeeded: random.next())
            _ = try? Self.blocks(String(decoding: damaged, as: UTF8.self))
        }
    }

    @Test("Labels say what a block holds")
    func kinds() throws {
        let expected: [(String, PEMReader.Block.Kind)] = [
            ("CERTIFICATE", .certificate), ("X509 CERTIFICATE", .certificate),
            ("TRUSTED CERTIFICATE", .certificate), ("PRIVATE KEY", .privateKey(.pkcs8)),
            ("EC PRIVATE KEY", .privateKey(.sec1)), ("RSA PRIVATE KEY", .privateKey(.pkcs1)),
            ("ENCRYPTED PRIVATE KEY", .encryptedKey), ("EC PARAMETERS", .other),
            ("CERTIFICATE REQUEST", .other),
        ]
        for (label, kind) in expected {
            let text = Array(Self.block("AAAA", label).utf8)
            var reader = PEMReader()
            let block = try #require(try reader.next(text.span))
            let found = block.kind(text.span)
            #expect(found == kind, "\(label)")
        }
    }
}
