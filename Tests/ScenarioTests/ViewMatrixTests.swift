internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// What a client gets follows from where it comes from, whatever it says: compared with
    /// `ViewMatrix`, which is written without the product's code.
    @Suite("Views × names × ways of asking")
    struct ViewMatrixes {}
}

extension Scenarios.ViewMatrixes {
    private typealias View = ViewMatrix.View
    private typealias Opening = ViewMatrix.Opening
    private typealias Authority = ViewMatrix.Authority

    /// The daemon with an upstream per site that says its own name.
    private final class Stage {
        let edged: Edged
        private let upstreams: [String: ScriptedUpstream]
        private let identities: [Authority: MintedCertificate]
        /// Names of certificate files, and of upstreams that end TLS themselves, by fingerprint.
        let shown: [String: String]
        private var pathCount = 0

        init() throws {
            let mint = try CertificateMint()
            let authorities = try Authority.allCases.map {
                ($0, try CertificateMint(name: $0.rawValue))
            }
            identities = try Dictionary(
                uniqueKeysWithValues: authorities.map { ($0, try $1.leaf("\($0) member")) })
            var upstreams: [String: ScriptedUpstream] = [:]
            var shown: [String: String] = [:]
            for cell in ViewMatrix.cells where upstreams[cell.upstream] == nil {
                let leaf = try mint.leaf(cell.pattern)
                if cell.isPassthrough { shown[leaf.fingerprint] = cell.upstream }
                upstreams[cell.upstream] = try ScriptedUpstream(
                    tls: cell.isPassthrough ? ServerTLS(leaf, alpn: ["http/1.1"]) : nil,
                    answering: cell.upstream)
            }
            self.upstreams = upstreams
            var options = Edged.Options()
            options.certificates = ViewMatrix.certificates
            options.fallback = "default.test"
            options.files = Dictionary(
                uniqueKeysWithValues: authorities.map { ("\($0).pem", $1.rootPEM) })
            edged = try Edged(Self.configuration(upstreams), options, mint: mint)
            for (name, certificate) in edged.certificates {
                shown[certificate.fingerprint] = name
            }
            self.shown = shown
        }

        func stop() {
            edged.stop()
            for upstream in upstreams.values { upstream.stop() }
        }

        /// Sites with one upstream in several views are one site.
        private static func configuration(_ upstreams: [String: ScriptedUpstream]) -> String {
            var lines = [
                "views:", "  lan: { sources: 127.0.0.1 }",
                "  public: { sources: 127.0.0.2, proxy_protocol: required, "
                    + "trusted_proxies: 127.0.0.2, unknown: refuse }",
                "  office: { sources: 127.0.0.3, unknown: front.office.test, "
                    + "client_certificates: { ca: staff.pem, required: no, field: X-Member } }",
                "sites:",
            ]
            for name in upstreams.keys.sorted() {
                let cells = ViewMatrix.cells.filter { $0.upstream == name }
                let hosts = cells.map { "\($0.view.rawValue): \"\($0.pattern)\"" }
                let kind = cells[0].isPassthrough ? "passthrough" : "upstream"
                let asks = cells[0].asking.map {
                    ", client_certificates: { ca: \($0.authority).pem, field: X-Member }"
                }
                lines.append(
                    "  - { hosts: { \(hosts.joined(separator: ", ")) }, \(kind): \(name)"
                        + "\(asks ?? "") }")
            }
            lines.append("upstreams:")
            for (name, upstream) in upstreams {
                lines.append("  \(name): { servers: [\(upstream.server)], health: off }")
            }
            return lines.joined(separator: "\n")
        }

        func tls(
            _ serverName: String?, _ authority: Authority?, alpn: String = "http/1.1",
            versions: ClosedRange<TLSVersion> = .v12 ... .v13
        ) throws -> ClientTLS {
            try ClientTLS(
                serverName: serverName, alpn: [alpn],
                identity: authority.flatMap { identities[$0] },
                versions: versions)
        }

        func connect(
            _ view: View, _ tls: ClientTLS?, resuming ticket: ClientTicket? = nil
        ) throws -> RawClient {
            try RawClient(
                tls == nil ? edged.http : edged.https, tls: tls, from: view.source,
                before: view.preamble, resuming: ticket)
        }

        /// Another one on each call.
        func nextPath() -> String {
            pathCount += 1
            return "/\(pathCount)"
        }

        /// The request that an upstream was sent under this path.
        func request(_ upstream: String, _ path: String) -> HTTPMessage? {
            upstreams[upstream]?.requests.last { $0.target == path }
        }

    }

    /// One connection of the matrix, for messages.
    private struct Way: CustomStringConvertible {
        let view: View
        let serverName: String?
        let authority: Authority?
        let isHTTP2: Bool
        var description: String {
            "\(view) SNI \(serverName ?? "none") \(isHTTP2 ? "h2" : "h1") "
                + "certificate \(authority.map { "\($0)" } ?? "none")"
        }
    }

    /// How it ended for one name.
    private struct Seen: Equatable {
        let status: Int
        let text: String
    }

    // MARK: - The matrix

    @Test(
        "every name asked for in every way gets its own view's answer and certificate",
        arguments: ViewMatrix.View.allCases)
    func matrix(view: ViewMatrix.View) throws {
        let stage = try Stage()
        defer { stage.stop() }
        var count = 0

        for serverName in [nil] + ViewMatrix.names.map(Optional.some) {
            let opening = ViewMatrix.open(view, serverName: serverName)
            for authority in [nil] + Authority.allCases.map(Optional.some) {
                for isHTTP2 in [false, true] {
                    let way = Way(
                        view: view, serverName: serverName, authority: authority, isHTTP2: isHTTP2)
                    if case .passthrough = opening, isHTTP2 { continue }
                    count += try ask(stage, way, opening)
                }
            }
        }

        // Nothing was left out: each outcome of the model is compared.
        #expect(count > 900)
    }

    /// - Returns: how many answers were compared.
    private func ask(_ stage: Stage, _ way: Way, _ opening: Opening) throws -> Int {
        let tls = try stage.tls(
            way.serverName, way.authority, alpn: way.isHTTP2 ? "h2" : "http/1.1")
        var isLetIn = opening != .refused
        if case .terminated(_, let asking) = opening {
            isLetIn = ViewMatrix.lets(asking, way.authority)
        }
        guard isLetIn else {
            expectRefusal(stage, way, opening, tls)
            return 1
        }
        if way.isHTTP2 {
            let client = try HTTP2Client(
                stage.edged.https, tls: tls, from: way.view.source, before: way.view.preamble)
            defer { client.close() }
            expectCertificate(stage, way, opening, client.serverFingerprint)
            // One connection for all names, as browsers coalesce them, and in both orders.
            for name in ViewMatrix.names + ViewMatrix.names.reversed() {
                let path = stage.nextPath()
                let answer = try client.get(path, host: name, with: [("x-member", "CN=admin")])
                let seen = Seen(status: answer.status, text: answer.text)
                compare(way, opening, name, seen)
                expectMember(stage, way, name, seen, path)
            }
            return ViewMatrix.names.count * 2
        }
        var client = try stage.connect(way.view, tls)
        defer { client.close() }
        expectCertificate(stage, way, opening, client.serverFingerprint)
        for name in ViewMatrix.names {
            if client.ending != nil { client = try stage.connect(way.view, tls) }
            let path = stage.nextPath()
            let answer = try client.get(path, host: name, extra: ["X-Member: CN=admin"])
            let seen = Seen(status: answer.status, text: answer.text)
            compare(way, opening, name, seen)
            expectMember(stage, way, name, seen, path)
        }
        return ViewMatrix.names.count
    }

    private func compare(_ way: Way, _ opening: Opening, _ name: String, _ seen: Seen) {
        let expected = ViewMatrix.request(
            way.view, opening, serverName: way.serverName, host: name)
        switch expected {
        case .served(let upstream):
            #expect(seen == Seen(status: 200, text: upstream), "\(way) → \(name)")
        case .status(let status): #expect(seen.status == status, "\(way) → \(name)")
        }
        // Whatever the model says: what has answered is one of this view's.
        if seen.status == 200 {
            let owners = ViewMatrix.cells.filter { $0.upstream == seen.text }.map(\.view)
            #expect(owners.contains(way.view), "\(way) → \(name): \(seen.text)")
        }
    }

    /// Where certificates are asked for, the server knows whose was shown, whatever clients claim.
    private func expectMember(
        _ stage: Stage, _ way: Way, _ name: String, _ seen: Seen, _ path: String
    ) {
        guard seen.status == 200,
            let cell = ViewMatrix.cells.first(where: {
                $0.view == way.view && $0.upstream == seen.text
            }), ViewMatrix.asking(cell) != nil
        else { return }
        let members = stage.request(seen.text, path)?.all("x-member")
        let expected = way.authority.map { ["CN=\($0) member"] } ?? []
        #expect(members == expected, "\(way) → \(name)")
    }

    private func expectCertificate(
        _ stage: Stage, _ way: Way, _ opening: Opening, _ fingerprint: String?
    ) {
        let shown = fingerprint.flatMap { stage.shown[$0] }
        switch opening {
        case .refused: Issue.record("\(way): \(shown ?? "no certificate")")
        case .passthrough(let upstream): #expect(shown == upstream, "\(way)")
        case .terminated(let file, _): #expect(shown == file, "\(way)")
        }
        // Whatever the model says: it is never another view's.
        if let shown, let folder = shown.split(separator: "/").first, shown.contains("/") {
            #expect(folder == way.view.rawValue, "\(way): \(shown)")
        }
    }

    /// No name: the alert before a certificate. No certificate of the client's, or one of a wrong
    /// authority: its alert, which TLS 1.3 shows to the first read only.
    private func expectRefusal(
        _ stage: Stage, _ way: Way, _ opening: Opening, _ tls: ClientTLS
    ) {
        do {
            let client = try stage.connect(way.view, tls)
            defer { client.close() }
            #expect(opening != .refused, "\(way): a handshake")
            _ = try? client.send("GET / HTTP/1.1\r\nHost: mtls.test\r\n\r\n")
            let answer = client.read()
            guard case .end(let end) = answer else {
                Issue.record("\(way): \(answer)")
                return
            }
            if case .tlsError(let text) = end {
                #expect(
                    text.contains("certificate required") || text.contains("unknown ca"),
                    "\(way): \(text)")
            }
        } catch RawClient.Refusal.handshake(.tlsError(let text)) {
            let isName = text.contains("unrecognized name")
            #expect(isName == (opening == .refused), "\(way): \(text)")
        } catch {
            Issue.record("\(way): \(error)")
        }
    }

    // MARK: - Without TLS

    @Test(
        "in the clear, a name gets its own view's answer too",
        arguments: ViewMatrix.View.allCases)
    func plain(view: ViewMatrix.View) throws {
        let stage = try Stage()
        defer { stage.stop() }

        for name in ViewMatrix.names {
            let client = try stage.connect(view, nil)
            defer { client.close() }
            let answer = try client.get("/", host: name)
            switch ViewMatrix.plainRequest(view, host: name) {
            case .served(let upstream):
                #expect(answer.status == 200 && answer.text == upstream, "\(view) \(name)")
            case .status(let status): #expect(answer.status == status, "\(view) \(name)")
            }
        }
    }

    // MARK: - Tickets

    @Test(
        "a session of one view is never resumed in another, nor for other client certificates",
        arguments: [TLSVersion.v12, .v13])
    func tickets(version: TLSVersion) throws {
        let stage = try Stage()
        defer { stage.stop() }
        /// A connection for `name`; its ticket and whether it was resumed.
        func visit(
            _ view: View, _ name: String, _ ticket: ClientTicket? = nil,
            _ authority: Authority? = nil
        ) throws -> (ticket: ClientTicket?, isResumed: Bool, text: String) {
            let tls = try stage.tls(name, authority, versions: version...version)
            let client = try stage.connect(view, tls, resuming: ticket)
            defer { client.close() }
            let answer = try client.get("/", host: name)
            return (client.ticket, client.isResumed, answer.text)
        }

        for name in ["same.test", "other.apps.test"] {
            for origin in View.allCases {
                let first = try visit(origin, name, nil)
                let ticket = try #require(first.ticket, "\(origin) \(name)")
                for view in View.allCases where ViewMatrix.find(name, view) != nil {
                    let again = try visit(view, name, ticket)
                    #expect(again.isResumed == (view == origin), "\(origin) → \(view) \(name)")
                    #expect(again.text == ViewMatrix.find(name, view)?.upstream)
                }
            }
        }
        // The same view, another policy: who has shown a certificate elsewhere has not here.
        let member = try visit(.office, "mtls.test", nil, .staff)
        #expect(try visit(.office, "mtls.test", member.ticket, .staff).isResumed)
        #expect(try !visit(.public, "mtls.test", member.ticket, .staff).isResumed)
        let partner = try #require(try visit(.lan, "mtls.test", nil, .partners).ticket)
        #expect(try visit(.lan, "mtls.test", partner, .partners).isResumed)
        #expect(throws: (any Error).self) { try visit(.public, "mtls.test", partner, .partners) }
    }
}
