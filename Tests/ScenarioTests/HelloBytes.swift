/// A ClientHello made byte by byte, well-formed or not (RFC 5246 §7.4.1.2, RFC 8446 §4.1.2).
struct HelloBytes {
    var version: UInt16 = 0x0303
    var suites: [UInt16] = [0x1301, 0xC02B, 0xC02F]
    var compressions: [UInt8] = [0]
    /// Type and content, in order.
    var extensions: [(UInt16, [UInt8])] = [
        (10, [0, 4, 0, 0x1D, 0, 0x17]),
        (13, [0, 8, 4, 3, 8, 4, 4, 1, 5, 1]),
        (43, [4, 3, 4, 3, 3]),
        (51, [0, 36, 0, 0x1D, 0, 32] + (1...32).map { UInt8($0) }),
        (11, [1, 0]),
    ]

    /// An offer of TLS 1.2 only.
    static var old: HelloBytes {
        var hello = HelloBytes()
        hello.extensions.removeAll { $0.0 == 43 || $0.0 == 51 }
        return hello
    }

    func with(_ type: UInt16, _ content: [UInt8]) -> HelloBytes {
        var copy = self
        copy.extensions.insert((type, content), at: 0)
        return copy
    }

    func with(name: String) -> HelloBytes { with(0, Self.serverName(Array(name.utf8))) }

    static func serverName(_ name: [UInt8], type: UInt8 = 0) -> [UInt8] {
        pair(name.count + 3) + [type] + pair(name.count) + name
    }

    /// The handshake message.
    var message: [UInt8] {
        var body = Self.pair(Int(version)) + (0..<32).map { UInt8($0) } + [0]
        body += Self.pair(suites.count * 2) + suites.flatMap { Self.pair(Int($0)) }
        body += [UInt8(compressions.count)] + compressions
        let block = extensions.flatMap {
            Self.pair(Int($0.0)) + Self.pair($0.1.count) + $0.1
        }
        if !extensions.isEmpty { body += Self.pair(block.count) + block }
        return [1, UInt8(body.count >> 16)] + Self.pair(body.count & 0xFFFF) + body
    }

    /// In records that hold at most `piece` bytes.
    func records(_ piece: Int = 16_384) -> [UInt8] { Self.records(message, piece) }

    static func records(_ message: [UInt8], _ piece: Int = 16_384) -> [UInt8] {
        stride(from: 0, to: message.count, by: piece).flatMap { start -> [UInt8] in
            let part = message[start..<min(start + piece, message.count)]
            return [22, 3, 1] + pair(part.count) + part
        }
    }

    private static func pair(_ number: Int) -> [UInt8] {
        [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
    }
}

/// What a server said first.
struct HelloReply: Equatable {
    /// The description of a fatal alert.
    var alert: UInt8?
    /// Types of the extensions in a ServerHello; nil: there was none.
    var serverHello: Set<UInt16>?
    var compression: UInt8?
    var suite: UInt16?

    init(_ bytes: [UInt8]) {
        var position = 0
        while position + 5 <= bytes.count {
            let end = position + 5 + (Int(bytes[position + 3]) << 8 | Int(bytes[position + 4]))
            guard end <= bytes.count else { return }
            let content = Array(bytes[position + 5..<end])
            if bytes[position] == 21, content.count == 2 { alert = alert ?? content[1] }
            if bytes[position] == 22, content.first == 2, serverHello == nil {
                readServerHello(content)
            }
            position = end
        }
    }

    private mutating func readServerHello(_ content: [UInt8]) {
        // Type and length 4, version 2, random 32, session ID.
        var position = 38
        guard position < content.count else { return }
        position += 1 + Int(content[position])
        guard position + 3 <= content.count else { return }
        suite = UInt16(content[position]) << 8 | UInt16(content[position + 1])
        compression = content[position + 2]
        position += 5
        var types: Set<UInt16> = []
        while position + 4 <= content.count {
            types.insert(UInt16(content[position]) << 8 | UInt16(content[position + 1]))
            position += 4 + (Int(content[position + 2]) << 8 | Int(content[position + 3]))
        }
        serverHello = types
    }
}
