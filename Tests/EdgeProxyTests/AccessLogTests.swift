import CEdge
import EdgeCore
import EdgeTesting
import Foundation
import Testing

@testable import EdgeProxy

@Suite("Access log: a line per request, however it ends") struct AccessLogTests {
    private struct Site {
        let book: LogBook
        let bench: Bench

        init(
            members: Int = 1, includesQuery: Bool = false, bufferBytes: Int = 1 << 20,
            connectionsMax: Int = 16
        ) throws {
            book = try LogBook(bufferBytes: bufferBytes, includesQuery: includesQuery)
            var options = Bench.Options()
            options.members = members == 0 ? [] : (1...members).map { Bench.member($0) }
            options.accessLog = book.log
            options.connectionsMax = connectionsMax
            bench = try Bench(options)
        }

        func lines() throws -> [[String: Any]] { try book.lines(of: bench) }

        /// The only line there is.
        func line(_ location: SourceLocation = #_sourceLocation) throws -> [String: Any] {
            let all = try lines()
            #expect(all.count == 1, "\(all)", sourceLocation: location)
            return try #require(all.first, sourceLocation: location)
        }
    }

    private func text(_ line: [String: Any], _ key: String) -> String? { line[key] as? String }
    private func number(_ line: [String: Any], _ key: String) -> Int? {
        (line[key] as? NSNumber)?.intValue
    }

    // MARK: - The good end

    @Test("A request that went well: everything is there, and no reason")
    func complete() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client()

        bench.ring.receives(client, "POST /a/b?secret=1 HTTP/1.1\r\nHost: home.exa")
        bench.settle()
        bench.turn(after: .milliseconds(40))
        bench.ring.connectPolicy = { _ in nil }
        bench.send(client, "mple:8080\r\nContent-Length: 5\r\nX: y\r\n\r\nhe")
        bench.turn(after: .milliseconds(30))
        bench.ring.connects(bench.upstream)
        bench.settle()
        bench.turn(after: .milliseconds(20))
        bench.send(client, "llo")
        let request = bench.ring.takeSent(to: bench.upstream)
        bench.turn(after: .milliseconds(7))
        bench.send(
            bench.upstream, "HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        bench.turn(after: .milliseconds(3))
        bench.send(bench.upstream, "0\r\n\r\n")

        let line = try site.line()
        #expect(text(line, "kind") == "request")
        #expect(text(line, "listener") == "plain")
        #expect(text(line, "client") == "192.0.2.1")
        #expect(number(line, "client_port") == 40_000)
        #expect(line["tls"] is NSNull && line["sni"] is NSNull)
        #expect(text(line, "method") == "POST" && text(line, "path") == "/a/b")
        #expect(text(line, "host") == "home.example")
        #expect(text(line, "protocol") == "HTTP/1.1")
        #expect(number(line, "status") == 201 && line["reason"] is NSNull)
        #expect(line["violation"] == nil && line["truncated"] == nil)
        #expect(number(line, "bytes_received") == 5 && number(line, "bytes_sent") == 3)
        #expect(text(line, "upstream") == "app" && text(line, "member") == "10.0.0.1:8080")
        #expect(line["reused"] as? Bool == false)
        #expect(number(line, "retries") == 0 && number(line, "request") == 1)
        #expect(line["head_ms"] as? Double == 40)
        #expect(line["queue_ms"] as? Double == 0)
        #expect(line["connect_ms"] as? Double == 30)
        #expect(line["response_ms"] as? Double == 7)
        #expect(line["total_ms"] as? Double == 100)
        let id = try #require(text(line, "id"))
        #expect(request.contains("X-Request-ID: \(id)\r\n"))
    }

    @Test("The second request of a connection, on a connection that was used before")
    func reused() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client()
        for _ in 0..<2 {
            bench.send(client, bench.get())
            bench.send(bench.upstream, Bench.ok)
        }

        let lines = try site.lines()
        try #require(lines.count == 2)
        #expect(lines.map { number($0, "request") } == [1, 2])
        #expect(lines.map { $0["reused"] as? Bool } == [false, true])
        #expect(text(lines[0], "id") != text(lines[1], "id"))
    }

    @Test("Queries are written only where that is asked for")
    func query() throws {
        let site = try Site(includesQuery: true)
        let client = site.bench.client()
        site.bench.send(client, site.bench.get("/p?q=1?2"))
        site.bench.send(site.bench.upstream, Bench.ok)

        #expect(try text(site.line(), "path") == "/p?q=1?2")
    }

    @Test("A long path is cut, and the line says so")
    func truncated() throws {
        let site = try Site()
        let client = site.bench.client()
        let path = "/" + String(repeating: "x", count: 2_000)
        site.bench.send(client, site.bench.get(path))
        site.bench.send(site.bench.upstream, Bench.ok)

        let line = try site.line()
        #expect(text(line, "path") == String(path.prefix(AccessText.pathMax)))
        #expect(line["truncated"] as? Bool == true)
    }

    @Test("OPTIONS * and unknown methods are told as they came")
    func methods() throws {
        let site = try Site()
        let client = site.bench.client()
        site.bench.send(client, "OPTIONS * HTTP/1.1\r\nHost: home.example\r\n\r\n")
        site.bench.send(site.bench.upstream, Bench.ok)
        site.bench.send(client, "PURGE /x HTTP/1.0\r\nHost: home.example\r\n\r\n")
        site.bench.send(site.bench.upstream, Bench.ok)

        let lines = try site.lines()
        #expect(lines.map { text($0, "method") } == ["OPTIONS", "PURGE"])
        #expect(lines.map { text($0, "path") } == ["*", "/x"])
        #expect(lines.map { text($0, "protocol") } == ["HTTP/1.1", "HTTP/1.0"])
    }

    @Test("An upgraded connection has its line at its end, with the bytes of both directions")
    func tunnel() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client()
        bench.send(client, RequestTests.upgrade(bench))
        bench.send(bench.upstream, RequestTests.switching)
        bench.send(client, "12345")
        bench.send(bench.upstream, "123")
        #expect(try site.lines().isEmpty)
        bench.ring.ends(client)
        bench.settle()

        let line = try site.line()
        #expect(number(line, "status") == 101 && line["reason"] is NSNull)
        #expect(number(line, "bytes_received") == 5 && number(line, "bytes_sent") == 3)
        #expect(bench.block.sum(.requestDuration) == 0)
    }

    // MARK: - Answers of our own

    @Test("A redirect, and a request that finds no site")
    func unserved() throws {
        let site = try Site()
        let bench = site.bench
        bench.send(bench.client(Bench.redirectListener), bench.get("/there?x"))
        let line = try site.line()
        #expect(number(line, "status") == 308 && line["reason"] is NSNull)
        #expect(text(line, "listener") == "redirect" && text(line, "path") == "/there")
        #expect(line["upstream"] is NSNull && line["id"] is NSNull)

        bench.send(bench.client(), "GET / HTTP/1.1\r\nHost: nobody\r\n\r\n")
        let declined = try site.line()
        #expect(number(declined, "status") == 404 && text(declined, "reason") == "no_route")
        #expect(text(declined, "host") == "nobody")
    }

    @Test("A malformed head: status, reason and the name of the offence, but nothing of it")
    func violation() throws {
        let site = try Site()
        site.bench.send(
            site.bench.client(), "GET / HTTP/1.1\r\nHost: home.example\r\nSecret: a\n\"}\r\n\r\n")

        let line = try site.line()
        #expect(number(line, "status") == 400 && text(line, "reason") == "client_bad_request")
        #expect(text(line, "violation") == "bare_lf")
        #expect(line["method"] is NSNull && line["path"] is NSNull && line["protocol"] is NSNull)
    }

    @Test("An offence in a body that has begun is the end of that request, with its name")
    func bodyViolation() throws {
        let site = try Site()
        site.bench.send(
            site.bench.client(),
            "POST /b HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")

        let line = try site.line()
        #expect(number(line, "status") == 400 && text(line, "violation") == "bad_chunk_size")
        #expect(text(line, "path") == "/b")
    }

    @Test("A head that takes too long: 408, from its first byte on")
    func slowHead() throws {
        let site = try Site()
        site.bench.send(site.bench.client(), "GET / HT")
        site.bench.pass(.seconds(11))

        let line = try site.line()
        #expect(number(line, "status") == 408 && text(line, "reason") == "client_head_timeout")
        #expect(try #require(line["total_ms"] as? Double) >= 10_000)
    }

    @Test("A connection that finds no slot is told with its client")
    func refused() throws {
        let site = try Site(connectionsMax: 1)
        _ = site.bench.client()
        _ = site.bench.client()

        let line = try site.line()
        #expect(text(line, "kind") == "refused" && text(line, "reason") == "connection_limit")
        #expect(text(line, "client") == "192.0.2.2" && text(line, "listener") == "plain")
    }

    // MARK: - Failures

    @Test("No member takes it: 502 with the last reason, the last member and the retries")
    func noMember() throws {
        let site = try Site(members: 3)
        site.bench.ring.connectPolicy = { _ in -ECONNREFUSED }
        site.bench.send(site.bench.client(), site.bench.get())

        let line = try site.line()
        #expect(number(line, "status") == 502)
        #expect(text(line, "reason") == "upstream_connect_refused")
        #expect(text(line, "member") == "10.0.0.3:8080" && line["connect_ms"] is NSNull)
        #expect(try #require(number(line, "retries")) >= 2)
    }

    @Test("An upstream without an address: 503, and no member")
    func noAddress() throws {
        let site = try Site(members: 0)
        site.bench.send(site.bench.client(), site.bench.get())

        let line = try site.line()
        #expect(number(line, "status") == 503 && text(line, "reason") == "no_address")
        #expect(text(line, "upstream") == "app" && line["member"] is NSNull)
        #expect(line["reused"] is NSNull && line["queue_ms"] is NSNull)
    }

    @Test("An answer that is cut keeps its status and gets a reason")
    func cut() throws {
        let site = try Site()
        site.bench.send(site.bench.client(), site.bench.get())
        site.bench.send(
            site.bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd")
        site.bench.ring.ends(site.bench.upstream)
        site.bench.settle()

        let line = try site.line()
        #expect(number(line, "status") == 200 && text(line, "reason") == "upstream_truncated")
        #expect(number(line, "bytes_sent") == 4)
    }

    @Test("An answer that breaks the protocol is told with the name of the offence")
    func badAnswer() throws {
        let site = try Site()
        site.bench.send(site.bench.client(), site.bench.get())
        site.bench.send(site.bench.upstream, "HTTP/1.1 2000 OK\r\n\r\n")

        let line = try site.line()
        #expect(number(line, "status") == 502)
        #expect(text(line, "reason") == "upstream_bad_response")
        #expect(
            text(line, "violation") == "bad_status_line"
                || text(line, "violation") == "bad_status_code")
    }

    @Test("A client that leaves before an answer has no status; in a head, no request either")
    func clientGone() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client()
        bench.send(client, bench.get("/gone"))
        bench.ring.fails(client, ECONNRESET)
        bench.settle()
        let line = try site.line()
        #expect(line["status"] is NSNull && text(line, "reason") == "client_reset")
        #expect(text(line, "path") == "/gone")

        let other = bench.client()
        bench.send(other, "GET / HT")
        bench.ring.ends(other)
        bench.settle()
        let headless = try site.line()
        #expect(text(headless, "reason") == "client_closed" && headless["method"] is NSNull)
    }

    @Test("A TLS handshake that fails is told as such")
    func handshake() throws {
        let site = try Site()
        let client = site.bench.client(Bench.tlsListener)
        site.bench.send(client, "GET / HTTP/1.1\r\n\r\n")

        let line = try site.line()
        #expect(text(line, "kind") == "handshake" && text(line, "listener") == "tls")
        #expect(text(line, "reason") == "client_handshake_failed")
    }

    @Test("A connection of a TCP listener is told at its end, with its bytes and its member")
    func tcp() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "12345")
        bench.turn(after: .milliseconds(20))
        bench.send(bench.upstream, "123")
        #expect(try site.lines().isEmpty)
        bench.ring.ends(client)
        bench.settle()
        bench.ring.ends(bench.upstream)
        bench.settle()

        let line = try site.line()
        #expect(text(line, "kind") == "tcp" && text(line, "listener") == "tcp")
        #expect(line["reason"] is NSNull && line["method"] == nil && line["status"] == nil)
        #expect(number(line, "bytes_received") == 5 && number(line, "bytes_sent") == 3)
        #expect(text(line, "member") == "10.0.0.1:8080" && text(line, "upstream") == "app")
        #expect(line["connect_ms"] as? Double == 0 && line["total_ms"] as? Double == 20)
        #expect(bench.block.sum(.requestDuration) == 0)
    }

    @Test("A TCP connection on which nothing moves is ended for that reason, one that is cut too")
    func tcpFailures() throws {
        let site = try Site()
        let bench = site.bench
        _ = bench.client(Bench.tcpListener)
        bench.pass(.seconds(610))
        #expect(try text(site.line(), "reason") == "tunnel_timeout")

        _ = bench.client(Bench.tcpListener)
        bench.ring.fails(bench.upstream, ECONNRESET)
        bench.settle()
        #expect(try text(site.line(), "reason") == "upstream_reset")

        bench.ring.connectPolicy = { _ in -ECONNREFUSED }
        _ = bench.client(Bench.tcpListener)
        let line = try site.line()
        #expect(text(line, "reason") == "upstream_connect_refused")
        #expect(line["connect_ms"] is NSNull)
    }

    @Test("A silent client that is closed when its time is up is no failure: no line")
    func silent() throws {
        let site = try Site()
        _ = site.bench.client()
        site.bench.pass(.seconds(80))

        #expect(try site.lines().isEmpty)
    }

    @Test("What a stopping worker cuts is told")
    func stopping() throws {
        let site = try Site()
        site.bench.send(site.bench.client(), site.bench.get("/cut"))
        site.bench.worker.closeEverything()

        let buffer = site.book.log.buffers[0]
        #expect(buffer.hasLeft)
        let text = site.book.text(of: site.bench)
        #expect(text.split(separator: "\n").count == 1)
        #expect(text.contains("\"path\":\"/cut\"") && text.contains("\"reason\":\"draining\""))
    }

    // MARK: - The buffer

    @Test("A full buffer drops lines and counts them; nobody waits, and later lines are whole")
    func full() throws {
        let site = try Site(bufferBytes: 1 << 14)
        let client = site.bench.client()
        for _ in 0..<200 {
            site.bench.send(client, site.bench.get())
            site.bench.send(site.bench.upstream, Bench.ok)
        }

        let dropped = Int(site.bench.count(Counter.accessLogDropped))
        #expect(dropped > 100)
        #expect(site.book.log.buffers[0].droppedCount == dropped)
        #expect(site.bench.count(Counter.responses2xx) == 200)
        #expect(try site.lines().count == 200 - dropped)
        site.bench.send(client, site.bench.get("/after"))
        site.bench.send(site.bench.upstream, Bench.ok)
        #expect(try text(site.line(), "path") == "/after")
    }

    @Test("A few lines are handed over within a second")
    func housekeeping() throws {
        let site = try Site()
        site.bench.send(site.bench.client(), site.bench.get())
        site.bench.send(site.bench.upstream, Bench.ok)
        #expect(site.book.log.buffers[0].isFree(0))
        site.bench.pass(.milliseconds(1_100))

        #expect(!site.book.log.buffers[0].isFree(0))
    }

    @Test(
        "Another log in a snapshot: lines of before are in the old one, those of after in the new")
    func change() throws {
        let site = try Site()
        let bench = site.bench
        let client = bench.client()
        bench.send(client, bench.get("/1"))
        bench.send(bench.upstream, Bench.ok)
        bench.send(client, bench.get("/2"))
        let second = try LogBook()
        var options = bench.options
        options.accessLog = second.log
        bench.worker.handle(.apply(Bench.snapshot(2, options, options.members)))
        bench.send(bench.upstream, Bench.ok)

        #expect(site.book.log.buffers[0].hasLeft)
        let old = site.book.log.buffers[0]
        let bytes = UnsafeRawBufferPointer(start: old.start(of: 0), count: old.count(of: 0))
        #expect(String(decoding: bytes, as: UTF8.self).contains("\"path\":\"/1\""))
        #expect(try second.lines(of: bench).map { text($0, "path") } == ["/2"])

        options.accessLog = nil
        bench.worker.handle(.apply(Bench.snapshot(3, options, options.members)))
        #expect(second.log.buffers[0].hasLeft)
        bench.send(client, bench.get("/3"))
        options.accessLog = try LogBook().log
        bench.worker.handle(.apply(Bench.snapshot(4, options, options.members)))
        bench.send(bench.upstream, Bench.ok)
        #expect(options.accessLog?.buffers[0].count(of: 0) == 0)
    }

    // MARK: - Histograms

    @Test("Durations and answers are counted with the log off")
    func histograms() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.turn(after: .milliseconds(3))
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.block.sum(.requestDuration) == 3_000_000)
        #expect(bench.block.value(.requestDuration, bucket: Timing.bucket(of: 3_000_000)) == 1)
        #expect(bench.block.sum(.upstreamResponse) == 3_000_000)
    }
}
