internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Which member a client gets, and what binds it there.
    @Suite("Clients and their servers")
    struct Bindings {}
}

extension Scenarios.Bindings {
    /// Servers that answer with their own name.
    private final class Servers {
        let all: [ScriptedUpstream]

        init(_ count: Int) throws {
            all = try (0..<count).map { try ScriptedUpstream(answering: "server \($0)") }
        }

        deinit { for server in all { server.stop() } }

        var list: String { all.map(\.server).joined(separator: ", ") }
    }

    /// A folder of the proxy's user.
    private func stateFolder(in directory: TemporaryDirectory) throws -> String {
        let path = try directory.makeDirectory("state", mode: 0o700)
        if geteuid() == 0 {
            guard let entry = getpwnam(Edged.user),
                chown(path, entry.pointee.pw_uid, entry.pointee.pw_gid) == 0
            else { throw KitError.system("chown \(path)") }
        }
        return path
    }

    private func ask(
        _ edged: Edged, cookie: String? = nil, overTLS: Bool = false
    ) throws -> HTTPMessage {
        let client = try overTLS ? edged.connectTLS() : edged.connect()
        defer { client.close() }
        let extra = cookie.map { ["Cookie: theme=dark; \($0)"] } ?? []
        return try client.get("/", host: "app.test", extra: extra)
    }

    /// `EDGED=…` of an answer that sets it.
    private func pair(_ answer: HTTPMessage) -> String? {
        answer.all("set-cookie").first { $0.hasPrefix("EDGED=") }.map {
            String($0.prefix { $0 != ";" })
        }
    }

    @Test("a sticky client stays where it was, over reloads and a killed proxy with a state folder")
    func sticky() throws {
        let servers = try Servers(4)
        let directory = try TemporaryDirectory("state", othersMayEnter: true)
        let state = try stateFolder(in: directory)
        func body(_ list: String) -> String {
            oneSite(list, settings: "sticky: { cookie: EDGED }", more: "state: \(state)")
        }
        let edged = try Edged(body(servers.list))
        defer { edged.stop() }
        let first = try ask(edged, overTLS: true)
        let cookie = try #require(pair(first))
        #expect(
            first.all("set-cookie") == ["\(cookie); Path=/; HttpOnly; SameSite=Lax; Secure"])
        #expect(try ask(edged).all("set-cookie").allSatisfy { !$0.contains("Secure") })

        func expectBound(_ times: Int = 12) throws {
            for _ in 0..<times {
                let answer = try ask(edged, cookie: cookie)
                #expect(answer.text == first.text)
                #expect(answer.all("set-cookie").isEmpty)
            }
        }
        try expectBound()
        #expect(try Set((0..<24).map { _ in try ask(edged).text }).count == 4)

        try edged.reload(body(servers.all.reversed().map(\.server).joined(separator: ", ")))
        try expectBound()

        let old = try edged.proxyPID()
        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)
        try expectBound()

        for server in servers.all {
            for request in server.requests {
                #expect(request.all("cookie").allSatisfy { $0 == "theme=dark" })
            }
        }
    }

    @Test("a hash keeps a user with one server, whichever worker gets the connection")
    func hash() throws {
        let servers = try Servers(4)
        let edged = try Edged(
            oneSite(servers.list, settings: "balance: hash, hash: header X-User"))
        defer { edged.stop() }

        var found: Set<String> = []
        for user in 0..<12 {
            let answers = try (0..<6).map { _ in
                try edged.get(extra: ["X-User: user \(user)"]).text
            }
            #expect(Set(answers).count == 1)
            found.formUnion(answers)
        }
        #expect(found.count >= 3)
    }

    @Test("a late answer is asked of another server as well, and the client hardly waits")
    func hedge() throws {
        let late = try ScriptedUpstream([.readRequest, .hold])
        let prompt = try ScriptedUpstream(answering: "prompt")
        defer {
            late.stop()
            prompt.stop()
        }
        let edged = try Edged(
            oneSite(late.server, prompt.server, settings: "retries: { hedge: 100ms }"))
        defer { edged.stop() }

        for _ in 0..<6 {
            let begun = Instant.now()
            #expect(try edged.get().text == "prompt")
            #expect(Duration(nanoseconds: Instant.now().nanoseconds(since: begun)) < .seconds(1))
        }

        #expect(!late.requests.isEmpty)
        #expect(try edged.metric("edged_upstream_hedges_total") == late.requests.count)
    }

    @Test("an upstream that is this proxy itself is a 508, not a storm", arguments: [1, 2])
    func loop(workers: Int) throws {
        let server = try ScriptedUpstream(answering: "ok")
        defer { server.stop() }
        var options = Edged.Options()
        options.workers = workers
        let edged = try Edged(oneSite(server.server), options)
        defer { edged.stop() }
        #expect(try edged.get(extra: ["CDN-Loop: other"]).text == "ok")
        let marks = try #require(server.requests.first).all("cdn-loop")
        #expect(marks.first == "other")
        #expect(marks.count == 2 && marks[1].hasPrefix("edged-"))

        try edged.reload(oneSite("\"\(edged.http)\""))
        let before = try edged.metric("edged_requests_total")
        let answer = try edged.get()

        #expect(answer.status == 508)
        #expect(answer.text == "loop_detected\n")
        #expect(try edged.failures("loop_detected") == 1)
        // Once from the client, once from ourselves.
        #expect(try edged.metric("edged_requests_total") - before == 2)
    }
}
