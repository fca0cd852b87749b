internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Offloading and bridging")
    struct Bridging {}
}

extension Scenarios.Bridging {
    @Test(
        "curl gets a plaintext nginx over TLS of either version",
        arguments: ["1.2", "1.3"])
    func offloading(version: String) throws {
        let nginx = try Nginx()
        let edged = try Edged(oneSite(nginx.server))
        defer { edged.stop() }

        let result = try edged.curl(
            "--tlsv\(version)", "--tls-max", version, "https://app.test/echo")

        #expect(result.code == 0, "\(result.errors)")
        #expect(result.output == "GET app.test https 127.0.0.1 ")
    }

    @Test("curl gets an nginx that speaks TLS, asked for and verified by the site's name")
    func bridging() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: mint.leaf("app.test"))
        let edged = try Edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem }"), mint: mint)
        defer { edged.stop() }

        let result = try edged.curl("https://app.test/echo")

        #expect(result.code == 0, "\(result.errors)")
        #expect(result.output == "GET app.test https 127.0.0.1 app.test")
    }

    @Test("the upstream's own name is asked for and verified where it is configured")
    func ownName() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: mint.leaf("inner.test"))
        let edged = try Edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem, name: inner.test }"),
            mint: mint)
        defer { edged.stop() }

        let result = try edged.curl("https://app.test/echo")

        #expect(result.output == "GET app.test https 127.0.0.1 inner.test", "\(result.errors)")
    }

    enum Fault: CaseIterable { case wrongName, unknownAuthority, expired, notYetValid }

    @Test("an upstream that is not who it should be is a 502, counted", arguments: Fault.allCases)
    func notVerified(fault: Fault) throws {
        let mint = try CertificateMint()
        let identity =
            switch fault {
            case .wrongName: try mint.leaf("other.test")
            case .unknownAuthority: try CertificateMint(name: "Stranger").leaf("app.test")
            case .expired: try mint.leaf("app.test", validity: .expired)
            case .notYetValid: try mint.leaf("app.test", validity: .notYet)
            }
        let upstream = try ScriptedUpstream(tls: ServerTLS(identity), answering: "secret")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, settings: "tls: { ca: root.pem }"), mint: mint)
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 502)
        #expect(answer.text == "upstream_not_verified\n")
        #expect(try edged.failures("upstream_not_verified") == 1)
        #expect(upstream.requests.isEmpty)
    }

    @Test("an upstream that speaks no TLS is a 502 and learns nothing")
    func plaintextUpstream() throws {
        let upstream = try ScriptedUpstream([
            .pause(.milliseconds(50)), .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            .pause(.milliseconds(200)), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, settings: "tls: { ca: root.pem }"))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 502)
        #expect(answer.text == "upstream_tls_failed\n")
    }

    @Test("verify: none believes anybody, and says so at the start")
    func verifyNone() throws {
        let stranger = try CertificateMint(name: "Stranger")
        let upstream = try ScriptedUpstream(
            tls: ServerTLS(stranger.leaf("other.test", validity: .expired)), answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, settings: "tls: { verify: none }"))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 200)
        #expect(answer.text == "ok")
        #expect(edged.log.contains("warning: "))
        #expect(edged.log.contains("certificates are not checked"))
    }

    @Test("wrk finds no fault with keep-alive over TLS to a TLS upstream")
    func wrk() throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: mint.leaf("app.test"))
        let edged = try Edged(
            oneSite(nginx.server, settings: "tls: { ca: root.pem }"), mint: mint)
        defer { edged.stop() }

        let (exit, output, errors) = try RunningProcess.run(
            "wrk",
            [
                "-t2", "-c32", "-d2s", "-H", "Host: app.test",
                "https://127.0.0.1:\(edged.https.port)/echo",
            ])

        #expect(exit == .code(0), "\(errors)")
        #expect(!output.contains("Socket errors"), "\(output)")
        #expect(!output.contains("Non-2xx"), "\(output)")
    }
}
