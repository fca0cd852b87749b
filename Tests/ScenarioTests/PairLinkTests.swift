internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Two nodes")
    struct Pair {}
}

/// Two daemons that are each other's other node, on two loopback addresses.
final class LinkedNodes {
    let upstream: ScriptedUpstream
    let mint: CertificateMint
    let first: Edged
    let second: Edged
    private let ports: (UInt16, UInt16)
    private let sites: (_ isFirst: Bool) -> String

    /// - Parameters:
    ///   - more: further top-level lines of both configurations.
    ///   - sites: of one of them; nil: the usual site, of `upstream`.
    ///   - isPaired: false: no certificates are made.
    init(
        _ more: String = "", sites: ((_ isFirst: Bool) -> String)? = nil, isPaired: Bool = true
    ) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        self.upstream = upstream
        let sites = sites ?? { _ in oneSite(upstream.server) }
        self.sites = sites
        mint = try CertificateMint()
        let ports = (try freePort(), try freePort())
        self.ports = ports
        first = try Edged(
            sites(true) + Self.link(ports, isFirst: true) + more, mint: mint)
        second = try Edged(
            sites(false) + Self.link(ports, isFirst: false) + more, mint: mint)
        if isPaired { try pair() }
    }

    deinit { stop() }

    func stop() {
        first.stop()
        second.stop()
        upstream.stop()
    }

    private static func link(_ ports: (UInt16, UInt16), isFirst: Bool) -> String {
        let ends = ["127.0.0.1:\(ports.0)", "127.0.0.2:\(ports.1)"]
        let (own, peer) = isFirst ? (ends[0], ends[1]) : (ends[1], ends[0])
        return "pair: { listen: \"\(own)\", peer: \"\(peer)\" }\n"
    }

    func body(_ more: String, isFirst: Bool) -> String {
        sites(isFirst) + Self.link(ports, isFirst: isFirst) + more
    }

    /// As an administrator does it.
    func pair() throws {
        for node in [first, second] { try done(node.edgectl("pair", "init")) }
        try carry()
        try #require(isLinked)
    }

    /// Each pins what the other shows.
    func carry(_ words: String...) throws {
        for (node, other) in [(first, second), (second, first)] {
            let arguments = ["pair", "init", "--peer-certificate", certificate(of: other)] + words
            try done(node.edgectl(arguments))
        }
    }

    func certificate(of node: Edged) -> String { node.directory.file("pair/node.pem") }

    var isLinked: Bool {
        eventually(within: .seconds(15)) {
            [self.first, self.second].allSatisfy { node in
                (try? node.edgectl("status", "--json").output.contains(#""state": "linked""#))
                    == true
            }
        }
    }

    private func done(_ result: Edged.CommandResult) throws {
        guard result.code == 0 else { throw KitError(result.output + result.errors) }
    }
}

extension Edged {
    /// Runs edgectl against this daemon.
    func edgectl(_ words: [String]) throws -> CommandResult {
        let arguments = ["--socket", directory.file("admin.sock")] + words
        let (exit, output, errors) = try RunningProcess.run(
            Self.program("edgectl"), arguments, within: .seconds(60))
        guard case .code(let code) = exit else { throw KitError("edgectl ended by \(exit)") }
        return CommandResult(code: code, output: output, errors: errors)
    }

    /// Of the configuration in use.
    var fingerprint: String? {
        let output = try? edgectl("status", "--json").output
        return output?.split(separator: "\n").first { $0.contains("config_fingerprint") }
            .map(String.init)
    }
}

extension Scenarios.Pair {
    /// openssl s_client with one request.
    ///
    /// - Returns: whether the session was resumed.
    private func client(_ edged: Edged, _ words: String) throws -> Bool {
        let request = #"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"#
        let command =
            "printf '\(request)' | timeout 5 openssl s_client -ign_eof -servername app.test"
            + " -connect 127.0.0.1:\(edged.https.port) \(words) 2>&1"
        let output = try RunningProcess.run("sh", ["-c", command]).output
        try #require(output.contains("HTTP/1.1 200 "), "\(output)")
        return output.contains("Reused, TLSv1.")
    }

    /// Five sessions of one node, each brought to the other.
    private func resumed(_ version: String, from: Edged, on other: Edged) throws -> Int {
        var count = 0
        for number in 0..<5 {
            let file = from.directory.file("session\(number)")
            #expect(try !client(from, "-tls\(version) -sess_out \(file)"))
            if try client(other, "-tls\(version) -sess_in \(file)") { count += 1 }
        }
        return count
    }

    @Test(
        "A TLS session is resumed on the other node, 5 of 5, also after a rotation and a lost link",
        arguments: ["1_2", "1_3"])
    func sessions(version: String) throws {
        let run = try LinkedNodes()
        defer { run.stop() }

        #expect(try resumed(version, from: run.first, on: run.second) == 5)
        #expect(try resumed(version, from: run.second, on: run.first) == 5)

        for node in [run.first, run.second] {
            let old = try node.proxyPID()
            kill(old, SIGKILL)
            _ = try node.waitForProxy(otherThan: old)
            try #require(run.isLinked)
            #expect(try resumed(version, from: run.first, on: run.second) == 5)
            #expect(try resumed(version, from: run.second, on: run.first) == 5)
        }
    }

    @Test("Keys rotate for both nodes, while sessions go from one to the other")
    func rotation() throws {
        // A new key every two seconds.
        let run = try LinkedNodes("tls: { ticket_lifetime: 6s }\n")
        defer { run.stop() }
        let name = "edged_ticket_key_rotations_total"
        func rotations() throws -> Int {
            try run.first.metric(name) + run.second.metric(name)
        }
        for version in ["1_2", "1_3"] {
            for (one, other) in [(run.first, run.second), (run.second, run.first)] {
                let file = one.directory.file("rotated")
                #expect(try !client(one, "-tls\(version) -sess_out \(file)"))
                let before = try rotations()
                #expect(
                    eventually(within: .seconds(4)) { ((try? rotations()) ?? 0) > before })
                #expect(try client(other, "-tls\(version) -sess_in \(file)"))
            }
        }
    }

    @Test("With the link lost each node goes on, and its own sessions are resumed")
    func lost() throws {
        let run = try LinkedNodes()
        defer { run.stop() }
        run.second.stop()
        #expect(
            eventually(within: .seconds(10)) {
                (try? run.first.edgectl("pair", "status").code) == 5
            })

        let file = run.first.directory.file("own")
        for version in ["1_2", "1_3"] {
            #expect(try !client(run.first, "-tls\(version) -sess_out \(file)"))
            #expect(try client(run.first, "-tls\(version) -sess_in \(file)"))
        }
        #expect(try run.first.get("/").status == 200)
        #expect(try run.first.metric("edged_pair_up") == 0)
        let both = try run.first.edgectl("reload", "--pair")
        #expect(both.code == 1)
        #expect(both.errors.contains("without --pair this node alone is reloaded"))
    }

    @Test("Nodes that are not paired say so; differences are findings until there are none")
    func drift() throws {
        let run = try LinkedNodes(isPaired: false)
        defer { run.stop() }
        let unpaired = try run.first.edgectl("check", "--peer")
        #expect(unpaired.code == 5, "\(unpaired.errors)")
        #expect(unpaired.output.contains("pair: not paired: "))

        try run.pair()
        let different = try run.first.edgectl("check", "--peer")
        #expect(different.code == 5)
        #expect(different.output.contains("pair: certificate app.test: another one"))
        #expect(different.output.contains("pair: configuration: "))

        let same = try run.mint.leaf("app.test")
        for node in [run.first, run.second] { try node.writeCertificate("app", same) }
        #expect(
            eventually(within: .seconds(5)) {
                (try? run.first.edgectl("pair", "status").output.contains("certificate app"))
                    == false
            })
        let rest = try run.first.edgectl("pair", "status")
        // Their addresses are in the files.
        #expect(rest.output.contains("configuration: "))
        #expect(try run.first.metric("edged_pair_drift", "configuration") == 1)
        #expect(try run.first.metric("edged_pair_drift", "certificates") == 0)
        #expect(try run.first.metric("edged_pair_up") == 1)
    }

    @Test("A node that was set up anew is paired again: its certificate is pinned in place")
    func newCard() throws {
        let run = try LinkedNodes()
        defer { run.stop() }
        let made = try run.second.edgectl("pair", "init", "--replace")
        #expect(made.code == 0, "\(made.errors)")
        #expect(
            eventually(within: .seconds(10)) {
                (try? run.first.edgectl("pair", "status").code) == 5
            })
        let words = ["pair", "init", "--peer-certificate", run.certificate(of: run.second)]
        let refused = try run.first.edgectl(words)
        #expect(refused.code == 1)
        #expect(refused.errors.contains("another certificate is pinned"))

        #expect(try run.first.edgectl(words + ["--replace"]).code == 0)

        #expect(run.isLinked)
        #expect(try resumed("1_3", from: run.first, on: run.second) == 5)
    }

    @Test("An upgrade of either node takes the link along")
    func upgrade() throws {
        let run = try LinkedNodes()
        defer { run.stop() }
        for node in [run.first, run.second] {
            let file = node.directory.file("before")
            let other = node === run.first ? run.second : run.first
            #expect(try !client(node, "-tls1_3 -sess_out \(file)"))
            let result = try node.edgectl("upgrade")
            #expect(result.code == 0, "\(result.output) \(result.errors)")
            try #require(run.isLinked)
            #expect(try client(other, "-tls1_3 -sess_in \(file)"))
            #expect(try resumed("1_3", from: run.first, on: run.second) == 5)
            #expect(try resumed("1_2", from: run.second, on: run.first) == 5)
        }
    }

    @Test("A node whose DNS is dead serves with the addresses that the other one knows")
    func names() throws {
        let dns = try StandInDNS(records: ["app.home.test": [.address("127.0.0.1")]])
        defer { dns.stop() }
        let upstream = try ScriptedUpstream(answering: "by name")
        defer { upstream.stop() }
        let port = upstream.server.split(separator: ":").last.map { $0.filter(\.isNumber) } ?? ""
        let run = try LinkedNodes(
            sites: { isFirst in
                oneSite("\"app.home.test:\(port)\"")
                    + "resolvers: { dns: { servers: [\"\(isFirst ? "\(dns.address)" : "127.0.0.1:9")\"] } }\n"
            }, isPaired: false)
        defer { run.stop() }
        #expect(try run.first.get("/", host: "app.test").status == 200)
        #expect(try run.second.get("/", host: "app.test").status == 503)

        try run.pair()

        #expect(
            eventually(within: .seconds(5)) {
                (try? run.second.get("/", host: "app.test").status) == 200
            })
        #expect(try run.second.metric("edged_pair_names_taken_total") == 1)
        #expect(try run.first.metric("edged_pair_names_taken_total") == 0)
    }

    @Test("What one node finds down the other checks at once, and judges for itself")
    func hints() throws {
        let other = try ScriptedUpstream(answering: "ok")
        defer { other.stop() }
        let sick = try ScriptedUpstream(answering: "ok")
        // Nobody looks again for a minute of his own accord.
        let health = "health: { path: /, interval: 60s, rise: 1, fall: 1 }"
        let run = try LinkedNodes(sites: { _ in oneSite(other.server, sick.server, settings: health)
        })
        defer { run.stop() }
        func isDown(_ node: Edged) -> Bool {
            (try? node.edgectl("upstream", "list").output.contains(" down ")) == true
        }
        #expect(!isDown(run.second))

        sick.stop()
        for _ in 0..<6 { #expect(try run.first.get("/", host: "app.test").status == 200) }

        #expect(eventually(within: .seconds(8)) { isDown(run.second) })
        #expect(try run.second.metric("edged_pair_hints_total") >= 1)
    }

    @Test("Both nodes are reloaded, or neither")
    func reload() throws {
        let run = try LinkedNodes()
        defer { run.stop() }
        let nodes = [(run.first, true), (run.second, false)]
        let before = nodes.map { $0.0.fingerprint }
        #expect(before.allSatisfy { $0 != nil })

        // One of them has a mistake, whoever is asked.
        for (bad, isFirst) in nodes {
            for (node, first) in nodes {
                let more = first == isFirst ? "tls: { min_version: 1.7 }\n" : "http2: {}\n"
                try node.configure(run.body(more, isFirst: first))
            }
            for (node, _) in nodes {
                let result = try node.edgectl("reload", "--pair")
                #expect(result.code == 4, "\(result.output) \(result.errors)")
                #expect(result.errors.contains("min_version"))
                #expect(result.errors.contains("nothing has changed"))
            }
            #expect(nodes.map { $0.0.fingerprint } == before, "\(bad.configPath)")
        }

        for (node, isFirst) in nodes {
            try node.configure(
                run.body("timeouts: { keep_alive: 33s }\n", isFirst: isFirst))
        }
        let result = try run.first.edgectl("reload", "--pair")
        #expect(result.code == 0, "\(result.output) \(result.errors)")
        for (node, _) in nodes {
            #expect(try node.edgectl("config", "show", "--effective").output.contains("33s"))
            // Confirmed: it does not go back.
            #expect(try !node.edgectl("status").output.contains("unconfirmed"))
        }
        let again = try run.second.edgectl("reload", "--pair")
        #expect(again.code == 0)
        #expect(again.output.contains("unchanged"))

        // Other bytes are another configuration, whatever they mean.
        let known = nodes.map { $0.0.fingerprint }
        for (node, isFirst) in nodes {
            try node.configure(
                run.body("timeouts: { keep_alive: 33s }  # why\n", isFirst: isFirst))
        }
        #expect(try run.second.edgectl("reload", "--pair").code == 0)
        for (index, node) in nodes.enumerated() {
            #expect(node.0.fingerprint != known[index])
            #expect(try !node.0.edgectl("status").output.contains("unconfirmed"))
        }
    }

    @Test("A reload on trial is not asked for again, and neither is a change of the link")
    func notBoth() throws {
        let run = try LinkedNodes()
        defer { run.stop() }
        try run.second.configure(run.body("timeouts: { keep_alive: 34s }\n", isFirst: false))
        #expect(try run.second.edgectl("reload", "--confirm", "60s").code == 0)
        for node in [run.first, run.second] {
            let result = try node.edgectl("reload", "--pair")
            #expect(result.code != 0, "\(result.output)")
            #expect(
                result.errors.contains("waits for its confirmation"),
                "\(result.output) \(result.errors)")
        }
        #expect(try run.second.edgectl("confirm").code == 0)

        try run.first.configure(
            run.body("timeouts: { keep_alive: 34s }\n", isFirst: true)
                .replacingOccurrences(of: "pair: {", with: "pair: { directory: elsewhere,"))
        let moved = try run.second.edgectl("reload", "--pair")
        #expect(moved.code == 4, "\(moved.output) \(moved.errors)")
        #expect(moved.errors.contains("reload each node by itself"))
        #expect(run.isLinked)
    }

    @Test("The other node fails in the midst of it: this one has nothing for good, and says so")
    func between() throws {
        let run = try LinkedNodes()
        defer { run.stop() }
        try run.second.configure(run.body("timeouts: { keep_alive: 35s }\n", isFirst: false))
        // A name that nobody knows: this node takes its time.
        try run.first.configure(
            run.body("resolvers: { dns: { servers: [\"127.0.0.1:9\"] } }\n", isFirst: true)
                .replacingOccurrences(
                    of: "servers: [\"127.0.0.1:\(run.upstream.port)",
                    with: "servers: [\"slow.home.test:80\", \"127.0.0.1:\(run.upstream.port)"))
        let proxy = try run.second.proxyPID()
        let asked = try RunningProcess(
            Edged.program("edgectl"),
            ["--socket", run.first.directory.file("admin.sock"), "reload", "--pair"])
        defer { asked.stop() }
        try #require(
            eventually(within: .seconds(10)) {
                run.second.log.split(separator: "\n").contains {
                    $0.contains("reload on trial by ") && $0.hasSuffix(": done")
                }
            })
        kill(proxy, SIGKILL)

        #expect(asked.waitForExit(within: .seconds(30)) == .code(1))

        #expect(asked.standardError.contains("whoever has begun goes back by itself"))
        #expect(
            eventually(within: .seconds(5)) {
                (try? run.first.edgectl("status").output.contains("unconfirmed")) == true
            })
    }
}
