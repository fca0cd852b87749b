import Testing

@testable import EdgePreface

/// What a hello came to, and all that it says.
struct HelloView: Equatable, CustomStringConvertible {
    var outcome: ClientHelloOutcome
    var name = ""
    var supportsTLS13 = false
    var hasECH = false
    var byteCount = 0
    /// Of those that are asked about.
    var protocols: [String] = []

    static let asked = ["h2", "http/1.1", "acme-tls/1", "h", "h2c", ""]

    init(_ outcome: ClientHelloOutcome, _ hello: ClientHello) {
        self.outcome = outcome
        let span = hello.serverName
        name = String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self)
        supportsTLS13 = hello.supportsTLS13
        hasECH = hello.hasECH
        byteCount = hello.byteCount
        protocols = Self.asked.filter { hello.offers($0.utf8.span) }
        #expect(hello.hasServerName == !name.isEmpty)
    }

    /// As if the bytes had arrived at once.
    static func whole(_ bytes: [UInt8]) -> HelloView {
        var hello = ClientHello()
        let outcome = ClientHello.read(bytes.span, into: &hello)
        return HelloView(outcome, hello)
    }

    /// In segments of `size` bytes, up to the one with which it is decided.
    static func segments(_ bytes: [UInt8], of size: Int) -> HelloView {
        var hello = ClientHello()
        var count = 0
        while count < bytes.count {
            count = min(count + size, bytes.count)
            let outcome = ClientHello.read(bytes.span.extracting(0..<count), into: &hello)
            if outcome != .incomplete { return HelloView(outcome, hello) }
        }
        return HelloView(.incomplete, hello)
    }

    var description: String {
        "\(outcome) “\(name)” \(protocols)\(supportsTLS13 ? " 1.3" : "")\(hasECH ? " ECH" : "")"
            + " \(byteCount)"
    }
}
