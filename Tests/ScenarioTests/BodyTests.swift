internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Large bodies and slow peers.
    @Suite("Bodies and back-pressure")
    struct Bodies {}
}

extension Scenarios.Bodies {
    private static func bytes(_ count: Int) -> [UInt8] {
        var random = SeededRandom(seed: 7)
        return (0..<count / 8).flatMap { _ in
            withUnsafeBytes(of: random.next()) { Array($0) }
        }
    }

    private func hash(of file: String) throws -> String {
        let (_, output, _) = try RunningProcess.run("sha256sum", [file])
        return String(output.prefix { $0 != " " })
    }

    @Test("10 MiB from nginx reach curl unchanged", arguments: [false, true])
    func download(toTLS: Bool) throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: toTLS ? mint.leaf("app.test") : nil)
        try Data(Self.bytes(10 << 20)).write(to: URL(fileURLWithPath: nginx.file("big")))
        let edged = try Edged(
            oneSite(nginx.server, settings: toTLS ? "tls: { ca: root.pem }" : ""), mint: mint)
        defer { edged.stop() }
        let target = edged.directory.file("got")

        let result = try edged.curl("-o", target, "https://app.test/big")

        #expect(result.code == 0, "\(result.errors)")
        #expect(try hash(of: target) == hash(of: nginx.file("big")))
    }

    @Test(
        "10 MiB from curl reach nginx unchanged",
        arguments: ["Content-Length", "chunked"], [false, true])
    func upload(framing: String, toTLS: Bool) throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(tls: toTLS ? mint.leaf("app.test") : nil)
        let edged = try Edged(
            oneSite(nginx.server, settings: toTLS ? "tls: { ca: root.pem }" : ""), mint: mint)
        defer { edged.stop() }
        let source = edged.directory.file("source")
        try Data(Self.bytes(10 << 20)).write(to: URL(fileURLWithPath: source))
        let extra = framing == "chunked" ? "Transfer-Encoding: chunked" : "X-None: 1"

        let result = try edged.curl(
            "-T", source, "-H", extra, "-w", "%{http_code}", "https://app.test/up")

        #expect(result.output == "201", "\(result.errors)")
        #expect(try hash(of: source) == hash(of: nginx.file("up")))
    }

    @Test("a client that does not read costs no memory, and gets everything in the end")
    func slowReader() throws {
        let nginx = try Nginx()
        let (exit, _, _) = try RunningProcess.run("truncate", ["-s", "200M", nginx.file("huge")])
        #expect(exit == .code(0))
        let edged = try Edged(oneSite(nginx.server))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        _ = try edged.get("/echo")
        let before = try #require(ProcessFigures(of: pid)).residentKiB
        let client = try edged.connectTLS()
        defer { client.close() }

        try client.send("GET /huge HTTP/1.1\r\nHost: app.test\r\n\r\n")
        usleep(800_000)
        let during = try #require(ProcessFigures(of: pid)).residentKiB
        let (code, output, _) = try RunningProcess.run(
            "curl",
            [
                "-sS", "-o", "/dev/null", "-w", "%{size_download}", "-H", "Host: app.test",
                "http://\(edged.http)/huge",
            ])

        #expect(during - before < 8 << 10, "\(before) KiB, then \(during) KiB")
        #expect(code == .code(0))
        #expect(output == "\(200 << 20)")
    }

    @Test("an upstream that does not read stops the client, and the memory stays where it is")
    func slowUpstream() throws {
        let upstream = try ScriptedUpstream([.readHead, .hold])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        let before = try #require(ProcessFigures(of: pid)).residentKiB
        let client = try edged.connect()
        defer { client.close() }
        let piece = [UInt8](repeating: 0x61, count: 1 << 20)
        try client.send(
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: \(200 << 20)\r\n\r\n")

        var sent = 0
        while sent < 200, (try? client.send(bytes: piece, within: .milliseconds(300))) != nil {
            sent += 1
        }
        let during = try #require(ProcessFigures(of: pid)).residentKiB

        #expect(sent < 60, "the sockets' buffers take some MiB, no more")
        #expect(during - before < 8 << 10, "\(before) KiB, then \(during) KiB")
    }

    @Test("a slow upstream gets the whole body of a fast client")
    func slowReadingUpstream() throws {
        let upstream = try ScriptedUpstream([
            .readHead, .pause(.milliseconds(300)), .readRequest, .respond(200, "ok"),
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let body = Self.bytes(4 << 20)
        let client = try edged.connectTLS()
        defer { client.close() }

        try client.send(
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: \(body.count)\r\n\r\n")
        try client.send(bytes: body, within: .seconds(10))
        let answer = try client.readResponse(within: .seconds(10))

        #expect(answer.text == "ok")
        #expect(upstream.requests.first.map { sha256($0.body) } == sha256(body))
    }

    @Test("a client that leaves in the middle of its body never completes the upstream's request")
    func clientLeaves() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()

        try client.send(
            "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n")
        #expect(upstream.wait { !($0.first?.received ?? []).isEmpty })
        client.close()

        #expect(upstream.wait { $0.first?.ending != nil })
        #expect(upstream.requests.isEmpty)
    }
}
