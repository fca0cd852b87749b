internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// Authorities and what they have revoked rotate as certificates do.
extension Scenarios.CertificateDrops {
    private func edged(_ body: String, files: [String: String], mint: CertificateMint) throws
        -> Edged
    {
        var options = Edged.Options()
        options.workers = 1
        options.files = files
        options.certificateKeys = ["pair_timeout: 300ms"]
        return try Edged(body, options, mint: mint)
    }

    /// Whether the answer of the upstream is so within a second.
    private func answers(_ edged: Edged, _ test: (String) -> Bool) -> Bool {
        eventually(within: .seconds(1)) { (try? edged.get("/tls").text).map(test) == true }
    }

    private static let notVerified = "upstream_not_verified\n"

    @Test(
        "an upstream's authorities are those in the file, a second later; a bad file changes nothing"
    )
    func upstreamAuthorities() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: mint.leaf("app.test"))
        let edged = try edged(
            oneSite(nginx.server, settings: "tls: { ca: ca/root.pem }"),
            files: ["ca/root.pem": mint.rootPEM], mint: mint)
        defer { edged.stop() }
        #expect(try edged.get("/tls").status == 200)

        try edged.directory.write("ca/root.pem", CertificateMint(name: "Other").rootPEM)
        #expect(answers(edged) { $0 == Self.notVerified })
        try edged.directory.write("ca/root.pem", mint.rootPEM)
        #expect(answers(edged) { $0 != Self.notVerified })

        try edged.directory.write("ca/root.pem", String(mint.rootPEM.prefix(300)))
        #expect(
            eventually { edged.log.contains("quarantined: ") && edged.log.contains("root.pem") })
        #expect(try edged.get("/tls").status == 200)
        #expect(try edged.edgectl("cert", "list").output.contains("the last block"))
        try edged.directory.write("ca/root.pem", mint.rootPEM)
        #expect(eventually { edged.log.contains("no longer in quarantine") })
    }

    @Test("an upstream whose certificate is revoked is not believed from then on")
    func upstreamRevoked() throws {
        let mint = try CertificateMint()
        let leaf = try mint.leaf("app.test")
        let nginx = try Nginx(tls: leaf)
        let edged = try edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem, crl: revoked.pem }"),
            files: ["revoked.pem": mint.revocations(of: [], validity: .expired)], mint: mint)
        defer { edged.stop() }
        #expect(try edged.get("/tls").status == 200)
        #expect(edged.log.contains("a list of revoked certificates is late"))

        try edged.directory.write("revoked.pem", mint.revocations(of: [leaf]))
        #expect(answers(edged) { $0 == Self.notVerified })

        // Somebody restores a backup.
        try edged.directory.write("revoked.pem", mint.revocations(of: [], validity: .expired))
        #expect(eventually { edged.log.contains("older than the one in use") })
        #expect(answers(edged) { $0 == Self.notVerified })
    }

    @Test("a pipe in the place of a list of authorities stops nobody")
    func pipe() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: mint.leaf("app.test"))
        let edged = try edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem }"),
            files: ["root.pem": mint.rootPEM], mint: mint)
        defer { edged.stop() }
        #expect(try edged.get("/tls").status == 200)

        let path = edged.directory.file("root.pem")
        #expect(unlink(path) == 0 && mkfifo(path, 0o644) == 0)
        #expect(eventually { edged.log.contains("not a regular file") })
        #expect(try edged.get("/tls").status == 200)
        #expect(unlink(path) == 0)
        try edged.directory.write("root.pem", CertificateMint(name: "Other").rootPEM)
        #expect(answers(edged) { $0 == Self.notVerified })
    }

    @Test("a client whose certificate is revoked is refused, and its session with it")
    func clientRevoked() throws {
        let mint = try CertificateMint()
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let (good, bad) = (try mint.leaf("good.test"), try mint.leaf("bad.test"))
        let body = oneSite(upstream.server).replacing(
            "upstream: app }",
            with: "upstream: app, client_certificates: { ca: root.pem, crl: revoked.pem } }")
        let edged = try edged(
            body, files: ["revoked.pem": mint.revocations(of: [])], mint: mint)
        defer { edged.stop() }
        func isServed(_ leaf: MintedCertificate) -> Bool {
            guard
                let tls = try? ClientTLS(
                    serverName: "app.test", trusting: mint.rootPEM, alpn: ["http/1.1"],
                    identity: leaf),
                let client = try? RawClient(edged.https, tls: tls)
            else { return false }
            defer { client.close() }
            return (try? client.get("/", host: "app.test").text) == "ok"
        }
        #expect(isServed(good) && isServed(bad))

        try edged.directory.write("revoked.pem", mint.revocations(of: [bad]))

        #expect(eventually(within: .seconds(1)) { !isServed(bad) })
        #expect(isServed(good))
    }

    @Test("a view's folder is read as soon as it is there, before that of all views")
    func viewFolder() throws {
        let mint = try CertificateMint()
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try edged(
            "views:\n  lan: { sources: 127.0.0.0/8 }\n"
                + oneSite(upstream.server)
                .replacing("hosts: app.test", with: "hosts: { lan: app.test }"),
            files: [:], mint: mint)
        defer { edged.stop() }
        let leaf = try mint.leaf("app.test")
        func shown() throws -> String? {
            let client = try edged.connectTLS()
            defer { client.close() }
            return client.serverFingerprint
        }

        _ = try edged.directory.makeDirectory("certs/lan")
        usleep(300_000)
        try edged.writeCertificate("lan/app", leaf)

        #expect(eventually(within: .seconds(1)) { (try? shown()) == leaf.fingerprint })
        let list = try edged.edgectl("cert", "list", "--view", "lan")
        #expect(list.output.contains("lan/app.pem") && list.code == 0, "\(list.output)")
    }
}
