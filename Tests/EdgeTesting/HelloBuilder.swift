/// A ClientHello field by field, well-formed unless it is told otherwise.
package struct HelloBuilder {
    package typealias Extension = (type: UInt16, contents: [UInt8])

    package var version: UInt16 = 0x0303
    package var sessionID = [UInt8](repeating: 0x5E, count: 32)
    package var suites: [UInt16] = [0x1301, 0x1302, 0xC02F]
    package var compressions: [UInt8] = [0]
    /// nil: the hello ends without them.
    package var extensions: [Extension]? = [
        serverName("www.home.example"), versions(0x0304, 0x0303), protocols("h2", "http/1.1"),
    ]

    /// The handshake message with its header.
    package var message: [UInt8] {
        var body = Self.number(version) + [UInt8](repeating: 0xAA, count: 32)
        body += [UInt8(sessionID.count)] + sessionID
        body += Self.block(suites.flatMap(Self.number))
        body += [UInt8(compressions.count)] + compressions
        if let extensions {
            body += Self.block(
                extensions.flatMap { Self.number($0.type) + Self.block($0.contents) })
        }
        return [1, UInt8(body.count >> 16), UInt8(body.count >> 8 & 255), UInt8(body.count & 255)]
            + body
    }

    /// As clients send it: in one record.
    package var bytes: [UInt8] { Self.records(message, of: 1 << 14) }

    /// A message in records of at most `size` bytes each.
    package static func records(_ message: [UInt8], of size: Int) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap { start in
            [22, 3, 1] + block(Array(message[start..<min(start + size, message.count)]))
        }
    }

    package init() {}

    // MARK: - Extensions

    package static func serverName(_ name: String) -> Extension {
        (0, block([0] + block(Array(name.utf8))))
    }

    package static func protocols(_ names: String...) -> Extension {
        (16, block(names.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }))
    }

    package static func versions(_ versions: UInt16...) -> Extension {
        (43, [UInt8(2 * versions.count)] + versions.flatMap(number))
    }

    package static func number(_ number: UInt16) -> [UInt8] {
        [UInt8(number >> 8), UInt8(number & 255)]
    }

    /// With its length in two bytes.
    package static func block(_ bytes: [UInt8]) -> [UInt8] { number(UInt16(bytes.count)) + bytes }

    /// What a browser of these years sends: GREASE wherever it may be (RFC 8701), a key share of
    /// X25519MLKEM768 (1,184 and 32 bytes) with one of X25519, and an encrypted hello.
    package static func browser(_ name: String) -> HelloBuilder {
        var hello = HelloBuilder()
        hello.suites = [0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030]
        let share =
            number(0x5A5A) + block([0]) + number(0x11EC)
            + block([UInt8](repeating: 0x7E, count: 1216))
            + number(0x001D) + block([UInt8](repeating: 0x25, count: 32))
        hello.extensions = [
            (0x3A3A, []), (23, []), (65281, [0]), (0x0033, block(share)),
            (0x000A, block([0x5A5A, 0x11EC, 0x001D, 0x0017].flatMap(number))), (35, []),
            (0x44CD, [0, 3, 2] + Array("h2".utf8)), (5, [1, 0, 0, 0, 0]), (18, []),
            (13, block([4, 3, 8, 4, 4, 1, 5, 3])), versions(0x7A7A, 0x0304, 0x0303),
            serverName(name), (45, [1, 1]), (11, [1, 0]), (27, [2, 0, 2]),
            (
                0xFE0D,
                [0, 0, 1, 0, 1, 0x42] + block([UInt8](repeating: 3, count: 32))
                    + block([UInt8](repeating: 9, count: 208))
            ),
            protocols("h2", "http/1.1"), (0xBABA, [0]),
        ]
        return hello
    }
}
