internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Access log")
    struct AccessLogs {}
}

extension Scenarios.AccessLogs {
    /// A folder that the proxy's user may write to, and what stands in its files.
    private final class Book {
        let folder: TemporaryDirectory

        init() throws {
            folder = try TemporaryDirectory("logs", othersMayEnter: true)
            guard geteuid() == 0, let entry = getpwnam(Edged.user) else { return }
            guard chown(folder.path, entry.pointee.pw_uid, entry.pointee.pw_gid) == 0 else {
                throw KitError.system("chown \(folder.path)")
            }
        }

        var path: String { folder.file("access.log") }

        func section(_ name: String = "access.log", more: String = "") -> String {
            "access_log: { path: \(folder.file(name))\(more) }"
        }

        func lines(_ name: String = "access.log") throws -> [[String: Any]] {
            try folder.read(name).split(separator: "\n").map { line in
                let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
                guard let object = value as? [String: Any] else { throw KitError("not an object") }
                return object
            }
        }

        /// Paths of requests, in the order of the file.
        func paths(_ name: String = "access.log") throws -> [String] {
            try lines(name).compactMap { $0["path"] as? String }
        }
    }

    private func dictionary(_ lines: [[String: Any]], path: String) throws -> [String: Any] {
        let found = lines.filter { $0["path"] as? String == path }
        #expect(found.count == 1, "\(path)")
        return try #require(found.first)
    }

    @Test("requests and failed handshakes have a line each, written before a stop is over")
    func kinds() throws {
        let upstream = try ScriptedUpstream(answering: "hello")
        defer { upstream.stop() }
        let book = try Book()
        let edged = try Edged(oneSite(upstream.server, more: book.section()))
        defer { edged.stop() }

        let client = try edged.connectTLS()
        #expect(try client.get("/tls?secret=1", host: "app.test").text == "hello")
        #expect(try client.get("/again", host: "app.test").text == "hello")
        client.close()
        #expect(try edged.get("/upload", method: "POST", body: "12345").status == 200)
        #expect(try edged.get("/lost", host: "nobody.test").status == 404)
        let rude = try edged.connect()
        try rude.send("GET /rude HTTP/1.1\r\nHost: app.test\r\nA: b\nC: \"}\r\n\r\n")
        _ = rude.readToEnd()
        rude.close()
        let plain = try RawClient(edged.https)
        try plain.send("GET / HTTP/1.1\r\n\r\n")
        _ = plain.readToEnd()
        plain.close()
        let requests = try edged.metric("edged_requests_total")
        edged.process.signal(SIGTERM)
        #expect(edged.process.waitForExit(within: .seconds(8)) == .code(0))

        let lines = try book.lines()
        #expect(lines.count == requests + 2)
        let first = try dictionary(lines, path: "/tls")
        #expect(first["tls"] as? String == "TLSv1.3" && first["sni"] as? String == "app.test")
        #expect(first["status"] as? Int == 200 && first["reason"] is NSNull)
        #expect(first["bytes_sent"] as? Int == 5 && first["listener"] as? String == "https")
        #expect(first["client"] as? String == "127.0.0.1")
        #expect(first["member"] as? String == "127.0.0.1:\(upstream.port)")
        #expect(try dictionary(lines, path: "/again")["request"] as? Int == 2)
        #expect(try dictionary(lines, path: "/upload")["bytes_received"] as? Int == 5)
        #expect(try dictionary(lines, path: "/lost")["reason"] as? String == "no_route")
        let offence = lines.filter { $0["violation"] as? String == "bare_lf" }
        #expect(offence.count == 1 && offence.first?["status"] as? Int == 400)
        let handshakes = lines.filter { $0["kind"] as? String == "handshake" }
        #expect(handshakes.count == 1)
        #expect(handshakes.first?["reason"] as? String == "client_handshake_failed")
    }

    @Test("after a rename, USR1 begins a new file, and no line is lost")
    func rotation() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let book = try Book()
        let edged = try Edged(oneSite(upstream.server, more: book.section()))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }
        for number in 0..<20 { _ = try client.get("/\(number)", host: "app.test") }

        #expect(rename(book.path, book.path + ".1") == 0)
        let mark = edged.process.mark
        edged.process.signal(SIGUSR1)
        for number in 20..<40 { _ = try client.get("/\(number)", host: "app.test") }
        try edged.process.waitForLine(containing: "opened anew", after: mark)
        for number in 40..<60 { _ = try client.get("/\(number)", host: "app.test") }

        let isWhole = eventually {
            let count = try? book.paths("access.log.1").count + book.paths().count
            return count == 60
        }
        #expect(isWhole)
        #expect(try book.paths("access.log.1") + book.paths() == (0..<60).map { "/\($0)" })
        #expect(try book.paths().contains("/59"))
    }

    @Test("reloads turn it on, move it and turn it off; no line is lost")
    func reloads() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let book = try Book()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }
        func request(_ path: String) throws {
            #expect(try client.get(path, host: "app.test").status == 200)
        }

        try request("/before")
        try edged.reload(oneSite(upstream.server, more: book.section("one.log")))
        for number in 0..<10 { try request("/one/\(number)") }
        try edged.reload(
            oneSite(upstream.server, more: book.section("two.log", more: ", query: yes")))
        for number in 0..<10 { try request("/two/\(number)?q") }
        try edged.reload(oneSite(upstream.server))
        try request("/after")

        #expect(eventually { (try? book.paths("two.log").count) == 10 })
        #expect(try book.paths("one.log") == (0..<10).map { "/one/\($0)" })
        #expect(try book.paths("two.log") == (0..<10).map { "/two/\($0)?q" })
    }

    @Test(
        "a file that can't be written: no start, no reload, and the check says so",
        arguments: ["none/access.log", "root.pem/access.log"])
    func unwritable(path: String) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let bad = oneSite(upstream.server, more: "access_log: { path: \(path) }")
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        try edged.configure(bad)

        let check = try RunningProcess.run(
            Edged.program("edged"), ["--check", "-c", edged.configPath])
        let reload = try edged.edgectl("reload")

        #expect(check.exit == .code(78))
        #expect(check.errors.contains("access_log.path: "), "\(check.errors)")
        #expect(reload.code == 4)
        #expect(reload.errors.contains("access_log.path: "), "\(reload.errors)")
        #expect(try edged.get().text == "ok")
        edged.stop()
        var options = Edged.Options()
        options.waitsForServing = false
        let other = try Edged(bad, options)
        defer { other.stop() }
        #expect(other.process.waitForExit(within: .seconds(5)) == .code(78))
    }

    @Test("the check makes no file, and as root looks with the rights of the proxy's user")
    func check() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let book = try Book()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        func check(_ section: String) throws -> ProcessExit {
            try edged.configure(oneSite(upstream.server, more: section))
            return try RunningProcess.run(
                Edged.program("edged"), ["--check", "-c", edged.configPath]
            ).exit
        }

        #expect(try check(book.section()) == .code(0))
        #expect(access(book.path, F_OK) != 0)
        guard geteuid() == 0 else { return }
        try book.folder.write("access.log", "", mode: 0o600)
        #expect(try check(book.section()) == .code(78))
    }

    @Test("a pipe that is not read costs lines, which are counted, and nobody's time")
    func blocked() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let book = try Book()
        #expect(mkfifo(book.folder.file("pipe"), 0o666) == 0)
        chmod(book.folder.file("pipe"), 0o666)
        let reader = open(book.folder.file("pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(
            oneSite(upstream.server, more: book.section("pipe", more: ", buffer: 64KiB")), options)
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<1_200 { #expect(try client.get("/x", host: "app.test").status == 200) }
        let dropped = try edged.metric("edged_access_log_dropped_total")
        #expect(dropped > 100)
        // Whoever reads at last gets what was kept, and learns how many are missing.
        var text = ""
        var block = [UInt8](repeating: 0, count: 1 << 16)
        let isTold = eventually(within: .seconds(6)) {
            let count = read(reader, &block, block.count)
            if count > 0 { text += String(decoding: block.prefix(count), as: UTF8.self) }
            let kept = text.split(separator: "\n").count { $0.contains("\"path\":\"/x\"") }
            return kept + dropped == 1_200
                && text.contains("\"kind\":\"dropped\",\"lines\":\(dropped)}")
        }
        #expect(isTold, "\(dropped) dropped")
        #expect(try edged.metric("edged_request_duration_seconds_count") >= 1_200)
    }

    @Test("standard output takes the lines as well")
    func standardOutput() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "access_log: { path: stdout }"))
        defer { edged.stop() }
        _ = try edged.get("/here")

        #expect(
            eventually {
                edged.process.standardOutput.contains("\"path\":\"/here\"")
            })
    }
}
