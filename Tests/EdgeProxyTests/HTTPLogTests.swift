import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Access log: lines as HAProxy writes them") struct HTTPLogTests {
    /// A worker whose log is HAProxy's, and one line of it.
    private final class Site {
        let book: LogBook
        let bench: Bench

        init(sample: Int = 1, _ change: (inout Bench.Options) -> Void = { _ in }) throws {
            book = try LogBook(format: .httplog, sample: sample)
            var options = Bench.Options()
            options.accessLog = book.log
            change(&options)
            bench = try Bench(options)
        }

        /// Without the date.
        var lines: [String] {
            book.text(of: bench).split(separator: "\n").map { line in
                let start = line.firstIndex(of: "[") ?? line.startIndex
                let end = line.firstIndex(of: "]") ?? line.startIndex
                return line[..<start] + String(line[line.index(after: end)...].dropFirst())
            }
        }
    }

    @Test("A request that went well has HAProxy's fields in HAProxy's order")
    func complete() throws {
        let site = try Site()
        let bench = site.bench
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        bench.ring.receives(client, "GET /a?b=c HTTP/1.1\r\n")
        bench.settle()
        bench.turn(after: .milliseconds(10))
        bench.send(client, "Host: home.example\r\n\r\n")
        bench.turn(after: .milliseconds(30))
        bench.ring.connects(bench.upstream)
        bench.settle()
        bench.turn(after: .milliseconds(69))
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
        bench.turn(after: .milliseconds(1))
        bench.send(bench.upstream, "de")

        let text = site.book.text(of: bench)
        let line = try Regex(
            #"192\.0\.2\.1:40000 \[\d\d/[A-Z][a-z][a-z]/20\d\d:\d\d:\d\d:\d\d\.\d{3}\] "#
                + #"plain app/10\.0\.0\.1:8080 10/0/30/69/110 200 5 - - ---- 1/1/0/0/0 0/0 "#
                + #""GET /a HTTP/1\.1"\n"#)
        #expect(try line.wholeMatch(in: text) != nil, "\(text)")
    }

    @Test(
        "How a request ended is told by two letters",
        arguments: [
            ("PR", "400", "bad"), ("PR", "404", "route"), ("LR", "308", "redirect"),
            ("SC", "502", "refused"), ("sC", "504", "connect"), ("SH", "502", "closed"),
            ("sH", "504", "silent"), ("PH", "502", "nonsense"), ("SD", "200", "cut"),
            ("CH", "-1", "left"), ("CD", "200", "gone"), ("--", "200", "well"),
        ])
    func letters(letters: String, status: String, how: String) throws {
        let site = try Site()
        Self.end(how, site.bench)

        let line = try #require(site.lines.last)
        let words = line.split(separator: " ")
        #expect(words.count == (how == "bad" ? 12 : 14), "\(line)")
        #expect(words[4] == status[...] && words[8] == "\(letters)--", "\(line)")
        let server = ["PR", "LR"].contains(letters) ? "/<NOSRV>" : "app/10.0.0.1:8080"
        #expect(words[2].hasSuffix(server), "\(line)")
    }

    private static func end(_ how: String, _ bench: Bench) {
        let connects: Int32? = how == "refused" ? -ECONNREFUSED : how == "connect" ? nil : 0
        bench.ring.connectPolicy = { _ in connects }
        let client = bench.client(how == "redirect" ? Bench.redirectListener : Bench.listener)
        switch how {
        case "bad": return bench.send(client, "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n d\r\n\r\n")
        case "route": return bench.send(client, "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
        default: bench.send(client, bench.get())
        }
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"
        switch how {
        case "connect": bench.pass(.seconds(10))
        case "closed": bench.ring.ends(bench.upstream)
        case "silent": bench.pass(.seconds(30))
        case "nonsense": bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nA\r\n\r\n")
        case "cut":
            bench.send(bench.upstream, half)
            bench.ring.ends(bench.upstream)
        case "left": bench.ring.fails(client, ECONNRESET)
        case "gone":
            bench.send(bench.upstream, half)
            bench.ring.fails(client, ECONNRESET)
        case "well": bench.send(bench.upstream, Bench.ok)
        default: break
        }
        bench.settle()
    }

    @Test("What a client sends cannot end the field or the line")
    func escaped() throws {
        var record = AccessRecord.empty
        record.version = 11
        record.methodCount = 3
        record.pathCount = 9
        let line = Self.write(&record, Array("GET/\"a#\r\n|\u{E9}".utf8))

        #expect(line.hasSuffix(" \"GET /#22a#23#0D#0A|#C3#A9 HTTP/1.1\"\n"), "\(line)")
    }

    @Test("Over HTTP/2 the request line has scheme and host, as HAProxy's")
    func http2() throws {
        var record = AccessRecord.empty
        record.version = 20
        record.tlsVersion = 0x0304
        record.methodCount = 3
        record.hostCount = 4
        record.pathCount = 2
        let line = Self.write(&record, Array("GETa.bc/x".utf8))

        #expect(line.hasSuffix(" \"GET https://a.bc/x HTTP/2.0\"\n"), "\(line)")
        #expect(line.contains("] ~ ~/<NOSRV> "), "\(line)")
    }

    private static func write(
        _ record: inout AccessRecord, _ text: [UInt8], kind: AccessLine.Kind = .request,
        seconds: UInt64 = 1
    ) -> String {
        var format = AccessLogFormat()
        format.kind = .httplog
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 8192, alignment: 8)
        defer { memory.deallocate() }
        var times = ExchangeTimes()
        times.begun = Instant(nanoseconds: seconds * 1_000_000_000)
        let line = AccessLine(
            kind: kind, listener: 0, reason: .none, times: times, ended: times.begun)
        let count = text.withUnsafeBytes {
            // Not empty, so there is a base address.
            format.write(line, &record, $0.baseAddress!, to: memory)
        }
        let bytes = UnsafeRawBufferPointer(start: memory, count: count)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("What came to no request is told as HAProxy tells it, with our reason")
    func connections() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client(Bench.tlsListener)
        bench.send(client, "GET / HTTP/1.1\r\n\r\n")
        let second = bench.client()
        bench.ring.receives(second, "GET / HT")
        bench.settle()
        bench.ring.ends(second)
        bench.settle()

        let lines = site.lines
        #expect(
            lines.first
                == "192.0.2.1:40000 tls~/1: SSL handshake failure (client_handshake_failed)")
        // The other one is on its way out.
        #expect(lines.last?.hasSuffix(" 0 - - CR-- 2/1/0/0/0 0/0 \"<BADREQ>\"") == true, "\(lines)")
        #expect(lines.last?.contains(" plain plain/<NOSRV> ") == true)
        #expect(lines.last?.contains(" -1/-1/-1/-1/0 -1 0 ") == true)
    }

    @Test("A relayed connection has a line as of tcplog")
    func relayed() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "abc")
        bench.send(bench.upstream, "defgh")
        bench.turn(after: .milliseconds(4))
        bench.ring.ends(client)
        bench.ring.ends(bench.upstream)
        bench.settle()

        #expect(
            site.lines == ["192.0.2.1:40000 tcp app/10.0.0.1:8080 0/0/4 5 -- 1/1/0/0/0 0/0"])
    }

    @Test("One in so many has a line, but every failure has one")
    func sampled() throws {
        let site = try Site(sample: 5)
        let bench = site.bench
        let client = bench.client()
        for _ in 0..<20 {
            bench.send(client, bench.get("/well"))
            bench.send(bench.upstream, Bench.ok)
            bench.send(client, "GET /lost HTTP/1.1\r\nHost: nobody\r\n\r\n")
        }
        bench.send(client, bench.get("/5xx"))
        bench.send(bench.upstream, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

        let lines = site.lines
        #expect(lines.count { $0.contains("/well") } == 4)
        #expect(lines.count { $0.contains("/lost") } == 20)
        #expect(lines.count { $0.contains("/5xx") } == 1)
    }

    @Test("Each month has its name")
    func months() throws {
        var record = AccessRecord.empty
        var names: [Substring] = []
        for month in 0..<12 {
            // The middle of each month of 2026.
            let seconds = UInt64(1_768_435_200 + month * 2_629_746)
            let line = Self.write(&record, [0], kind: .refused, seconds: seconds)
            names += line.split(separator: "/").dropFirst().prefix(1)
            #expect(line.contains("/2026:"), "\(line)")
        }
        #expect(
            names == [
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ])
    }
}
