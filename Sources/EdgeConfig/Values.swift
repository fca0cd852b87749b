import EdgeCore
import EdgeUpstream

/// Why a value was not understood, without the place where it stands.
struct ValueProblem: Error, Equatable {
    let reason: String
    let hint: String?

    init(_ reason: String, hint: String? = nil) {
        self.reason = reason
        self.hint = hint
    }
}

/// Durations and sizes: a number and a unit, never one without the other.
enum Quantity {
    private static let durationUnits: [(name: String, nanoseconds: Int64)] = [
        ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]
    private static let sizeUnits: [(name: String, bytes: Int)] = [
        ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30),
    ]
    private static let decimalUnits = ["KB": "KiB", "MB": "MiB", "GB": "GiB"]
    /// Whole digits and digits after the point: what fits 64-bit nanoseconds whatever the unit.
    private static let wholeDigitsMax = 6
    private static let fractionDigitsMax = 6
    /// What fits 63 bits in GiB.
    private static let sizeDigitsMax = 9

    /// `500ms`, `1.5s`, `5m`, `1h`.
    static func duration(_ text: String) throws(ValueProblem) -> Duration {
        let (number, unit) = split(text)
        guard let unit else {
            throw ValueProblem(
                "\(quoted(text)) is not a duration", hint: "a number and ms, s, m or h, such as 10s"
            )
        }
        guard !unit.isEmpty else {
            throw ValueProblem(
                "the duration \(quoted(text)) has no unit", hint: "\(number)s for seconds")
        }
        guard let scale = durationUnits.first(where: { $0.name == unit })?.nanoseconds else {
            throw ValueProblem(
                "unknown unit \(quoted(unit)) in the duration \(quoted(text))",
                hint: "one of: ms, s, m, h")
        }
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty }),
            parts[0].utf8.count <= wholeDigitsMax,
            parts.count == 1 || parts[1].utf8.count <= fractionDigitsMax,
            let whole = Int64(parts[0])
        else { throw ValueProblem("\(quoted(text)) is not a duration") }
        var nanoseconds = whole * scale
        if parts.count == 2, let fraction = Int64(parts[1]) {
            var divisor: Int64 = 1
            for _ in 0..<parts[1].utf8.count { divisor *= 10 }
            // scale ≤ 3.6e12 and fraction < 1e6: below 2^63.
            nanoseconds += fraction * scale / divisor
        }
        return .nanoseconds(nanoseconds)
    }

    /// `512B`, `64KiB`, `1MiB`.
    static func size(_ text: String) throws(ValueProblem) -> Int {
        let (number, unit) = split(text)
        guard let unit else {
            throw ValueProblem(
                "\(quoted(text)) is not a size", hint: "a number and B, KiB or MiB, such as 64KiB")
        }
        guard !unit.isEmpty else {
            throw ValueProblem("the size \(quoted(text)) has no unit", hint: "\(number)B for bytes")
        }
        guard let scale = sizeUnits.first(where: { $0.name == unit })?.bytes else {
            let meant = decimalUnits[unit.uppercased()]
            throw ValueProblem(
                "unknown unit \(quoted(unit)) in the size \(quoted(text))",
                hint: meant.map { "sizes are powers of two: write \(number)\($0)" }
                    ?? "one of: B, KiB, MiB, GiB")
        }
        guard number.utf8.count <= sizeDigitsMax, let count = Int(number) else {
            throw ValueProblem("\(quoted(text)) is not a size", hint: "a whole number and a unit")
        }
        return count * scale
    }

    /// The shortest way to write `duration` with one unit.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
        if nanoseconds == 0 { return "0s" }
        let unit = durationUnits.last { nanoseconds % $0.nanoseconds == 0 }
        guard let unit else { return "\(Double(nanoseconds) / 1e6)ms" }
        return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
    }

    static func text(bytes: Int) -> String {
        let unit = sizeUnits.last { bytes % $0.bytes == 0 && bytes != 0 } ?? sizeUnits[0]
        return "\(bytes / unit.bytes)\(unit.name)"
    }

    /// Number and unit; the unit is nil if `text` does not begin with a digit.
    private static func split(_ text: String) -> (number: String, unit: String?) {
        let number = text.prefix { $0.isASCII && ($0.isWholeNumber || $0 == ".") }
        guard number.first?.isWholeNumber == true else { return ("", nil) }
        return (String(number), String(text.dropFirst(number.count)))
    }
}

/// Host names as DNS and TLS know them, in lower case.
enum HostName {
    private static let bytesMax = 253
    private static let labelBytesMax = 63

    /// A name without wildcard, port, scheme or trailing dot; not an address.
    ///
    /// - Parameter underscore: whether labels may contain `_`, as names of internal services do.
    static func parse(_ text: String, underscore: Bool = false) throws(ValueProblem) -> String {
        if isCanonical(text.utf8, underscore: underscore) { return text }
        if SocketAddress(address: text, port: 0) != nil {
            throw ValueProblem("\(quoted(text)) is an address, not a host name")
        }
        let labels = try labels(of: text, underscore: underscore)
        if let last = labels.last, last.utf8.allSatisfy(isDigit) {
            throw ValueProblem(
                "\(quoted(text)) is neither a valid address nor a host name",
                hint: "the last label of a name is not a number")
        }
        return labels.joined(separator: ".")
    }

    /// A name, `*.example.org` for exactly one label in place of `*`, or `*` for any name.
    static func pattern(_ text: String) throws(ValueProblem) -> String {
        if text == "*" { return text }
        if text.hasPrefix("*.") {
            if isCanonical(text.utf8.dropFirst(2), underscore: false) { return text }
            return "*." + (try parse(String(text.dropFirst(2))))
        }
        if isCanonical(text.utf8, underscore: false) { return text }
        guard !text.utf8.contains(UInt8(ascii: "*")) else {
            throw ValueProblem(
                "the wildcard in \(quoted(text)) does not stand for the first label",
                hint: "'*.example.org' for one label, '*' for any host")
        }
        if SocketAddress(address: text, port: 0) != nil {
            throw ValueProblem(
                "\(quoted(text)) is an address, not a host name", hint: "'*' matches any host")
        }
        return try parse(text)
    }

    /// Whether it is a name as it would be returned, which nearly all are: the rest is looked at
    /// again for what is wrong with it. An address is not one, for its last label is a number or
    /// has a colon.
    private static func isCanonical(
        _ bytes: some Sequence<UInt8>, underscore: Bool
    ) -> Bool {
        var count = 0
        var labelCount = 0
        var hasOther = false
        var last = UInt8(ascii: ".")
        for byte in bytes {
            count += 1
            switch byte {
            case UInt8(ascii: "."):
                guard labelCount > 0, last != UInt8(ascii: "-") else { return false }
                labelCount = 0
                hasOther = false
            case 0x61...0x7A:
                labelCount += 1
                hasOther = true
            case 0x30...0x39: labelCount += 1
            case UInt8(ascii: "-") where labelCount > 0, UInt8(ascii: "_") where underscore:
                labelCount += 1
                hasOther = true
            default: return false
            }
            guard count <= bytesMax, labelCount <= labelBytesMax else { return false }
            last = byte
        }
        return labelCount > 0 && hasOther && last != UInt8(ascii: "-")
    }

    private static func labels(
        of text: String, underscore: Bool
    ) throws(ValueProblem) -> [String] {
        guard !text.isEmpty else { throw ValueProblem("the host name is empty") }
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw ValueProblem(
                "\(quoted(text)) has characters beyond ASCII",
                hint: "write the name's IDNA form, xn--…")
        }
        if text.utf8.contains(UInt8(ascii: ":")) || text.utf8.contains(UInt8(ascii: "/")) {
            throw ValueProblem(
                "\(quoted(text)) is not a host name", hint: "without scheme, port and path")
        }
        guard !text.hasSuffix(".") else {
            throw ValueProblem(
                "the host name \(quoted(text)) ends with a dot", hint: "write it without the dot")
        }
        guard text.utf8.count <= bytesMax else {
            throw ValueProblem("the host name \(quoted(text)) is longer than \(bytesMax) bytes")
        }
        let labels = text.lowercased().split(separator: ".", omittingEmptySubsequences: false)
        for label in labels {
            guard (1...labelBytesMax).contains(label.utf8.count) else {
                throw ValueProblem(
                    "a label of the host name \(quoted(text)) is not 1 to \(labelBytesMax) long",
                    hint: text.hasPrefix(".") ? "write it without the first dot" : nil)
            }
            let isValid = label.utf8.allSatisfy {
                isLetterOrDigit($0) || $0 == UInt8(ascii: "-")
                    || (underscore && $0 == UInt8(ascii: "_"))
            }
            guard isValid, !label.hasPrefix("-"), !label.hasSuffix("-") else {
                throw ValueProblem(
                    "\(quoted(text)) is not a host name",
                    hint: "letters, digits and inner hyphens, separated by dots")
            }
        }
        return labels.map(String.init)
    }

    static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
}

extension Schema.Text {
    /// The text in its canonical form. What is more than a string is left to its own parser.
    func checked(_ text: String) throws(ValueProblem) -> String {
        switch self {
        case .name: try TextValue.name(text)
        case .account: try TextValue.account(text)
        case .path, .glob: try TextValue.path(text)
        case .host: try HostName.parse(text)
        case .domain: try HostName.parse(text, underscore: true)
        case .hostPattern: try HostName.pattern(text)
        case .upgrade: try TextValue.upgrade(text)
        case .service: try TextValue.service(text)
        case .token: try TextValue.token(text)
        case .target: try TextValue.target(text)
        case .authority: try TextValue.authority(text)
        case .phrase: try TextValue.phrase(text)
        case .procedure: try TextValue.procedure(text)
        case .interface: try TextValue.interface(text)
        case .alpn: try TextValue.alpn(text)
        case .fieldName: try TextValue.fieldName(text)
        case .method: try TextValue.method(text)
        case .prefix: try TextValue.prefix(text)
        case .transport: try TextValue.transport(text)
        case .unknown, .location, .address, .block, .endpoint, .resolver, .server, .hashKey, .field,
            .rate, .byteRate, .limitKey,
            .network, .preempt:
            text
        }
    }
}

/// The other strings with a form of their own.
enum TextValue {
    static let nameBytesMax = 64

    /// What listeners, upstreams and resolvers are called: it appears in logs and metrics.
    static func name(_ text: String) throws(ValueProblem) -> String {
        guard let first = text.utf8.first, !HostName.isDigit(first),
            HostName.isLetterOrDigit(first), text.utf8.count <= nameBytesMax,
            text.utf8.allSatisfy({
                HostName.isLetterOrDigit($0) || [0x2D, 0x2E, 0x5F].contains($0)
            })
        else {
            throw ValueProblem(
                "\(quoted(text)) is not a name",
                hint: "a letter, then letters, digits, '-', '_' or '.', at most \(nameBytesMax)")
        }
        return text
    }

    /// A user or group of the system.
    static func account(_ text: String) throws(ValueProblem) -> String {
        let isValid = text.utf8.allSatisfy {
            HostName.isLetterOrDigit($0) || [0x2D, 0x2E, 0x5F].contains($0)
        }
        guard isValid, !text.isEmpty, !text.hasPrefix("-"), text.utf8.count <= 32,
            !text.utf8.allSatisfy(HostName.isDigit)
        else { throw ValueProblem("\(quoted(text)) is not the name of a user or group") }
        return text
    }

    static func path(_ text: String) throws(ValueProblem) -> String {
        guard !text.isEmpty, text.utf8.count < 4096 else {
            throw ValueProblem("a path is 1 to 4095 bytes long")
        }
        return text
    }

    /// A block of addresses.
    static func block(_ text: String) throws(ValueProblem) -> CIDR {
        if let block = CIDR(text) { return block }
        guard let slash = text.lastIndex(of: "/"),
            let address = SocketAddress(address: String(text[..<slash]), port: 0),
            let bits = UInt16(decimal: text[text.index(after: slash)...])
        else {
            throw ValueProblem(
                "\(quoted(text)) is not a block of addresses",
                hint: "an address, or one with the number of leading bits, such as 10.0.0.0/8")
        }
        let limit = address.isIPv4 && !text.contains(":") ? 32 : 128
        throw bits > limit
            ? ValueProblem("\(quoted(text)) has more than \(limit) bits")
            : ValueProblem(
                "\(quoted(text)) has bits set behind the first \(bits)",
                hint: "a block is written with its first address")
    }

    /// What connections may switch to (RFC 9110 §7.8), in lower case.
    static func upgrade(_ text: String) throws(ValueProblem) -> String {
        let name = text.lowercased()
        let isValid = name.utf8.allSatisfy {
            HostName.isLetterOrDigit($0) || "!#$%&'*+-.^_`|~/".utf8.contains($0)
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard isValid, parts.count <= 2, parts.allSatisfy({ !$0.isEmpty }),
            name.utf8.count <= nameBytesMax
        else { throw ValueProblem("\(quoted(text)) is not the name of a protocol") }
        guard name != "websocket" else {
            throw ValueProblem("\(quoted(text)) is allowed on every site", hint: "leave it out")
        }
        guard name != "h2", name != "h2c", parts[0] != "http", parts[0] != "tls" else {
            throw ValueProblem(
                "\(quoted(text)) cannot be allowed",
                hint: "requests inside such a connection would pass by unseen")
        }
        return name
    }

    /// An address without a port.
    static func address(_ text: String) throws(ValueProblem) -> SocketAddress {
        if let address = SocketAddress(address: text, port: 0) { return address }
        let bare = text.hasPrefix("[") && text.hasSuffix("]")
        throw ValueProblem(
            "\(quoted(text)) is not an address",
            hint: bare
                ? "write an IPv6 address without brackets here"
                : "an IPv4 or IPv6 address without port, such as 192.0.2.1")
    }

    /// `192.0.2.1:53`, `[2001:db8::1]:53`.
    static func endpoint(_ text: String) throws(ValueProblem) -> SocketAddress {
        let server = try server(text)
        guard case .address(let address) = server.host else {
            throw ValueProblem(
                "\(quoted(text)) is not an address with a port", hint: "a name is not accepted here"
            )
        }
        return address
    }

    /// As `endpoint`, with `port` if none is written.
    static func endpoint(
        _ text: String, defaultPort port: UInt16
    ) throws(ValueProblem) -> SocketAddress {
        if let address = SocketAddress(address: text, port: port) { return address }
        let isName = text.utf8.contains { $0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A }
        if isName, !text.contains("["), text.utf8.count(where: { $0 == UInt8(ascii: ":") }) <= 1 {
            throw ValueProblem(
                "\(quoted(text)) is not an address", hint: "a name is not accepted here")
        }
        return try endpoint(text)
    }

    /// `name:port` or an endpoint.
    static func server(_ text: String) throws(ValueProblem) -> UpstreamConfiguration.Server {
        if let address = SocketAddress(text) {
            guard address.port > 0 else {
                throw ValueProblem("\(quoted(text)) has port 0", hint: "1 to 65535")
            }
            return .init(host: .address(address), port: address.port)
        }
        if text.contains("//") {
            throw ValueProblem("\(quoted(text)) is not host:port", hint: "without scheme and path")
        }
        if SocketAddress(address: text, port: 0) != nil {
            let example = text.contains(":") ? "[\(text)]:443" : "\(text):443"
            throw ValueProblem("\(quoted(text)) has no port", hint: "such as \(example)")
        }
        guard let colon = text.lastIndex(of: ":") else {
            throw ValueProblem("\(quoted(text)) has no port", hint: "host:port")
        }
        guard let port = UInt16(decimal: text[text.index(after: colon)...]), port > 0 else {
            throw ValueProblem(
                "\(quoted(text)) has no valid port", hint: "host:port with a port of 1 to 65535")
        }
        let host = String(text[..<colon])
        guard !host.contains(":"), !host.hasPrefix("[") else {
            throw ValueProblem(
                "\(quoted(text)) is not host:port", hint: "an IPv6 address stands in brackets")
        }
        return .init(host: .name(try HostName.parse(host, underscore: true)), port: port)
    }
}
