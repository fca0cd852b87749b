/// Reads requests from an admin connection: a small, strict subset of HTTP/1.1 (RFC 9112),
/// enough for curl, Prometheus and `edgectl`. Sans-IO. No folding, no bare line feed, no
/// Transfer-Encoding, no pipelining. Head and body are bounded; more is refused.
struct ControlRequestParser {
    struct Request: Equatable {
        let method: String
        /// Without the query.
        let path: String
        let query: String
        let keepsAlive: Bool
        let body: [UInt8]
    }

    enum Step: Equatable {
        case needsMore
        /// The client waits for `100 Continue` before it sends the body.
        case wantsContinue
        case request(Request)
        /// The answer to give before closing.
        case refused(status: Int, String)
    }

    static let headBytesMax = 8 << 10
    static let bodyBytesMax = 64 << 10
    private static let fieldsMax = 64

    private struct Head {
        var method = ""
        var path = ""
        var query = ""
        var keepsAlive = true
        var bodyLength = 0
        var wantsContinue = false
    }

    private struct Refusal: Error {
        let status: Int
        let text: String

        init(_ status: Int, _ text: String) {
            self.status = status
            self.text = text
        }
    }

    private var received: [UInt8] = []
    private var head: Head?

    /// Whether part of a request has come.
    var isInRequest: Bool { head != nil || !received.isEmpty }

    mutating func receive(_ bytes: ArraySlice<UInt8>) { received += bytes }

    /// Takes the next complete request, if there is one.
    mutating func next() -> Step {
        do throws(Refusal) {
            if head == nil {
                guard let end = try endOfHead() else { return .needsMore }
                head = try Self.parseHead(received[..<end])
                received.removeFirst(end + 4)
            }
            guard var head else { return .needsMore }
            guard received.count >= head.bodyLength else {
                defer { self.head = head }
                guard head.wantsContinue else { return .needsMore }
                head.wantsContinue = false
                return .wantsContinue
            }
            let body = Array(received.prefix(head.bodyLength))
            received.removeFirst(head.bodyLength)
            self.head = nil
            return .request(
                Request(
                    method: head.method, path: head.path, query: head.query,
                    keepsAlive: head.keepsAlive, body: body))
        } catch {
            return .refused(status: error.status, error.text)
        }
    }

    /// Offset of the empty line; nil if it has not come yet.
    private func endOfHead() throws(Refusal) -> Int? {
        var index = 0
        let count = min(received.count, Self.headBytesMax)
        while index + 3 < count {
            if received[index] == 13, received[index + 1] == 10, received[index + 2] == 13,
                received[index + 3] == 10
            {
                return index
            }
            index += 1
        }
        if received.count >= Self.headBytesMax { throw Refusal(431, "the head is too large") }
        // A bare line feed would be waited for in vain: say so now.
        for (index, byte) in received.enumerated() where byte == 10 {
            guard index > 0, received[index - 1] == 13 else {
                throw Refusal(400, "a line ends without a carriage return")
            }
        }
        return nil
    }

    // MARK: - Head

    private static func parseHead(_ bytes: ArraySlice<UInt8>) throws(Refusal) -> Head {
        guard let text = String(validating: bytes, as: UTF8.self),
            bytes.allSatisfy({ $0 == 9 || $0 == 10 || $0 == 13 || (0x20..<0x7F).contains($0) })
        else { throw Refusal(400, "the head has control or non-ASCII bytes") }
        // Characters would do: CR LF is one grapheme, so a lone CR or LF stays inside a line.
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        guard lines.allSatisfy({ !$0.unicodeScalars.contains { $0 == "\r" || $0 == "\n" } }) else {
            throw Refusal(400, "a lone carriage return or line feed")
        }
        guard lines.count - 1 <= fieldsMax else { throw Refusal(431, "too many fields") }
        var head = Head()
        let isVersion11 = try parseRequestLine(lines[0], into: &head)
        var hosts = 0
        var hasLength = false
        for line in lines.dropFirst() {
            let (name, value) = try parseField(line)
            switch name {
            case "host": hosts += 1
            case "content-length":
                guard !hasLength else { throw Refusal(400, "two Content-Length fields") }
                hasLength = true
                head.bodyLength = try parseLength(value)
            case "transfer-encoding": throw Refusal(501, "Transfer-Encoding is not supported")
            case "connection":
                let options = value.lowercased().split { ", \t".contains($0) }
                if options.contains("close") { head.keepsAlive = false }
            case "expect":
                guard value.lowercased() == "100-continue" else {
                    throw Refusal(417, "unknown expectation")
                }
                head.wantsContinue = true
            default: break
            }
        }
        // RFC 9112 §3.2.
        guard hosts == 1 || (hosts == 0 && !isVersion11) else {
            throw Refusal(400, "exactly one Host field is needed")
        }
        return head
    }

    private static func parseRequestLine(
        _ line: Substring, into head: inout Head
    ) throws(Refusal) -> Bool {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(isTokenCharacter) else {
            throw Refusal(400, "not a request line")
        }
        guard words[1].hasPrefix("/"), !words[1].contains("#") else {
            throw Refusal(400, "the target is not a path")
        }
        let isVersion11 = words[2] == "HTTP/1.1"
        guard isVersion11 || words[2] == "HTTP/1.0" else {
            throw Refusal(505, "only HTTP/1.1 is spoken here")
        }
        head.method = String(words[0])
        let parts = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        head.path = String(parts[0])
        head.query = parts.count > 1 ? String(parts[1]) : ""
        head.keepsAlive = isVersion11
        return isVersion11
    }

    private static func parseField(
        _ line: Substring
    ) throws(Refusal) -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: ":"), colon != line.startIndex,
            line[..<colon].allSatisfy(isTokenCharacter)
        else { throw Refusal(400, "not a header field") }
        var value = line[line.index(after: colon)...]
        while let first = value.first, first == " " || first == "\t" { value.removeFirst() }
        while let last = value.last, last == " " || last == "\t" { value.removeLast() }
        return (line[..<colon].lowercased(), String(value))
    }

    private static func parseLength(_ text: String) throws(Refusal) -> Int {
        guard (1...10).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(text)
        else { throw Refusal(400, "Content-Length is not a number") }
        guard length <= bodyBytesMax else { throw Refusal(413, "the body is too large") }
        return length
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenCharacter(_ character: Character) -> Bool {
        guard let ascii = character.asciiValue else { return false }
        switch ascii {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            return true
        default: return "!#$%&'*+-.^_`|~".utf8.contains(ascii)
        }
    }
}
