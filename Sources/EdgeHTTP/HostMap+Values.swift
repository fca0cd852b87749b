/// What of a field's value names a host, and how it reads on the other side. Values that are not
/// exactly what they should be stay as they are, as does everything that the map has no name for.
extension HostMap {
    /// A name in a value, to be replaced.
    package struct Change: BitwiseCopyable {
        /// What is replaced: a host, perhaps with a port that goes without saying.
        fileprivate var replaced: ByteRange
        fileprivate var name: Name
    }

    /// Which side a head goes to.
    package enum Direction: Sendable {
        /// A request: external names become internal ones.
        case inward
        /// An answer.
        case outward
    }

    /// Fields whose values name hosts: bits by `FieldName`.
    package static func names(_ direction: Direction) -> UInt64 {
        switch direction {
        case .inward: bit(.origin) | bit(.referer) | bit(.xForwardedHost)
        case .outward:
            bit(.location) | bit(.contentLocation) | bit(.refresh) | bit(.setCookie)
                | bit(.accessControlAllowOrigin)
        }
    }

    @inline(__always)
    private static func bit(_ name: FieldName) -> UInt64 { 1 << UInt64(name.rawValue) }

    /// What is to be replaced in the value of one of the fields `names`; nil: nothing.
    package func change(
        _ field: FieldName, _ value: ByteRange, in bytes: Span<UInt8>, _ direction: Direction
    ) -> Change? {
        let value = value.indices
        switch field {
        case .setCookie: return cookieChange(value, bytes)
        case .refresh:
            guard let url = Self.refreshedURL(value, bytes) else { return nil }
            return urlChange(url, bytes, direction)
        case .xForwardedHost:
            // Whoever reads one of several takes the first.
            var end = value.lowerBound
            while end < value.upperBound, bytes[end] != UInt8(ascii: ",") { end += 1 }
            while end > value.lowerBound, Self.isBlank(bytes[end - 1]) { end -= 1 }
            return authorityChange(value.lowerBound..<end, bytes, direction, defaultPort: nil)
        default: return urlChange(value, bytes, direction)
        }
    }

    /// Writes a value with what was found in it changed. At most `growthMax` bytes longer.
    package func write(
        _ value: ByteRange, from bytes: Span<UInt8>, _ change: Change,
        into output: inout ByteWriter
    ) {
        let replaced = change.replaced.indices
        output.append(bytes, Int(value.start)..<replaced.lowerBound)
        write(change.name, of: bytes.extracting(replaced), into: &output)
        output.append(bytes, replaced.upperBound..<value.end)
    }

    /// Writes the authority of a request with its host's other name.
    ///
    /// - Parameter defaultPort: is left out.
    /// - Returns: false if it has none: nothing has been written.
    package func writeAuthority(
        of head: borrowing RequestHead, from bytes: Span<UInt8>, defaultPort: UInt16,
        into output: inout ByteWriter
    ) -> Bool {
        let host = bytes.extracting(head.host.indices)
        guard let name = internalName(of: host) else { return false }
        write(name, of: host, into: &output)
        if let port = head.port, port != defaultPort {
            output.append(UInt8(ascii: ":"))
            output.append(decimal: UInt64(port))
        }
        return true
    }

    // MARK: - URLs

    /// Of `scheme://host[:port]…` and `//host[:port]…`. Schemes are those that we serve.
    private func urlChange(
        _ url: Range<Int>, _ bytes: Span<UInt8>, _ direction: Direction
    ) -> Change? {
        guard let (start, defaultPort) = Self.startOfAuthority(url, bytes) else { return nil }
        var end = start
        while end < url.upperBound, !Self.endsAuthority(bytes[end]) { end += 1 }
        return authorityChange(start..<end, bytes, direction, defaultPort: defaultPort)
    }

    /// What is no `host[:port]` is not found: names of the map are well-formed, and so have to be
    /// the labels and ports beside them.
    private func authorityChange(
        _ range: Range<Int>, _ bytes: Span<UInt8>, _ direction: Direction, defaultPort: UInt16?
    ) -> Change? {
        var colon = range.lowerBound
        while colon < range.upperBound, bytes[colon] != UInt8(ascii: ":") { colon += 1 }
        let host = bytes.extracting(range.lowerBound..<colon)
        let found = direction == .inward ? internalName(of: host) : externalName(of: host)
        guard let found, Self.isLabel(host, found) else { return nil }
        var end = colon
        if colon < range.upperBound {
            let digits = colon + 1..<range.upperBound
            guard let port = Self.port(digits, bytes) else { return nil }
            // One that goes without saying goes.
            if digits.isEmpty || port == defaultPort { end = range.upperBound }
        }
        return Change(replaced: ByteRange(range.lowerBound..<end), name: found)
    }

    /// Whether what is kept of a name can stand in one.
    private static func isLabel(_ host: Span<UInt8>, _ name: Name) -> Bool {
        for index in 0..<Int(name.keptCount) where !Authority.isNameByte(host[index]) {
            return false
        }
        return true
    }

    /// 0 without digits; nil for what is no port.
    private static func port(_ range: Range<Int>, _ bytes: Span<UInt8>) -> UInt16? {
        guard range.count <= 5 else { return nil }
        var number: UInt32 = 0
        for index in range {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            number = number * 10 + UInt32(digit)
        }
        guard number <= 65535, number > 0 || range.isEmpty else { return nil }
        return UInt16(truncatingIfNeeded: number)
    }

    private static func startOfAuthority(
        _ url: Range<Int>, _ bytes: Span<UInt8>
    ) -> (start: Int, defaultPort: UInt16?)? {
        var start = url.lowerBound
        var defaultPort: UInt16?
        if isAt(start, url.upperBound, "https:", bytes)
            || isAt(start, url.upperBound, "wss:", bytes)
        {
            defaultPort = 443
        } else if isAt(start, url.upperBound, "http:", bytes)
            || isAt(start, url.upperBound, "ws:", bytes)
        {
            defaultPort = 80
        }
        if defaultPort != nil {
            while bytes[start] != UInt8(ascii: ":") { start += 1 }
            start += 1
        }
        return isAt(start, url.upperBound, "//", bytes) ? (start + 2, defaultPort) : nil
    }

    /// RFC 3986 §3.2.
    private static func endsAuthority(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#")
    }

    /// Where the URL of a Refresh field stands: `5; url=…`, `5, URL='…'`, `5; https://…` (HTML,
    /// "shared declarative refresh steps"); nil: there is none.
    private static func refreshedURL(_ value: Range<Int>, _ bytes: Span<UInt8>) -> Range<Int>? {
        var position = value.lowerBound
        while position < value.upperBound,
            bytes[position] &- UInt8(ascii: "0") < 10 || bytes[position] == UInt8(ascii: ".")
        {
            position += 1
        }
        let endOfTime = position
        skipBlanks(&position, value, bytes)
        let isSeparator =
            position < value.upperBound
            && (bytes[position] == UInt8(ascii: ";") || bytes[position] == UInt8(ascii: ","))
        if isSeparator { position += 1 }
        guard endOfTime > value.lowerBound, position > endOfTime else { return nil }
        skipBlanks(&position, value, bytes)
        if isAt(position, value.upperBound, "url", bytes) {
            var behind = position + 3
            skipBlanks(&behind, value, bytes)
            if behind < value.upperBound, bytes[behind] == UInt8(ascii: "=") {
                position = behind + 1
                skipBlanks(&position, value, bytes)
            }
        }
        guard position < value.upperBound else { return nil }
        let quote = bytes[position]
        guard quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
            return position..<value.upperBound
        }
        position += 1
        var end = position
        while end < value.upperBound, bytes[end] != quote { end += 1 }
        return position..<end
    }

    // MARK: - Cookies

    /// The last Domain of a Set-Cookie field, which is the one that counts (RFC 6265 §5.3).
    private func cookieChange(_ value: Range<Int>, _ bytes: Span<UInt8>) -> Change? {
        var domain: Range<Int>?
        var position = value.lowerBound
        var isFirst = true
        while position <= value.upperBound {
            var end = position
            while end < value.upperBound, bytes[end] != UInt8(ascii: ";") { end += 1 }
            // First comes the cookie itself.
            if !isFirst, let found = Self.domain(position..<end, bytes) { domain = found }
            isFirst = false
            position = end + 1
        }
        guard let domain, let found = externalDomain(of: bytes.extracting(domain)),
            Self.isLabel(bytes.extracting(domain), found)
        else { return nil }
        return Change(replaced: ByteRange(domain), name: found)
    }

    /// The name in a Domain attribute, without the dot in front of it (RFC 6265 §5.2.3).
    private static func domain(_ attribute: Range<Int>, _ bytes: Span<UInt8>) -> Range<Int>? {
        var position = attribute.lowerBound
        skipBlanks(&position, attribute, bytes)
        guard isAt(position, attribute.upperBound, "domain", bytes) else { return nil }
        position += 6
        skipBlanks(&position, attribute, bytes)
        guard position < attribute.upperBound, bytes[position] == UInt8(ascii: "=") else {
            return nil
        }
        position += 1
        skipBlanks(&position, attribute, bytes)
        if position < attribute.upperBound, bytes[position] == UInt8(ascii: ".") { position += 1 }
        var end = attribute.upperBound
        while end > position, isBlank(bytes[end - 1]) { end -= 1 }
        return position..<end
    }

    // MARK: - Text

    /// Whether a text in lower case stands there, in any letter case.
    private static func isAt(
        _ start: Int, _ end: Int, _ text: StaticString, _ bytes: Span<UInt8>
    ) -> Bool {
        let count = text.utf8CodeUnitCount
        guard start + count <= end else { return false }
        for offset in 0..<count {
            // A static string is `count` bytes for ever.
            let wanted = unsafe text.utf8Start[offset]
            let byte = bytes[start + offset]
            let folded = byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
            if folded != wanted { return false }
        }
        return true
    }

    private static func skipBlanks(
        _ position: inout Int, _ range: Range<Int>, _ bytes: Span<UInt8>
    ) {
        while position < range.upperBound, isBlank(bytes[position]) { position += 1 }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }
}
