import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import Testing

/// Mutates messages that rules apply to. Whatever is accepted is one message to the next reader,
/// and what no rule is about stays as it was.
@Suite("Rules under mutated input")
struct RuledMutationTests {
    private static let seeds = [
        "Origin: https://grafana.home.example:443", "Referer: https://a.lan/x?y",
        "Location: https://grafana.home.example/", "Content-Location: //a.lan:80/",
        "Refresh: 5; url='https://grafana.home.example/'", "X-Drop: 1", "Server: x", "Y: 1",
        "Access-Control-Allow-Origin: http://a.lan:8080", "X-Forwarded-Host: a.lan, b",
        "Set-Cookie: a=b; Domain=.home.example; Path=/", "Set-Cookie: c; domain=A.LAN",
    ]

    private static let tokens = [
        "\r\n", "\r\n ", "\0", " ", ";", ",", "//", "@", "\\", ":", "home.example", ".lan", "'",
        "url=", "Domain=", "https://", "\u{FF}", ".", "X-Drop: 2\r\n", "%0d%0a", "a.lan",
    ].map { Array($0.utf8) }

    /// Both ways, so that one list of seeds does for requests and answers.
    private static let map = HostMap([
        ("grafana.example.org", "grafana.home.example"), ("*.apps.example.org", "*.lan"),
        ("grafana.home.example", "x.internal"), ("*.lan", "*.internal"),
    ])

    private static func rules() throws -> HeadRules {
        let edits = try FieldEdits(
            [
                edit(.remove, "x-drop"), edit(.set, "Server", "edge"),
                .init(.add, Array("X-New".utf8), [.path, .query, .host, .id, .client]),
            ], view: [])
        return HeadRules(
            requestEdits: edits, responseEdits: edits, map: map, prefix: Array("/a".utf8),
            replacement: Array("/".utf8))
    }

    private static func mutated(_ generator: inout SeededGenerator, _ first: String) -> [UInt8] {
        var lines = [first]
        for _ in 0..<4 { lines.append(seeds.randomElement(using: &generator) ?? "") }
        var bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            let index = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
            case 1: bytes.remove(at: index)
            case 2: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            default:
                let token = tokens[Int.random(in: 0..<tokens.count, using: &generator)]
                bytes.insert(contentsOf: token, at: index)
            }
        }
        return bytes
    }

    /// Names that a rule or we ourselves have a say in.
    private static let changed: Set<String> = [
        "origin", "referer", "location", "content-location", "refresh", "set-cookie", "x-new",
        "access-control-allow-origin", "x-drop", "server", "host", "content-length", "expect",
        "trailer", "x-real-ip", "x-request-id", "forwarded", "connection", "upgrade", "te",
        "keep-alive", "proxy-connection", "transfer-encoding", "http2-settings",
        "proxy-authenticate", "proxy-authorization",
    ]

    private static func name(_ line: String) -> String {
        line.prefix { $0 != ":" }.lowercased()
    }

    private static func unchanged(_ lines: [String]) -> [String] {
        lines.filter { !changed.contains(name($0)) && !name($0).hasPrefix("x-forwarded-") }
    }

    private func check(_ output: [UInt8], _ place: Comment) {
        let all = lines(output)
        for line in all {
            #expect(!line.utf8.contains { $0 == 10 || $0 == 13 || $0 == 0 }, place)
            #expect(!line.isEmpty && !line.hasPrefix(" ") && !line.hasPrefix("\t"), place)
        }
        #expect(!all.contains { Self.name($0) == "x-drop" }, place)
        #expect(all.filter { Self.name($0) == "server" } == ["Server: edge"], place)
        #expect(all.count { Self.name($0) == "x-new" } == 1, place)
    }

    @Test(
        "A request that rules change is one request, and all else of it stays",
        arguments: 1...3 as ClosedRange<UInt64>)
    func requests(seed: UInt64) throws {
        let rules = try Self.rules()
        var generator = SeededGenerator(seed: seed)
        var request = RequestHead()
        var accepted = 0
        for round in 0..<1500 {
            let place: Comment = "seed \(seed) round \(round)"
            let target = ["/a//x?y", "/a", "/", "/a?\\", "http://h?q"][round % 5]
            let head = Self.mutated(
                &generator, "GET \(target) HTTP/1.1\r\nHost: a.lan:\(round % 500)")
            do {
                try HTTP1Parser.parseRequest(head.span, into: &request, limits: HeadLimits())
            } catch {
                continue
            }
            accepted += 1
            var settings = context(request.framing)
            settings.isClientTrusted = round % 2 == 0
            let max = HTTP1Writer.requestBytesMax(
                request, from: head.span, context: settings, host: Span(), rules: rules)
            let output = try #require(
                written(capacity: max) {
                    HTTP1Writer.writeRequest(
                        request, from: head.span, context: settings, host: Span(), by: rules,
                        into: &$0)
                }, place)
            check(output, place)
            #expect(lines(output).count { Self.name($0) == "host" } == 1, place)
            let before = parsed(request, head)
            let after = try #require(try? parseRequest(output), place)
            #expect(
                Self.unchanged(after.fields.map { String(decoding: $0, as: UTF8.self) })
                    == Self.unchanged(before.fields.map { String(decoding: $0, as: UTF8.self) }),
                place)
            #expect(after.framing == before.framing, place)
            #expect(after.target.hasPrefix("/") && !after.target.hasPrefix("//"), place)
        }
        #expect(accepted > 500)
    }

    @Test(
        "An answer that rules change is one answer, and all else of it stays",
        arguments: 1...3 as ClosedRange<UInt64>)
    func responses(seed: UInt64) throws {
        let rules = try #require(Self.rules().response(isSecure: true, noValues))
        var generator = SeededGenerator(seed: seed)
        var response = ResponseHead()
        var accepted = 0
        for round in 0..<1500 {
            let place: Comment = "seed \(seed) round \(round)"
            let head = Self.mutated(&generator, "HTTP/1.1 302 Found\r\nContent-Length: 3")
            do {
                try HTTP1Parser.parseResponse(
                    head.span, requestMethod: .get, upgrade: .none, into: &response,
                    limits: HeadLimits())
            } catch {
                continue
            }
            guard !response.isInterim else { continue }
            accepted += 1
            let settings = ResponseContext(
                framing: response.framing(clientMinor: 1), clientMinor: 1, keepAlive: true)
            let output = try #require(
                written {
                    HTTP1Writer.writeResponse(
                        response, from: head.span, context: settings, by: rules, kept: Span(),
                        into: &$0)
                }, place)
            check(output, place)
            let before = try parseResponse(String(decoding: head, as: UTF8.self))
            let after = try parseResponse(String(decoding: output, as: UTF8.self))
            #expect(after.status == before.status && after.framing == settings.framing, place)
            #expect(Self.unchanged(after.fields) == Self.unchanged(before.fields), place)
        }
        #expect(accepted > 500)
    }
}
