internal import Foundation

/// A request or response as a test sees it: raw head, parsed just enough. Deliberately not the
/// product's parser, so that one cannot hide the other's faults.
package struct HTTPMessage: Sendable, Equatable {
    /// Request or status line.
    package var startLine: String
    /// In order, names as sent.
    package var fields: [(name: String, value: String)]
    package var body: [UInt8]

    package static func == (left: HTTPMessage, right: HTTPMessage) -> Bool {
        left.startLine == right.startLine && left.body == right.body
            && left.fields.elementsEqual(right.fields) {
                $0.name == $1.name && $0.value == $1.value
            }
    }

    /// The status code of a response, else 0.
    package var status: Int {
        let words = startLine.split(separator: " ", maxSplits: 2)
        return words.count >= 2 && words[0].hasPrefix("HTTP/") ? Int(words[1]) ?? 0 : 0
    }

    /// The method and the target of a request.
    package var method: String { String(startLine.prefix { $0 != " " }) }
    package var target: String {
        let words = startLine.split(separator: " ")
        return words.count == 3 ? String(words[1]) : ""
    }

    /// The first field of that name, whatever its case.
    package subscript(_ name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    package func all(_ name: String) -> [String] {
        fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    package var text: String { String(decoding: body, as: UTF8.self) }
}

/// Cuts messages out of a stream of bytes. One per direction of a connection.
package struct HTTPMessageReader: Sendable {
    /// What is being read: it decides about messages without a length.
    package enum Side: Sendable { case requests, responses }

    private let side: Side
    private var bytes: [UInt8] = []
    private var head: HTTPMessage?
    private var framing = Framing.none
    private var isEnded = false

    /// The next response answers HEAD and has no body whatever its fields say.
    package var nextHasNoBody = false

    private enum Framing {
        case none
        case length(Int)
        case chunked
        case untilClose
    }

    package init(_ side: Side) { self.side = side }

    /// True while bytes of an unfinished message are held.
    package var isInside: Bool { head != nil || !bytes.isEmpty }
    package var hasHead: Bool { head != nil }
    /// The body runs to the end of the stream.
    package var endsWithStream: Bool { if case .untilClose = framing { true } else { false } }

    package mutating func append(_ piece: some Collection<UInt8>) { bytes += piece }

    /// The stream has ended: completes a body that runs to the end.
    package mutating func end() { isEnded = true }

    /// The next complete message, if it is there.
    ///
    /// - Throws: `KitError` when the bytes are no HTTP/1.
    package mutating func next() throws(KitError) -> HTTPMessage? {
        if head == nil { try parseHead() }
        guard head != nil else { return nil }
        switch framing {
        case .none: return finish(taking: 0)
        case .length(let count):
            return bytes.count >= count ? finish(taking: count) : nil
        case .untilClose:
            return isEnded ? finish(taking: bytes.count) : nil
        case .chunked:
            guard try takeChunks() else { return nil }
            return finish(taking: 0)
        }
    }

    /// Takes what lies behind the last message.
    package mutating func takeRest() -> [UInt8] {
        guard head == nil else { return [] }
        defer { bytes = [] }
        return bytes
    }

    private mutating func finish(taking count: Int) -> HTTPMessage? {
        defer {
            head = nil
            bytes.removeFirst(count)
            framing = .none
        }
        head?.body += bytes[..<count]
        return head
    }

    private mutating func parseHead() throws(KitError) {
        guard let end = find([13, 10, 13, 10]) else {
            guard bytes.count < 1 << 20 else { throw KitError("a head of over 1 MiB") }
            return
        }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        bytes.removeFirst(end + 4)
        var message = HTTPMessage(startLine: lines[0], fields: [], body: [])
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else {
                throw KitError("no field: “\(line)”")
            }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            message.fields.append((String(line[..<colon]), value))
        }
        guard message.startLine.contains("HTTP/1.") else {
            throw KitError("no HTTP/1 message: “\(message.startLine)”")
        }
        head = message
        framing = try framing(of: message)
    }

    private mutating func framing(of message: HTTPMessage) throws(KitError) -> Framing {
        let status = message.status
        let isInterim = (100..<200).contains(status)
        if side == .responses, isInterim || status == 204 || status == 304 { return .none }
        if side == .responses, nextHasNoBody {
            nextHasNoBody = false
            return .none
        }
        if message["transfer-encoding"]?.lowercased().hasSuffix("chunked") == true {
            return .chunked
        }
        if let length = message["content-length"] {
            guard let count = Int(length), count >= 0 else {
                throw KitError("Content-Length “\(length)”")
            }
            return .length(count)
        }
        return side == .requests ? .none : .untilClose
    }

    /// Moves whole chunks into the body; true after the last one and its trailers.
    private mutating func takeChunks() throws(KitError) -> Bool {
        while let end = find([13, 10]) {
            let line = String(decoding: bytes[..<end], as: UTF8.self)
            let digits = line.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces)
            guard let size = Int(digits, radix: 16), size >= 0 else {
                throw KitError("chunk size “\(line)”")
            }
            if size == 0 {
                let rest = bytes[end...]
                if rest.starts(with: [13, 10, 13, 10]) {
                    bytes.removeFirst(end + 4)
                    return true
                }
                guard let last = find([13, 10, 13, 10]) else { return false }
                bytes.removeFirst(last + 4)
                return true
            }
            guard bytes.count >= end + 2 + size + 2 else { return false }
            head?.body += bytes[(end + 2)..<(end + 2 + size)]
            bytes.removeFirst(end + 2 + size + 2)
        }
        return false
    }

    private func find(_ needle: [UInt8]) -> Int? {
        bytes.withUnsafeBytes { all in
            var from = 0
            while from + needle.count <= all.count, let start = all.baseAddress,
                let hit = memchr(start + from, Int32(needle[0]), all.count - from)
            {
                let at = UnsafeRawPointer(hit) - start
                guard at + needle.count <= all.count else { return nil }
                if memcmp(hit, needle, needle.count) == 0 { return at }
                from = at + 1
            }
            return nil
        }
    }
}
