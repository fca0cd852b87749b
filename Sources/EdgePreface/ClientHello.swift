/// The first message of a TLS client, as far as it decides where a connection goes: the server's
/// name, the protocols, the versions. Read from the connection's first bytes, from which it takes
/// nothing away: whoever serves the connection reads them again.
///
/// About 600 bytes, for one hello at a time. While a hello arrives, a connection need only keep its
/// `progress`; who shares one value between connections puts that in and takes it out again.
package struct ClientHello: Sendable {
    /// How far the hello's bytes have been looked at.
    package struct Progress: Equatable, BitwiseCopyable, Sendable {
        /// The next byte; all before it are in order.
        var position: Int32 = 0
        /// Bytes of the current record at and behind `position`; 0: a record begins there.
        var recordLeft: Int32 = 0
        /// Bytes of the handshake message before `position`, its header included.
        var messageCount: Int32 = 0
        /// Bytes that the message's header announces behind it; all of them are known once
        /// `messageCount` is 4.
        var bodyByteCount: Int32 = 0

        package init() {}
    }

    /// Bytes of the handshake message with its header. OpenSSL takes 128 KiB; a hello with
    /// post-quantum keys has about 2.
    package static let messageByteCountMax = 16 << 10
    /// Bytes of the message and of the headers of the records that it comes in. A message in
    /// records of one byte can have 3,413.
    package static let byteCountMax = 20 << 10

    package var progress = Progress()
    /// Bytes from the connection's first to the message's last; 0 before it is complete.
    package private(set) var byteCount = 0
    /// The client can speak TLS 1.3 (supported_versions, RFC 8446 §4.2.1).
    package private(set) var supportsTLS13 = false
    /// There is an encrypted_client_hello (draft-ietf-tls-esni), real or made up: they look the
    /// same, and we have no key for either. What this hello says, the outer one, is what counts.
    package private(set) var hasECH = false

    private var name = InlineArray<255, UInt8>(repeating: 0)
    private var nameCount = 0
    /// As in the hello: names, a length before each.
    private var protocols = InlineArray<256, UInt8>(repeating: 0)
    private var protocolsCount = 0

    package init() {}

    /// Reads the beginning of a connection. All else that `hello` says is meaningful only if the
    /// outcome is `complete`.
    ///
    /// To be called again with the same bytes and more of them while it says `incomplete`. No byte
    /// is looked at more than once while they arrive, and once when the message is complete: the
    /// cost is the bytes that are new, however many calls there are. No allocation.
    ///
    /// - Parameters:
    ///   - bytes: from the first byte of the connection (or behind its PROXY header) on; may reach
    ///     beyond the hello.
    ///   - hello: its `progress` is that of the last call for this connection.
    package static func read(
        _ bytes: Span<UInt8>, into hello: inout ClientHello
    ) -> ClientHelloOutcome {
        var progress = hello.progress
        do throws(ClientHelloViolation) {
            guard try progress.advance(over: bytes) else {
                hello.progress = progress
                return .incomplete
            }
            hello.clear()
            try hello.parse(bytes, messageByteCount: Int(progress.messageCount))
            hello.byteCount = Int(progress.position)
            return .complete
        } catch {
            hello.clear()
            return .malformed(error)
        }
    }

    /// Forgets everything but the progress.
    private mutating func clear() {
        byteCount = 0
        supportsTLS13 = false
        hasECH = false
        nameCount = 0
        protocolsCount = 0
    }

    // MARK: - What it says

    /// The client named a server (RFC 6066 §3).
    package var hasServerName: Bool { nameCount > 0 }

    /// The server that the client named: 1 to 255 bytes, in lower case, without a trailing dot;
    /// letters, digits, `-`, `_` and single dots. An IPv4 address, which clients should not send,
    /// is a name like any other: one that nobody has. Empty if there is none.
    package var serverName: Span<UInt8> {
        @_lifetime(borrow self) get { name.span.extracting(0..<nameCount) }
    }

    /// Whether the client offers a protocol (ALPN, RFC 7301), such as `h2` or `acme-tls/1`. Of
    /// lists over 256 bytes, only the names that fit are known. Cost: the list's length.
    package func offers(_ name: Span<UInt8>) -> Bool {
        var position = 0
        while position < protocolsCount {
            let start = position + 1
            let count = Int(protocols[position])
            position = start + count
            guard count == name.count else { continue }
            var index = 0
            while index < count, protocols[start + index] == name[index] { index += 1 }
            if index == count { return true }
        }
        return false
    }
}

/// What the beginning of a connection is as a ClientHello.
package enum ClientHelloOutcome: Equatable, Sendable {
    /// Right so far; more bytes are needed.
    case incomplete
    case complete
    /// The connection is to be closed, with the violation's alert if it has one.
    case malformed(ClientHelloViolation)
}

// MARK: - Contents

extension ClientHello {
    /// Types of extensions that are looked into (the registry of RFC 8447).
    private enum ExtensionType {
        static let serverName: UInt16 = 0
        static let protocols: UInt16 = 16
        static let supportedVersions: UInt16 = 43
        static let encryptedHello: UInt16 = 0xFE0D
    }

    /// The message as RFC 8446 §4.1.2 has it, which hellos of earlier versions are too. What is
    /// unknown, GREASE (RFC 8701) included, is skipped.
    private mutating func parse(
        _ bytes: Span<UInt8>, messageByteCount: Int
    ) throws(ClientHelloViolation) {
        var cursor = HelloCursor(messageByteCount: messageByteCount)
        try cursor.skip(bytes, Progress.headerByteCount)
        // Later versions than we know must be taken (RFC 5246 appendix E.1).
        guard try cursor.number(bytes) >= 0x0300 else { throw .unsupportedVersion }
        try cursor.skip(bytes, 32)
        let sessionID = Int(try cursor.byte(bytes))
        guard sessionID <= 32 else { throw .badLength }
        try cursor.skip(bytes, sessionID)
        let suites = Int(try cursor.number(bytes))
        guard suites >= 2, suites.isMultiple(of: 2) else { throw .badLength }
        try cursor.skip(bytes, suites)
        let compressions = Int(try cursor.byte(bytes))
        guard compressions >= 1 else { throw .badLength }
        try cursor.skip(bytes, compressions)
        // Before TLS 1.3, extensions may be missing altogether.
        guard cursor.left > 0 else { return }
        guard Int(try cursor.number(bytes)) == cursor.left else { throw .badLength }
        var seen = ExtensionSet()
        while cursor.left > 0 {
            let type = try cursor.number(bytes)
            let outer = try cursor.enter(Int(try cursor.number(bytes)))
            // RFC 8446 §4.2: no two of the same type.
            guard seen.insert(type) else { throw .duplicateExtension }
            switch type {
            case ExtensionType.serverName: try readServerName(bytes, &cursor)
            case ExtensionType.protocols: try readProtocols(bytes, &cursor)
            case ExtensionType.supportedVersions: try readVersions(bytes, &cursor)
            case ExtensionType.encryptedHello: hasECH = true
            default: break
            }
            try cursor.leave(bytes, outer)
        }
    }

    /// RFC 6066 §3: a list with one name of each type, of which there is one type. As strict as
    /// `TLSEngine`: what no host can be called is refused, not ignored.
    private mutating func readServerName(
        _ bytes: Span<UInt8>, _ cursor: inout HelloCursor
    ) throws(ClientHelloViolation) {
        guard Int(try cursor.number(bytes)) == cursor.left, try cursor.byte(bytes) == 0,
            Int(try cursor.number(bytes)) == cursor.left, (1...255).contains(cursor.left)
        else { throw .badServerName }
        let dot = UInt8(ascii: ".")
        var last = dot
        while cursor.left > 0 {
            var byte = try cursor.byte(bytes)
            switch byte {
            case dot: guard last != dot else { throw .badServerName }
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte |= 0x20
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"):
                break
            default: throw .badServerName
            }
            name[nameCount] = byte
            nameCount += 1
            last = byte
        }
        if last == dot { nameCount -= 1 }
    }

    /// RFC 7301 §3.1: a list of names, neither it nor any of them empty.
    private mutating func readProtocols(
        _ bytes: Span<UInt8>, _ cursor: inout HelloCursor
    ) throws(ClientHelloViolation) {
        guard Int(try cursor.number(bytes)) == cursor.left, cursor.left > 0 else {
            throw .badProtocols
        }
        while cursor.left > 0 {
            let count = try cursor.byte(bytes)
            guard count > 0, count <= cursor.left else { throw .badProtocols }
            guard protocolsCount + Int(count) < protocols.count else {
                try cursor.skip(bytes, Int(count))
                continue
            }
            protocols[protocolsCount] = count
            for offset in 1...Int(count) {
                protocols[protocolsCount + offset] = try cursor.byte(bytes)
            }
            protocolsCount += 1 + Int(count)
        }
    }

    /// RFC 8446 §4.2.1.
    private mutating func readVersions(
        _ bytes: Span<UInt8>, _ cursor: inout HelloCursor
    ) throws(ClientHelloViolation) {
        guard Int(try cursor.byte(bytes)) == cursor.left, cursor.left > 0,
            cursor.left.isMultiple(of: 2)
        else { throw .badLength }
        while cursor.left > 0 {
            if try cursor.number(bytes) == 0x0304 { supportsTLS13 = true }
        }
    }
}

/// Which types of extensions there were. A bit for each that could be: a hello of 16 KiB can have
/// 4,000 of them, and comparing each with each is what an attacker would like.
private struct ExtensionSet {
    private var bits = InlineArray<1024, UInt64>(repeating: 0)

    /// - Returns: false if it was there before.
    mutating func insert(_ type: UInt16) -> Bool {
        let bit = UInt64(1) << UInt64(type & 63)
        let word = Int(type >> 6)
        guard bits[word] & bit == 0 else { return false }
        bits[word] |= bit
        return true
    }
}
