internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Bans for errors and by administrators, files of blocks, `edgectl limits`.
    @Suite("Bans and lists")
    struct LimitBans {}
}

extension Scenarios.LimitBans {
    /// POST is not allowed, and three of those ban.
    private func body(_ server: String, _ policy: String, more: String = "") -> String {
        """
        sites:
          - { hosts: app.test, upstream: app, methods: [GET], rate_limits: public }
        upstreams:
          app: { servers: [\(server)], health: off }
        rate_limits:
          public: { \(policy) }
        \(more)
        """
    }

    private static let errors = "errors: { limit: 3 per 1h, statuses: [405], ban: 1h }"

    @Test("Who has too many errors is banned, over reloads and restarts, until he is let in again")
    func errorsBan() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(body(upstream.server, Self.errors))
        defer { edged.stop() }

        for _ in 0..<4 { #expect(try edged.get(method: "POST").status == 405) }
        let refusal = try edged.get()

        #expect(refusal.status == 429)
        #expect(
            refusal["retry-after"].flatMap { Int($0) }.map { (3590...3601).contains($0) } == true)
        #expect(eventually { edged.log.contains("limits: banned client=127.0.0.1 policy=public") })
        try edged.reload(body(upstream.server, Self.errors, more: "# once more"))
        #expect(try edged.get().status == 429)
        let old = try edged.proxyPID()
        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)
        #expect(try edged.get().status == 429)

        let shown = try edged.edgectl("limits", "show", "127.0.0.1")
        #expect(shown.code == 5)
        #expect(shown.output.contains("public  banned for "), "\(shown.output)")
        let lifted = try edged.edgectl("limits", "unban", "127.0.0.1")
        #expect(lifted.output == "127.0.0.1: 1 bans lifted\n")
        #expect(try edged.get().status == 200)
        // What he has used up of his errors stands until it is forgiven.
        #expect(try edged.edgectl("limits", "reset", "127.0.0.1").output.contains("1 limits"))
        #expect(try edged.get(method: "POST").status == 405)
        #expect(try edged.get().status == 200)
    }

    @Test(
        "Administrators see who is refused by what, ban, and let in again; names outlive a restart"
    )
    func administrators() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let state = try TemporaryDirectory("state", othersMayEnter: true)
        defer { state.remove() }
        try #require(chmod(state.path, 0o777) == 0)
        let edged = try Edged(
            body(upstream.server, "requests: 2 per 1h", more: "state: \(state.path)"))
        defer { edged.stop() }
        var pid = try edged.proxyPID()
        #expect(try (0..<4).map { _ in try edged.get().status } == [200, 200, 429, 429])

        #expect(
            try eventually {
                try edged.edgectl("limits", "top").output.contains("127.0.0.1  2        public")
            })
        #expect(try edged.edgectl("limits", "reset", "127.0.0.1").code == 0)
        #expect(try edged.get().status == 200)
        let banned = try edged.edgectl("limits", "ban", "127.0.0.1", "--for", "1h")
        #expect(banned.code == 0 && banned.output.hasPrefix("127.0.0.1 is banned until "))
        #expect(try edged.get().status == 429)
        #expect(
            eventually(within: .seconds(8)) {
                FileManager.default.contents(atPath: state.file("bans"))?
                    .range(of: Data("127.0.0.1".utf8)) != nil
            })
        kill(pid, SIGKILL)
        pid = try edged.waitForProxy(otherThan: pid)

        let shown = try edged.edgectl("limits", "--json")
        #expect(shown.output.contains("\"client\": \"127.0.0.1\""), "\(shown.output)")
        #expect(try edged.get().status == 429)
        #expect(try edged.metric("edged_limit_banned_by_administrators") == 1)
        #expect(try edged.edgectl("limits", "unban", "127.0.0.1").code == 0)
        #expect(try edged.get().status == 200)
        // What makes no sense is refused.
        #expect(try edged.edgectl("limits", "ban", "10.0.0.0/8", "--for", "1h").code == 1)
        #expect(try edged.edgectl("limits", "ban", "here", "--for", "1h").code == 1)
        #expect(try edged.edgectl("limits", "ban", "10.0.0.1", "--for", "never").code == 2)
    }

    @Test(
        "A file of blocks is used as it changes; one that becomes bad stays what it was"
    )
    func files() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        var options = Edged.Options()
        options.files = ["drop.txt": "# nobody\n"]
        let edged = try Edged(
            body(upstream.server, "requests: 500 per 1h, deny_files: drop.txt"), options)
        defer { edged.stop() }
        func replace(_ text: String) throws {
            try edged.directory.write("drop.new", text)
            #expect(rename(edged.directory.file("drop.new"), edged.directory.file("drop.txt")) == 0)
        }
        #expect(try edged.get().status == 200)

        try replace("127.0.0.0/8  # us\n")
        #expect(try eventually { try edged.get().status == 403 })

        try replace("127.0.0.0/8\nwho?\n")
        #expect(try eventually { try edged.edgectl("limits").code == 5 })
        let shown = try edged.edgectl("limits").output
        #expect(shown.contains("line 2: 'who?' is no address and no block"), "\(shown)")
        #expect(try edged.edgectl("doctor").output.contains("line 2: 'who?'"))
        #expect(try edged.get().status == 403)
        #expect(try edged.metric("edged_limit_files_unusable") == 1)

        let explained = try edged.edgectl(
            "explain", "http://app.test:\(edged.http.port)/", "--from", "127.0.0.1")
        #expect(explained.output.contains("limits"), "\(explained.output)")
        #expect(explained.output.contains("public: requests 500 per 1h; deny"))
        #expect(explained.output.contains("127.0.0.1 is kept out by the policy public"))

        try replace("192.0.2.1\n")
        #expect(try eventually { try edged.get().status == 200 })
        #expect(try edged.edgectl("limits").code == 0)
        unlink(edged.directory.file("drop.txt"))
        let body = body(upstream.server, "requests: 400 per 1h, deny_files: drop.txt")
        try edged.configure(body)
        let refused = try edged.edgectl("reload")
        #expect(refused.code != 0)
        #expect(refused.errors.contains("drop.txt: No such file or directory"))
    }
}
