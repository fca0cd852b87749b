/// The content of an answer of our own, made by the operator: text with places that are filled in
/// per answer. Taken apart once, when it is read.
package struct ErrorPage: Sendable, Equatable {
    /// Bytes of one page.
    package static let byteCountMax = 256 << 10

    package enum Part: Sendable, Equatable {
        /// A range of `bytes`.
        case text(ByteRange)
        /// `{{status}}`: three digits.
        case status
        /// `{{reason}}`: the reason's label.
        case reason
        /// `{{id}}`: the request's ID as the upstream got it, or `-`.
        case id
    }

    /// By the file's extension.
    package enum Kind: String, Sendable, CaseIterable {
        case html, json, txt

        /// The value of Content-Type.
        package var contentType: StaticString {
            switch self {
            case .html: "text/html; charset=utf-8"
            case .json: "application/json"
            case .txt: "text/plain; charset=utf-8"
            }
        }
    }

    package let bytes: [UInt8]
    package let parts: [Part]
    package let kind: Kind
    private let textCount: Int

    package init(_ bytes: [UInt8], kind: Kind) {
        self.bytes = bytes
        self.kind = kind
        parts = Self.split(bytes)
        textCount = parts.reduce(0) {
            if case .text(let range) = $1 { return $0 + Int(range.count) }
            return $0
        }
    }

    /// Bytes of the content with these counts filled in.
    package func byteCount(reason: Int, id: Int) -> Int {
        var count = textCount
        for part in parts {
            switch part {
            case .text: break
            case .status: count += 3
            case .reason: count += reason
            case .id: count += id
            }
        }
        return count
    }

    private static func split(_ bytes: [UInt8]) -> [Part] {
        var parts: [Part] = []
        var start = 0
        var position = 0
        while position < bytes.count {
            guard bytes[position] == UInt8(ascii: "{"),
                let (part, count) = place(bytes[position...])
            else {
                position += 1
                continue
            }
            if start < position { parts.append(.text(ByteRange(start..<position))) }
            parts.append(part)
            position += count
            start = position
        }
        if start < bytes.count { parts.append(.text(ByteRange(start..<bytes.count))) }
        return parts
    }

    private static func place(_ bytes: ArraySlice<UInt8>) -> (Part, count: Int)? {
        let names: [(String, Part)] = [
            ("{{status}}", .status), ("{{reason}}", .reason), ("{{id}}", .id),
        ]
        for (name, part) in names where bytes.starts(with: name.utf8) {
            return (part, name.utf8.count)
        }
        return nil
    }
}

/// The pages for statuses 400 to 599: one per status, else one for its hundred.
package struct ErrorPages: Sendable, Equatable {
    private var pages: [ErrorPage] = []
    /// By status - 400; -1: none.
    private var indexes = [Int16](repeating: -1, count: 200)

    package init() {}

    package var isEmpty: Bool { pages.isEmpty }

    /// The page for one status; it counts more than that of the hundred, whatever comes first.
    package mutating func add(_ page: ErrorPage, status: UInt16) {
        guard (400...599).contains(status) else { return }
        pages.append(page)
        indexes[Int(status) - 400] = Int16(pages.count - 1)
    }

    /// The page for 4xx or 5xx: for every status of that hundred that has none by now.
    package mutating func add(_ page: ErrorPage, hundred: UInt16) {
        guard hundred == 4 || hundred == 5 else { return }
        pages.append(page)
        let first = (Int(hundred) - 4) * 100
        for index in first..<first + 100 where indexes[index] < 0 {
            indexes[index] = Int16(pages.count - 1)
        }
    }

    /// nil: the plain answer.
    package func page(for status: UInt16) -> ErrorPage? {
        guard (400...599).contains(status) else { return nil }
        let index = indexes[Int(status) - 400]
        return index < 0 ? nil : pages[Int(index)]
    }
}
