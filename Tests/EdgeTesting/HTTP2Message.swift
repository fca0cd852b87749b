/// What one stream has brought: a request or an answer, as far as it came.
package struct HTTP2Message: Sendable, Equatable {
    /// Answers of the 1xx kind before the final one.
    package var interim: [[HTTP2Field]] = []
    /// The head; empty until it is there.
    package var fields: [HTTP2Field] = []
    package var body: [UInt8] = []
    package var trailers: [HTTP2Field]?
    /// END_STREAM was seen.
    package var isEnded = false
    /// RST_STREAM was seen.
    package var reset: RawFrame.Code?
    /// DATA frames, empty ones included.
    package var dataFrameCount = 0

    package init() {}

    /// Nothing more will come.
    package var isOver: Bool { isEnded || reset != nil }

    /// 0 while there is no head.
    package var status: Int { self[":status"].flatMap { Int($0) } ?? 0 }

    /// The first field of exactly that name.
    package subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

    package func all(_ name: String) -> [String] {
        fields.filter { $0.name == name }.map(\.value)
    }

    package var text: String { String(decoding: body, as: UTF8.self) }
}

extension HTTP2Message {
    /// Fields that RFC 9113 §8.2.2 forbids.
    private static let connectionSpecific: Set<String> = [
        "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade",
    ]

    /// What is wrong with a section of fields, by RFC 9113 §8.2 and §8.3; nil if nothing is.
    static func fault(in fields: [HTTP2Field], allowed pseudo: Set<String>) -> String? {
        var seen: Set<String> = []
        var isBehindPseudo = false
        for field in fields {
            let name = field.name
            if name.hasPrefix(":") {
                if isBehindPseudo { return "\(name) behind a field" }
                if !pseudo.contains(name) { return "pseudo-field \(name)" }
                if !seen.insert(name).inserted { return "\(name) twice" }
            } else {
                isBehindPseudo = true
            }
            if name.isEmpty || name != name.lowercased() { return "the name “\(name)”" }
            if connectionSpecific.contains(name) { return "the field \(name)" }
            let blanks: Set<UInt8> = [0x20, 0x09]
            let value = field.valueBytes
            if value.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 })
                || value.first.map(blanks.contains) ?? false
                || value.last.map(blanks.contains) ?? false
            {
                return "the value of \(name)"
            }
        }
        return nil
    }
}
