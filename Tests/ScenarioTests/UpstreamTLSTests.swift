internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("TLS with upstreams")
    struct UpstreamTLS {}
}

extension Scenarios.UpstreamTLS {
    private func options() -> Edged.Options {
        var options = Edged.Options()
        options.workers = 1
        // Its file serves as the certificate that is shown to upstreams.
        options.certificates["edge"] = ["edge.test"]
        return options
    }

    @Test(
        "each new connection to an nginx resumes the session before",
        arguments: [
            "TLSv1.2", "TLSv1.3",
        ])
    func resumption(version: String) throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(
            tls: mint.leaf("app.test"), settings: "ssl_protocols \(version);")
        let edged = try Edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem }"), options(), mint: mint)
        defer { edged.stop() }

        let answers = try (0..<6).map { _ in try edged.get("/tls").text }

        #expect(answers.first == ". NONE \(version) ")
        #expect(answers.dropFirst().allSatisfy { $0 == "r NONE \(version) " }, "\(answers)")
        #expect(try edged.metric("edged_upstream_tls_handshakes_total") == 6)
        #expect(try edged.metric("edged_upstream_tls_resumed_total") == 5)
    }

    @Test("a reload that changes the authorities starts from a full handshake")
    func otherAuthorities() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: mint.leaf("app.test"))
        let edged = try Edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem }"), options(), mint: mint)
        defer { edged.stop() }
        let site = oneSite(nginx.server, settings: "tls: { ca: root.pem }")
        #expect(try edged.get("/tls").text.hasPrefix(". "))
        #expect(try edged.get("/tls").text.hasPrefix("r "))

        // Nothing changed, as far as this upstream goes.
        try edged.reload(site + "timeouts: { keep_alive: 33s }\n")
        #expect(try edged.get("/tls").text.hasPrefix("r "))

        try edged.directory.write("root.pem", CertificateMint(name: "Other").rootPEM)
        try edged.reload(site)
        #expect(try edged.get("/tls").text == "upstream_not_verified\n")
        try edged.directory.write("root.pem", mint.rootPEM)
        try edged.reload(site + "timeouts: { keep_alive: 34s }\n")
        #expect(try edged.get("/tls").text.hasPrefix(". "))
    }

    @Test("an nginx that asks for a certificate gets the configured one, the newest after a reload")
    func identity() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(
            tls: mint.leaf("app.test"), clientRoots: mint.rootPEM,
            settings: "ssl_verify_client on; ssl_protocols TLSv1.3;")
        let site = oneSite(
            nginx.server, settings: "tls: { ca: root.pem, certificate: certs/edge.pem }")
        let edged = try Edged(site, options(), mint: mint)
        defer { edged.stop() }
        #expect(try edged.get("/tls").text == ". SUCCESS TLSv1.3 CN=edge.test")
        #expect(try edged.get("/tls").text == "r SUCCESS TLSv1.3 CN=edge.test")

        try edged.writeCertificate("edge", mint.leaf("new.test"))
        try edged.reload(site + "timeouts: { keep_alive: 33s }\n")
        #expect(try edged.get("/tls").text == ". SUCCESS TLSv1.3 CN=new.test")

        // Nothing of one certificate's connections and sessions is used for another's, or none.
        try edged.reload(oneSite(nginx.server, settings: "tls: { ca: root.pem }"))
        #expect(try edged.get("/tls").status == 400)
        #expect(try edged.get("/tls").status == 400)
    }

    @Test(
        "an openssl s_server that insists on a certificate refuses us by name",
        arguments: [
            "-tls1_2", "-tls1_3",
        ])
    func insisting(version: String) throws {
        let mint = try CertificateMint()
        let folder = try TemporaryDirectory()
        let (certificate, key) = try mint.leaf("app.test").writePair("server", in: folder.path)
        let root = try folder.write("root.pem", mint.rootPEM)
        let address = SocketAddress.loopback(try freePort())
        let server = try RunningProcess(
            "openssl",
            [
                "s_server", "-accept", "\(address.port)", "-cert", certificate, "-key", key,
                "-CAfile", root, "-Verify", "1", "-verify_return_error", "-www", "-quiet", version,
            ])
        defer { server.stop() }
        try #require(
            eventually {
                guard let probe = try? RawClient(address) else { return false }
                probe.close()
                return true
            })
        let edged = try Edged(
            oneSite("\"\(address)\"", settings: "tls: { ca: root.pem }"), options(), mint: mint)
        defer { edged.stop() }

        let refused = try edged.get()
        #expect(refused.status == 502)
        try edged.process.waitForLine(
            containing: version == "-tls1_3" ? "certificate required" : "handshake failure",
            within: .seconds(5))

        try edged.reload(
            oneSite(
                "\"\(address)\"",
                settings: "tls: { ca: root.pem, certificate: certs/edge.pem }"))
        #expect(try edged.get().status == 200)
    }

    enum Fault: CaseIterable { case missing, readable, pair, damaged, encrypted }

    @Test(
        "a client certificate that can't be used is refused with the reason",
        arguments:
            Fault.allCases)
    func refused(fault: Fault) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), options())
        defer { edged.stop() }
        let me = try edged.mint.leaf("me.test")
        let other = try edged.mint.leaf("me.test")
        let certificate = try edged.directory.write("me.crt", me.certificatePEM)
        let key = try edged.directory.write("me.key", me.keyPEM)
        let expected: String
        switch fault {
        case .missing:
            unlink(key)
            expected = "me.key: cannot be read: No such file"
        case .readable:
            chmod(key, 0o644)
            expected = "everybody may read (mode 0644)"
        case .pair:
            try edged.directory.write("me.key", other.keyPEM)
            expected = "the key belongs to none of the certificates in"
        case .damaged:
            try edged.directory.write("me.crt", String(me.certificatePEM.dropLast(60)))
            expected = "me.crt: certificate 1:"
        case .encrypted:
            let command = "openssl pkey -in \(key) -aes256 -passout pass:x -out \(key).2"
            _ = try RunningProcess.run("sh", ["-c", command + " && mv \(key).2 \(key)"])
            expected = "no usable private key"
        }
        for file in [certificate, key] where access(file, F_OK) == 0 {
            try edged.hand(over: file)
            if fault != .readable { chmod(file, 0o640) }
        }
        try edged.configure(
            oneSite(
                upstream.server,
                settings: "tls: { ca: root.pem, certificate: me.crt, key: me.key }"))

        let result = try edged.edgectl("reload")

        #expect(result.code == 4)
        #expect(result.errors.contains(expected), "\(result.errors)")
        #expect(try edged.get().text == "ok")
    }

    @Test("the log says what did not verify")
    func reasons() throws {
        let mint = try CertificateMint()
        let cases: [(MintedCertificate, String)] = [
            (try mint.leaf("other.test"), "certificate verify failed: hostname mismatch"),
            (
                try CertificateMint(name: "Stranger").leaf("app.test"),
                "certificate verify failed: unable to get local issuer certificate"
            ),
            (
                try mint.leaf("app.test", validity: .expired),
                "certificate verify failed: certificate has expired"
            ),
        ]
        for (identity, reason) in cases {
            let upstream = try ScriptedUpstream(tls: ServerTLS(identity), answering: "secret")
            defer { upstream.stop() }
            let edged = try Edged(
                oneSite(upstream.server, settings: "tls: { ca: root.pem }"), mint: mint)
            defer { edged.stop() }
            #expect(try edged.get().status == 502)
            try edged.process.waitForLine(
                containing: "TLS failed: \(reason)", within: .seconds(5))
        }
    }
}
