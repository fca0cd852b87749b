import EdgeConfig
import EdgeControlAPI
import EdgeCore
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeDaemon
@testable import EdgeProxy

@Suite("What becomes of a request") struct ExplainTests {
    private static func bundle(_ text: String) -> ConfigurationBundle {
        ConfigurationBundle(main: .init(path: "main.yaml", bytes: Array(text.utf8)))
    }

    private static func prepared(_ text: String) throws -> (Preparation, RuntimeSnapshot) {
        let preparation = try Preparation.prepare(bundle(text), previous: nil, workers: nil)
        let snapshot = SnapshotBuilder().build(preparation, workers: 1) { upstream in
            upstream.servers.compactMap { server in
                guard case .address(let address) = server.host else { return nil }
                return RankedMember(address: address)
            }
        }
        return (preparation, snapshot)
    }

    /// Names of one view, a wildcard of it, names of both, and some of the public view's own.
    private static func certificates(_ folder: TemporaryDirectory) throws -> String {
        let mint = try CertificateMint()
        let path = try folder.makeDirectory("certs")
        let own = try folder.makeDirectory("certs/public")
        try mint.leaf("a.lan.example", "*.lan.example").writeBundle("lan", in: path)
        try mint.leaf("a.open.example", "all.open.example").writeBundle("open", in: path)
        try mint.leaf("b.open.example", "c.open.example").writeBundle("own", in: own)
        return path
    }

    @Test("It never disagrees with what a worker does, whatever the configuration")
    func reality() throws {
        let folder = try TemporaryDirectory("explain")
        defer { folder.remove() }
        let certificates = try Self.certificates(folder)
        try seeded(20_261_123) { random in
            var tally: [ExplainReply.Outcome: Int] = [:]
            var statuses: Set<Int64> = []
            var accepted = 0
            for _ in 0..<120 {
                var sites = RandomSites(random: SeededRandom(seed: random.next()))
                let text = sites.text(certificates: certificates)
                guard let (preparation, snapshot) = try? Self.prepared(text) else { continue }
                accepted += 1
                let explainer = Explainer(
                    preparation: preparation, snapshot: snapshot, now: Self.seconds, members: nil)
                let worker = try ExplainedWorker(snapshot)
                for _ in 0..<25 {
                    let reply = try compare(explainer, worker, &random, text)
                    tally[reply.outcome, default: 0] += 1
                    if let status = reply.status { statuses.insert(status) }
                }
            }
            // It has seen everything that there is.
            #expect(accepted >= 60, "\(accepted) configurations, \(random)")
            for outcome in ExplainReply.Outcome.allCases {
                #expect(tally[outcome, default: 0] > 20, "\(outcome): \(tally)")
            }
            #expect(
                statuses.isSuperset(of: [302, 308, 400, 403, 404, 405, 421, 503]), "\(statuses)")
        }
    }

    @Test("A served certificate for a passed-through name is found, nothing the other way round")
    func coalescing() throws {
        let folder = try TemporaryDirectory("coalescing")
        defer { folder.remove() }
        let certificates = try Self.certificates(folder)
        func findings(_ sites: String) throws -> [String] {
            let (preparation, snapshot) = try Self.prepared(
                """
                version: 1
                listeners: [{ name: secure, port: 443, protocol: tls }]
                certificates: { directory: \(certificates) }
                views: { lan: { interfaces: [eth0] }, public: { interfaces: [wg0] } }
                sites: [\(sites)]
                upstreams: { u: { servers: ["10.0.0.1:80"] }, v: { servers: ["10.0.0.2:443"] } }
                """)
            return Coalescing(preparation, snapshot.routing, at: Self.seconds).findings
        }
        let served = "{ hosts: { lan: a.lan.example, public: a.open.example }, upstream: u }"

        let found = try findings(
            served + ", { hosts: { lan: [b.lan.example, b.other.example] }, passthrough: v }")
        #expect(found.count == 1 && found[0].contains("for 'b.lan.example' too"), "\(found)")
        #expect(found[0].hasPrefix("view 'lan': \(certificates)/lan.pem, which clients of"))
        // In another view, for one protocol that no requests are made over, with a name of its own.
        for other in [
            "{ hosts: { public: b.lan.example }, passthrough: v }",
            "{ hosts: { lan: b.lan.example }, passthrough: v, alpn: acme-tls/1 }",
            "{ hosts: { lan: b.other.example }, passthrough: v }",
        ] {
            #expect(try findings("\(served), \(other)") == [], "\(other)")
        }
    }

    @Test("Questions that nobody can answer have a reason")
    func unclear() throws {
        let folder = try TemporaryDirectory("unclear")
        defer { folder.remove() }
        var sites = RandomSites(random: SeededRandom(seed: 1))
        var prepared: (Preparation, RuntimeSnapshot)?
        let certificates = try Self.certificates(folder)
        for _ in 0..<50 where prepared == nil {
            prepared = try? Self.prepared(sites.text(certificates: certificates))
        }
        let (preparation, snapshot) = try #require(prepared)
        let explainer = Explainer(
            preparation: preparation, snapshot: snapshot, now: Self.seconds, members: nil)
        func refusal(_ url: String, _ change: (inout ExplainQuestion) -> Void = { _ in }) -> String?
        {
            var question = ExplainQuestion(url: url)
            question.view = "lan"
            change(&question)
            do throws(ExplainRefusal) {
                _ = try explainer.explain(question)
                return nil
            } catch {
                return error.text
            }
        }

        #expect(refusal("http://all.lan.example/u0") == nil)
        #expect(refusal("ftp://all.lan.example/")?.contains("is no URL") == true)
        #expect(refusal("https://all.lan.example:0/")?.contains("is no URL") == true)
        #expect(refusal("http://a/") { $0.view = "lam" }?.contains("did you mean 'lan'") == true)
        #expect(refusal("http://a/") { $0.view = nil }?.contains("say which view") == true)
        #expect(refusal("http://a/") { $0.from = "here" }?.contains("no address") == true)
        #expect(refusal("http://a/") { $0.method = "G T" }?.contains("answered with 400") == true)
    }

    private static var seconds: Int64 { Int64(WallClock.now() / 1_000_000_000) }

    private func compare(
        _ explainer: Explainer, _ worker: ExplainedWorker, _ random: inout SeededRandom,
        _ configuration: String
    ) throws -> ExplainReply {
        let names = RandomSites.names + ["all", "none"]
        func name(_ random: inout SeededRandom) -> String {
            let domain = random.chance(1, of: 2) ? "lan" : "open"
            return names[Int.random(in: 0..<names.count, using: &random)] + ".\(domain).example"
        }
        let host = name(&random)
        let (scheme, listener) = [("http://", 0), ("https://", 1), ("http://", 2)][
            random.chance(1, of: 8) ? 2 : random.chance(1, of: 2) ? 1 : 0]
        let port = listener == 2 ? ":8080" : ""
        let target = RandomSites.paths[
            Int.random(in: 0..<RandomSites.paths.count, using: &random)]
        let interface: Int32 = random.chance(1, of: 12) ? 1 : random.chance(1, of: 2) ? 2 : 3
        let from = ["192.0.2.7", "192.0.2.9", "198.51.100.200", "203.0.113.5"][
            Int.random(in: 0..<4, using: &random)]
        var question = ExplainQuestion(url: scheme + host + port + target)
        question.interface = ["", "lo", "eth0", "wg0"][Int(interface)]
        question.from = from
        question.method = random.chance(1, of: 4) ? "DELETE" : "GET"
        question.protocols = ["http/1.1"]
        if random.chance(1, of: 6) {
            question.serverName = "none"
        } else if random.chance(1, of: 5) {
            question.serverName = name(&random)
        }
        let reply = try explainer.explain(question)
        var serverName: String?
        if listener == 1 {
            serverName = question.serverName == "none" ? "" : question.serverName ?? host
        }
        let source = try #require(SocketAddress(address: from, port: 40_000))
        let seen = try worker.observe(
            listener: listener, interface: interface, from: source, serverName: serverName,
            "\(question.method) \(target) HTTP/1.1\r\nHost: \(host)\(port)\r\n"
                + "Origin: \(scheme)\(host)\(port)\r\n\r\n")
        #expect(
            agrees(reply, seen),
            "\(question)\n\(reply.text)\n\(seen)\n\(seen.lines)\n\(configuration)\n\(random)")
        return reply
    }

    private func agrees(_ reply: ExplainReply, _ seen: ExplainedWorker.Observation) -> Bool {
        let member = reply.upstream.flatMap { name in
            Int(name.dropFirst()).flatMap { SocketAddress("10.0.0.\($0 + 1):80") }
        }
        switch reply.outcome {
        case .forwarded:
            let head = seen.lines.filter {
                !$0.hasPrefix("X-Request-ID: ") && !$0.hasPrefix("CDN-Loop: ")
            }
            return seen.member == member && head == reply.head
                && head.first == "\(reply.head[0])"
                && reply.head[0].contains(" \(reply.target ?? "") ")
                && head.dropFirst().first == "Host: \(reply.host ?? "")"
        case .passthrough:
            return seen.member == member && seen.forwarded.first == 0x16
        case .redirected:
            return seen.status.map { Int64($0) } == reply.status && seen.location == reply.location
                && seen.member == nil
        case .refused:
            return seen.status.map { Int64($0) } == reply.status && seen.member == nil
        case .alert: return seen.hasAlert && seen.member == nil
        case .closed: return seen.isClosed && seen.member == nil
        }
    }
}
