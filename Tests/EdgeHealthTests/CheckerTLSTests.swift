import EdgeCore
import EdgeHealth
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Foundation
import Testing

@Suite("Checks over TLS", .serialized) struct CheckerTLSTests {
    private let site: CheckSite
    private let mint: CertificateMint
    private let trusted: ClientTrust

    init() throws {
        site = try CheckSite()
        mint = try CertificateMint()
        trusted = try trust(mint)
    }

    private func tls(_ name: String? = "a.example", _ trust: ClientTrust? = nil) -> CheckTLS {
        CheckTLS(trust: trust ?? trusted, name: name)
    }

    private func server(
        _ leaf: MintedCertificate, alpn: [String] = [], clientRoots: String? = nil,
        versions: ClosedRange<TLSVersion> = .v12 ... .v13,
        _ steps: [PeerStep] = [.readRequest, .respond(200, "ok"), .readRequest]
    ) throws -> ScriptedUpstream {
        try ScriptedUpstream(
            tls: try ServerTLS(leaf, alpn: alpn, clientRoots: clientRoots, versions: versions),
            steps)
    }

    /// What the certificates of `Validity` end at, give or take a minute.
    private func isNear(_ end: Int64?, days: Int) -> Bool {
        guard let end else { return false }
        return abs(end - Int64(Date().timeIntervalSince1970) - Int64(days) * 86_400) < 60
    }

    @Test(
        "tls passes with the handshake and tells when the certificate ends",
        arguments: [TLSVersion.v12, .v13])
    func handshake(version: TLSVersion) throws {
        let server = try server(mint.leaf("a.example"), versions: version...version, [.readRequest])
        defer { server.stop() }

        let report = try #require(site.report(.tls, at: server.address, tls: tls()))

        #expect(report.outcome == .passed && report.certificateProblem == nil)
        #expect(isNear(report.certificateNotAfter, days: 30))
        #expect(server.wait { $0.first?.ending == .closed })
        #expect(server.connections.first?.serverName == "a.example")
    }

    @Test("tls passes whichever of our protocols the server has", arguments: ["h2", "http/1.1"])
    func protocols(name: String) throws {
        let server = try HTTP2Upstream(
            tls: try ServerTLS(mint.leaf("a.example"), alpn: [name])
        ) { $0.drain() }
        defer { server.stop() }

        #expect(site.report(.tls, at: server.address, tls: tls())?.outcome == .passed)
        #expect(server.wait { $0.first?.alpn == name })
    }

    @Test("http goes through TLS, with the TLS name as host, and sees the certificate each time")
    func overTLS() throws {
        let server = try server(mint.leaf("a.example"))
        defer { server.stop() }
        for _ in 0..<3 {
            let report = try #require(site.report(http, at: server.address, tls: tls()))
            #expect(report.outcome == .passed)
            #expect(isNear(report.certificateNotAfter, days: 30))
        }

        #expect(server.connectionCount == 3)
        #expect(server.requests.first?["Host"] == "a.example")
        #expect(server.wait { $0.allSatisfy { $0.ending == .closed } })
        #expect(try heldConnections(to: server.port) == 0)
    }

    @Test("who changes keys all the time is given up, and a few times is no reason")
    func keyUpdates() throws {
        let server = try ScriptedUpstream(
            tls: try ServerTLS(mint.leaf("a.example"), versions: .v13 ... .v13)
        ) { index in
            [.readRequest, .updateKeys(index == 0 ? 20 : 20_000), .respond(200, "ok")]
        }
        defer { server.stop() }

        #expect(site.report(http, at: server.address, tls: tls())?.outcome == .passed)
        let report = site.report(http, at: server.address, tls: tls())

        #expect(report?.outcome == failed("TLS: too many handshake messages"))
    }

    // MARK: - Certificates that are not believed

    @Test("an expired certificate fails by its reason, and its end is told")
    func expired() throws {
        let server = try server(mint.leaf("a.example", validity: .expired))
        defer { server.stop() }

        let report = try #require(site.report(http, at: server.address, tls: tls()))

        #expect(report.outcome == failed("certificate has expired"))
        #expect(report.certificateProblem == "certificate has expired")
        let end = try #require(report.certificateNotAfter)
        #expect(abs(end - Int64(Date().timeIntervalSince1970) + 3600) < 60)
        #expect(server.requests.isEmpty)
    }

    @Test("a certificate for another name, or of another CA, fails by its reason")
    func notBelieved() throws {
        let server = try server(mint.leaf("b.example", "127.0.0.2"))
        defer { server.stop() }
        func reason(_ tls: CheckTLS) -> String? {
            site.report(.tls, at: server.address, tls: tls)?.outcome.reason
        }

        #expect(reason(tls()) == "hostname mismatch")
        #expect(reason(tls("127.0.0.1")) == "IP address mismatch")
        #expect(reason(tls("127.0.0.2")) == nil)
        #expect(reason(tls(nil)) == nil)
        let other = try trust(try CertificateMint(name: "Another Root"))
        #expect(reason(tls("b.example", other)) == "unable to get local issuer certificate")
    }

    @Test("without verification an expired certificate passes and is reported")
    func unverified() throws {
        let server = try server(mint.leaf("b.example", validity: .expired))
        defer { server.stop() }

        let report = site.report(.tls, at: server.address, tls: tls("a.example", .unverified))

        #expect(report?.outcome == .passed)
        #expect(report?.certificateProblem == "certificate has expired")
    }

    // MARK: - Client certificates, and peers that do not speak TLS

    @Test("a client certificate is shown to who asks for it")
    func identity() throws {
        let server = try server(mint.leaf("a.example"), clientRoots: mint.rootPEM)
        defer { server.stop() }
        let folder = try TemporaryDirectory()
        let (certificate, key) = try mint.leaf("checker").writePair("client", in: folder.path)
        let identity = try ClientIdentity.load(certificate: certificate, key: key)

        let shown = site.report(
            http, at: server.address,
            tls: CheckTLS(trust: trusted, identity: identity, name: "a.example"))
        let unshown = site.report(http, at: server.address, tls: tls())

        #expect(shown?.outcome == .passed)
        #expect(unshown?.outcome.reason?.hasPrefix("TLS: ") == true, "\(unshown as Any)")
    }

    static let noTLS: [(String, [PeerStep])] = [
        ("garbage", [.send([UInt8](repeating: 0xA5, count: 500)), .hold]),
        ("plain HTTP", [.send("HTTP/1.1 400 Bad Request\r\n\r\n"), .hold]),
        ("an end", [.pause(.milliseconds(20)), .close]),
        ("an end at once", [.close]),
        ("a reset", [.pause(.milliseconds(20)), .reset]),
        ("half a record", [.send([22, 3, 3, 1, 0, 2, 0]), .close]),
    ]

    @Test("what is no TLS fails at once", arguments: noTLS.indices)
    func garbage(index: Int) throws {
        let server = try ScriptedUpstream(Self.noTLS[index].1)
        defer { server.stop() }

        let report = try #require(site.report(http, at: server.address, tls: tls()))

        let reason = try #require(report.outcome.reason)
        #expect(
            reason.hasPrefix("TLS: ") || reason == "connection closed in the TLS handshake"
                || reason == "connection reset", "\(Self.noTLS[index].0): \(reason)")
        #expect(report.duration < .seconds(3))
        #expect(try heldConnections(to: server.port) == 0)
    }

    @Test("kube-apiserver: ready, and alive where it refuses to say")
    func kubernetes() throws {
        let server = try ScriptedUpstream(tls: try ServerTLS(mint.leaf("10.0.0.1"))) { index in
            [.readRequest, .respond(index == 0 ? 200 : 401, "{}")]
        }
        defer { server.stop() }
        let check = tls("10.0.0.1")

        #expect(site.report(.kubeAPIServer, at: server.address, tls: check)?.outcome == .passed)
        let refused = site.report(.kubeAPIServer, at: server.address, tls: check)
        #expect(refused?.outcome.remedy?.contains("system:public-info-viewer") == true)
        #expect(
            server.requests.map(\.startLine) == .init(repeating: "GET /readyz HTTP/1.1", count: 2))
    }

    // MARK: - HTTP/2

    @Test("http2 asks a real server, over TLS and by prior knowledge", arguments: [true, false])
    func overHTTP2(isTLS: Bool) throws {
        let server = try HTTP2Upstream(
            tls: isTLS ? try ServerTLS(mint.leaf("a.example"), alpn: ["h2"]) : nil,
            answering: "all is well")
        defer { server.stop() }
        let kind = HealthPolicy.Kind.http2(
            HealthPolicy.Request(
                path: "/healthz", headers: [HealthPolicy.Header(name: "X-Probe", value: "1")],
                bodyContains: "is well"))

        let report = site.report(kind, at: server.address, tls: isTLS ? tls() : nil)

        #expect(report?.outcome == .passed)
        #expect(server.wait { $0.first?.ending != nil })
        let request = try #require(server.requests.first)
        #expect(request[":method"] == "GET" && request[":path"] == "/healthz")
        #expect(request[":scheme"] == (isTLS ? "https" : "http"))
        #expect(request[":authority"] == (isTLS ? "a.example" : "\(server.address)"))
        #expect(request["x-probe"] == "1" && request["user-agent"] == "edged-check")
        #expect(server.connections.first?.faults == [])
        #expect(try heldConnections(to: server.address.port) == 0)
    }

    @Test("http2 fails where a server speaks HTTP/1.1 only")
    func noHTTP2() throws {
        let server = try server(mint.leaf("a.example"), [.readRequest])
        defer { server.stop() }

        #expect(
            site.report(http2, at: server.address, tls: tls())?.outcome
                == failed("does not speak HTTP/2"))
    }

    @Test("gRPC health asks a real server for its service")
    func grpc() throws {
        let server = try HTTP2Upstream { service in
            while let request = service.nextRequest() {
                let isKnown = request.message.body == [0, 0, 0, 0, 5, 10, 3, 97, 46, 66]
                try service.respond(
                    request.stream, 200, isKnown ? [0, 0, 0, 0, 2, 8, 1] : [],
                    fields: [("content-type", "application/grpc")],
                    trailers: [("grpc-status", isKnown ? "0" : "5")])
            }
        }
        defer { server.stop() }

        #expect(site.report(.grpc(service: "a.B"), at: server.address)?.outcome == .passed)
        #expect(
            site.report(.grpc(service: ""), at: server.address)?.outcome
                == failed("gRPC status NOT_FOUND"))
        #expect(server.wait { $0.count == 2 && $0.allSatisfy { $0.ending != nil } })
        let request = try #require(server.requests.first)
        #expect(request[":method"] == "POST")
        #expect(request[":path"] == "/grpc.health.v1.Health/Check")
        #expect(request["te"] == "trailers" && request["content-type"] == "application/grpc")
        #expect(server.connections.flatMap(\.faults).isEmpty)
    }
}
