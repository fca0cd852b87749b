import EdgeTesting
import Testing

@testable import EdgeHTTP2

@Suite("Head collector") struct HeadCollectorTests {
    typealias Fields = [(String, String)]

    private static let key = Array("AAAAAAAAAAAAAAAAAAAAAA==".utf8)

    /// Owns the memory of a collector.
    private final class Bench {
        var collector: HeadCollector

        init(capacity: Int = HeadCollector.textBytes) {
            collector = HeadCollector(capacity: capacity)
        }

        deinit { collector.deallocate() }

        func add(_ name: String, _ value: String) {
            let name = Array(name.utf8)
            // A field without a value has an address, too.
            let value = Array(value.utf8) + [0]
            collector.add(name, name.count, value, value.count - 1)
        }

        func finish(isLast: Bool, hasNoContent: Bool = false) -> String? {
            collector.finish(isLast: isLast, hasNoContent: hasNoContent, key: key.span)
            collector.end()
            return collector.fault == .none
                ? String(decoding: collector.bytes, as: UTF8.self) : nil
        }
    }

    private static func text(
        _ kind: HeadCollector.Kind, _ fields: Fields, isLast: Bool = true,
        hasNoContent: Bool = false, limit: Int = 65536
    ) -> String? {
        let bench = Bench()
        bench.collector.begin(1, kind, limit: limit)
        for (name, value) in fields { bench.add(name, value) }
        return bench.finish(isLast: isLast, hasNoContent: hasNoContent)
    }

    private static func request(_ more: Fields, isLast: Bool = true) -> String? {
        text(.request, SessionPeer.fields() + more, isLast: isLast)
    }

    // MARK: - Requests

    @Test("A request becomes the text of an HTTP/1.1 head")
    func request() {
        #expect(
            Self.request([("accept", "*/*"), ("x-a", ""), ("x-a", "b")])
                == "GET / HTTP/1.1\r\nhost: home.example\r\naccept: */*\r\nx-a: \r\nx-a: b\r\n\r\n")
        #expect(
            Self.text(.request, SessionPeer.fields("OPTIONS", "*"))
                == "OPTIONS * HTTP/1.1\r\nhost: home.example\r\n\r\n")
    }

    @Test("Pseudo fields may come in any order")
    func order() {
        let fields: Fields = [
            (":path", "/x"), (":authority", "a.example"), (":scheme", "http"), (":method", "PUT"),
        ]
        #expect(
            Self.text(.request, fields) == "PUT /x HTTP/1.1\r\nhost: a.example\r\n\r\n")
    }

    @Test("Content of unknown length is chunked; a length stays; no content has no framing")
    func requestFraming() {
        #expect(Self.request([], isLast: false)?.contains("transfer-encoding: chunked\r\n") == true)
        let known = Self.request([("content-length", "5")], isLast: false)
        #expect(known?.contains("content-length: 5\r\n") == true)
        #expect(known?.contains("chunked") == false)
        #expect(Self.request([])?.contains("chunked") == false)
    }

    @Test("Cookie crumbs become one field, wherever they stood")
    func cookies() {
        #expect(
            Self.request([("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")])
                == "GET / HTTP/1.1\r\nhost: home.example\r\nx: y\r\ncookie: a=1; b=2; c=3\r\n\r\n")
    }

    @Test("An equal Host goes, another one is malformed, and a Host alone is enough")
    func host() {
        let plain = "GET / HTTP/1.1\r\nhost: home.example\r\n\r\n"
        #expect(Self.request([("host", "home.example")]) == plain)
        #expect(Self.request([("host", "home.example"), ("host", "home.example")]) == plain)
        #expect(Self.request([("host", "other.example")]) == nil)
        #expect(Self.request([("host", "home.example:443")]) == nil)
        #expect(Self.request([("host", "")]) == nil)
        let bare: Fields = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
        #expect(Self.text(.request, bare + [("host", "home.example")]) == plain)
        #expect(
            Self.text(.request, bare + [("host", "home.example"), ("host", "home.example")])
                == nil)
    }

    @Test("Only paths and the asterisk are targets; only http and https are schemes")
    func targets() {
        for path in ["", "x", "http://home.example/", "//"] where path != "//" {
            #expect(Self.text(.request, SessionPeer.fields("GET", path)) == nil, "\(path)")
        }
        #expect(Self.text(.request, SessionPeer.fields("GET", "//")) != nil)
        for (scheme, isGood) in [("http", true), ("https", true), ("ftp", false), ("", false)] {
            let fields: Fields = [
                (":method", "GET"), (":scheme", scheme), (":authority", "a"), (":path", "/"),
            ]
            #expect((Self.text(.request, fields) != nil) == isGood, "\(scheme)")
        }
    }

    @Test("CONNECT names its authority twice; the extended one is an upgrade to WebSocket")
    func connect() {
        #expect(
            Self.text(.request, [(":method", "CONNECT"), (":authority", "a.example:443")])
                == "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n")
        let extended = SessionPeer.fields("CONNECT", "/chat")
        #expect(
            Self.text(
                .request,
                extended + [(":protocol", "websocket"), ("sec-websocket-version", "13")],
                isLast: false)
                == "GET /chat HTTP/1.1\r\nhost: home.example\r\nsec-websocket-version: 13\r\n"
                + "upgrade: websocket\r\nconnection: upgrade\r\n"
                + "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        #expect(Self.text(.request, extended + [(":protocol", "webtransport")]) == nil)
        #expect(Self.text(.request, extended + [(":protocol", "websocketx")]) == nil)
    }

    // MARK: - Responses and trailers

    @Test("An answer gets the framing that its status and its end ask for")
    func response() {
        func text(_ status: String, isLast: Bool, _ more: Fields = [], isHead: Bool = false)
            -> String?
        {
            Self.text(
                .response, [(":status", status)] + more, isLast: isLast, hasNoContent: isHead)
        }
        let chunked = "transfer-encoding: chunked\r\n\r\n"
        #expect(text("200", isLast: false) == "HTTP/1.1 200 \r\n" + chunked)
        #expect(text("404", isLast: true) == "HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n")
        #expect(
            text("200", isLast: false, [("content-length", "7")])
                == "HTTP/1.1 200 \r\ncontent-length: 7\r\n\r\n")
        for status in ["103", "204", "304"] {
            #expect(text(status, isLast: true) == "HTTP/1.1 \(status) \r\n\r\n")
        }
        #expect(text("200", isLast: true, isHead: true) == "HTTP/1.1 200 \r\n\r\n")
    }

    @Test("Of an answer, Host and cookies are fields like all others")
    func responseFields() {
        #expect(
            Self.text(.response, [(":status", "204"), ("host", "a"), ("cookie", "b")])
                == "HTTP/1.1 204 \r\nhost: a\r\ncookie: b\r\n\r\n")
    }

    @Test("Trailers are lines and an empty one")
    func trailers() {
        #expect(Self.text(.trailers, [("a", "1"), ("b", "")]) == "a: 1\r\nb: \r\n\r\n")
        #expect(Self.text(.trailers, []) == "\r\n")
    }

    // MARK: - Limits

    @Test("A head is measured as RFC 7541 does, and one byte more is too large")
    func limit() {
        let fields = SessionPeer.fields() + [("x", "yz"), ("cookie", "c=d")]
        let size = fields.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 32 }
        #expect(Self.text(.request, fields, limit: size) != nil)
        #expect(Self.text(.request, fields, limit: size - 1) == nil)
    }

    @Test("Heads as large as there is memory for are written whole, larger ones refused")
    func capacity() {
        let bench = Bench(capacity: 8192)
        for kind in [HeadCollector.Kind.request, .response, .trailers] {
            bench.collector.begin(1, kind, limit: 1 << 20)
            if kind == .request {
                bench.add(":method", "CONNECT")
                bench.add(":authority", String(repeating: "a", count: 2900))
            }
            if kind == .response { bench.add(":status", "200") }
            #expect(bench.finish(isLast: false) != nil, "\(kind)")
            bench.collector.begin(1, kind, limit: 1 << 20)
            for _ in 0..<200 { bench.add("cookie", "") }
            #expect(bench.collector.fault == .tooLarge, "\(kind)")
            #expect(bench.finish(isLast: false) == nil, "\(kind)")
        }
    }

    // MARK: - Pieces

    @Test("Blocks of two connections that take turns are not mixed up")
    func interleaved() {
        let bench = Bench()
        let first = SessionPeer.fields("POST", "/first") + [("cookie", "a"), ("one", "1")]
        let second: Fields = [(":status", "200"), ("two", "2"), ("cookie", "b"), ("last", "3")]
        let firstText = Self.text(.request, first, isLast: false)
        let secondText = Self.text(.response, second)
        #expect(firstText != nil && secondText != nil)
        for cutFirst in 0...first.count {
            for cutSecond in 0...second.count {
                bench.collector.begin(1, .request, limit: 9000)
                for field in first[..<cutFirst] { bench.add(field.0, field.1) }
                let kept = bench.collector.suspend()
                bench.collector.begin(5, .response, limit: 9000)
                for field in second[..<cutSecond] { bench.add(field.0, field.1) }
                let other = bench.collector.suspend()
                bench.collector.resume(kept)
                #expect(bench.collector.stream == 1)
                for field in first[cutFirst...] { bench.add(field.0, field.1) }
                #expect(bench.finish(isLast: false) == firstText)
                bench.collector.resume(other)
                #expect(bench.collector.stream == 5)
                for field in second[cutSecond...] { bench.add(field.0, field.1) }
                #expect(bench.finish(isLast: true) == secondText)
            }
        }
    }

    @Test("A fault survives a pause")
    func suspendedFault() {
        let bench = Bench()
        bench.collector.begin(1, .request, limit: 9000)
        for (name, value) in SessionPeer.fields() { bench.add(name, value) }
        bench.add("host", "evil.example")
        bench.collector.resume(bench.collector.suspend())
        bench.add("x", "y")
        #expect(bench.finish(isLast: true) == nil)
        #expect(bench.collector.fault == .malformed)
    }
}
