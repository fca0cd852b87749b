internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Both versions on both sides, between clients and upstreams that others have written.
    @Suite("HTTP/2 with peers")
    struct HTTP2Peers {}
}

extension Scenarios.HTTP2Peers {
    /// Runs checks of `http_checks.py` through a daemon of their own.
    private func check(
        _ checks: [String], _ client: PeerClient, _ upstream: PeerUpstream,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let mint = try CertificateMint()
        let server = try PeerServer(
            "http_upstream", tls: upstream.isOverTLS ? mint.leaf("app.test") : nil)
        defer { server.stop() }
        let edged = try Edged(oneSite(server.server, settings: upstream.settings), mint: mint)
        defer { edged.stop() }

        try Peers.check(
            "http_checks", checks,
            edged.peerArguments + ["--client", client.rawValue, "--upstream", upstream.version],
            location)

        #expect(server.violations.isEmpty, sourceLocation: location)
        #expect(
            eventually { (try? edged.metric("edged_requests_active")) == 0 },
            "nothing is left under way", sourceLocation: location)
    }

    @Test("the peers understand each other", arguments: PeerClient.allCases)
    func directly(client: PeerClient) throws {
        let server = try PeerServer("http_upstream")
        defer { server.stop() }
        var checks = ["get", "head", "post", "methods", "trailers", "hints", "early", "cut"]
        checks += ["client_reset", "fields", "cookies", "upstream_version"]
        if client == .h2 { checks += ["siblings", "many", "mirror"] }

        try Peers.check(
            "http_checks", checks,
            [
                "--port", "\(server.address.port)", "--direct", "--client", client.rawValue,
                "--upstream", client == .h1 ? "1.1" : "2",
            ])
    }

    @Test(
        "content of any size arrives whole, with and without a length",
        arguments: PeerClient.allCases, PeerUpstream.allCases)
    func content(client: PeerClient, upstream: PeerUpstream) throws {
        try check(["get", "head", "post", "methods", "upstream_version"], client, upstream)
    }

    @Test(
        "trailers, interim answers, cookies and large heads pass, and hosts are one",
        arguments: PeerClient.allCases, PeerUpstream.allCases)
    func heads(client: PeerClient, upstream: PeerUpstream) throws {
        try check(["trailers", "hints", "fields", "cookies", "host"], client, upstream)
    }

    @Test(
        "early answers come whole, cut ones never do, and a client's reset is passed on",
        arguments: PeerClient.allCases, PeerUpstream.allCases)
    func ends(client: PeerClient, upstream: PeerUpstream) throws {
        try check(["early", "cut", "silent_abort", "client_reset"], client, upstream)
    }

    @Test("streams do not wait for each other", arguments: PeerUpstream.allCases)
    func streams(upstream: PeerUpstream) throws {
        try check(["siblings", "many"], .h2, upstream)
    }

    @Test("both directions of a stream flow at once", arguments: [PeerUpstream.h2, .h2OverTLS])
    func mirror(upstream: PeerUpstream) throws {
        try check(["mirror"], .h2, upstream)
    }

    @Test(
        "what an upstream refuses before it has looked at it is asked again",
        arguments: PeerClient.allCases)
    func refused(client: PeerClient) throws {
        try check(["refused"], client, .h2)
    }

    @Test("a stop says GOAWAY and lets streams end", arguments: [PeerUpstream.h1, .h2])
    func drain(upstream: PeerUpstream) throws {
        let server = try PeerServer("http_upstream")
        defer { server.stop() }
        let edged = try Edged(oneSite(server.server, settings: upstream.settings))
        defer { edged.stop() }
        let client = try Peers.start(
            "http_checks", edged.peerArguments + ["--client", "h2", "drain"])
        defer { client.stop() }

        try client.waitForLine(containing: "open", within: .seconds(15), on: .output)
        edged.process.signal(SIGTERM)

        try Peers.finish(client, ["drain"])
        #expect(edged.process.waitForExit() == .code(0))
    }

    @Test("auto speaks HTTP/2 to those who offer it, and HTTP/1.1 to the others")
    func auto() throws {
        let mint = try CertificateMint()
        for (offer, version) in [("h2,http/1.1", "2"), ("http/1.1", "1.1")] {
            let server = try PeerServer(
                "http_upstream", tls: mint.leaf("app.test"), ["--alpn", offer])
            defer { server.stop() }
            let edged = try Edged(
                oneSite(server.server, settings: "protocol: auto, tls: { ca: root.pem }"),
                mint: mint)
            defer { edged.stop() }

            try Peers.check(
                "http_checks", ["upstream_version", "post"],
                edged.peerArguments + ["--client", "h2", "--upstream", version])
        }
    }
}

// MARK: - Other peers

extension Scenarios.HTTP2Peers {
    private func h2load(
        _ edged: Edged, _ words: [String], count: Int, path: String
    ) throws -> (exit: ProcessExit, output: String, errors: String) {
        try RunningProcess.run(
            "h2load",
            ["-n\(count)", "--connect-to=127.0.0.1:\(edged.https.port)"] + words
                + ["https://app.test\(path)"], within: .seconds(60))
    }

    private func expectClean(
        _ result: (exit: ProcessExit, output: String, errors: String), _ count: Int,
        _ location: SourceLocation = #_sourceLocation
    ) {
        let wanted = "\(count) done, \(count) succeeded, 0 failed, 0 errored, 0 timeout"
        #expect(result.exit == .code(0), "\(result.errors)", sourceLocation: location)
        #expect(result.output.contains(wanted), "\(result.output)", sourceLocation: location)
        #expect(
            result.output.contains("Application protocol: h2"), "\(result.output)",
            sourceLocation: location)
    }

    /// Load of a client that finds no fault: h2load over HTTP/2 (`count` requests), wrk for two
    /// seconds over HTTP/1.1, where h2load takes a status line without a reason for none.
    private func loadCleanly(
        _ edged: Edged, _ client: PeerClient, count: Int, path: String, upload: String? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        if client == .h2 {
            let words = try upload.map { ["-d" + (try edged.directory.write("upload", $0))] } ?? []
            let result = try h2load(edged, ["-c4", "-m8"] + words, count: count, path: path)
            expectClean(result, count, location)
            return
        }
        let script = try edged.directory.write(
            "load.lua", upload.map { "wrk.method = \"POST\" wrk.body = \"\($0)\"" } ?? "")
        let result = try RunningProcess.run(
            "wrk",
            [
                "-t1", "-c8", "-d2s", "-s", script, "-H", "Host: app.test",
                "https://127.0.0.1:\(edged.https.port)\(path)",
            ])
        #expect(result.exit == .code(0), "\(result.errors)", sourceLocation: location)
        for trouble in ["Socket errors", "Non-2xx"] {
            #expect(!result.output.contains(trouble), "\(result.output)", sourceLocation: location)
        }
    }

    @Test(
        "curl, h2load and wrk find no fault with an nginx behind",
        arguments: PeerClient.allCases, PeerUpstream.allCases)
    func nginx(client: PeerClient, upstream: PeerUpstream) throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(
            tls: upstream.isOverTLS ? mint.leaf("app.test") : nil, isHTTP2: upstream != .h1)
        let edged = try Edged(oneSite(nginx.server, settings: upstream.settings), mint: mint)
        defer { edged.stop() }
        let source = edged.directory.file("source")
        let bytes = (0..<(5 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 9) }
        #expect(FileManager.default.createFile(atPath: source, contents: Data(bytes)))
        let version = client == .h1 ? "--http1.1" : "--http2"

        let upload = try edged.curl(
            version, "-T", source, "-w", "%{http_code} %{http_version}", "https://app.test/file")
        let download = try edged.curl(
            version, "-o", edged.directory.file("copy"), "https://app.test/file")
        let head = try edged.curl(version, "-I", "https://app.test/file")
        try loadCleanly(edged, client, count: 4000, path: "/echo")

        #expect(upload.output.hasPrefix("201 \(client == .h1 ? "1.1" : "2")"), "\(upload)")
        #expect(FileManager.default.contentsEqual(atPath: source, andPath: nginx.file("file")))
        #expect(download.code == 0, "\(download.errors)")
        #expect(
            FileManager.default.contentsEqual(
                atPath: source, andPath: edged.directory.file("copy")))
        #expect(head.output.lowercased().contains("content-length: \(bytes.count)"), "\(head)")
    }

    @Test(
        "nghttp, curl and h2load find no fault with an nghttpd behind", arguments: [false, true])
    func nghttpd(isOverTLS: Bool) throws {
        let mint = try CertificateMint()
        let server = try Nghttpd(
            ["--echo-upload", "--trailer=x-trailer: yes"], certificate: mint.leaf("app.test"),
            isTLS: isOverTLS)
        defer { server.stop() }
        let upstream: PeerUpstream = isOverTLS ? .h2OverTLS : .h2
        let edged = try Edged(oneSite(server.server, settings: upstream.settings), mint: mint)
        defer { edged.stop() }
        let text = (0..<200_000).map { "\($0)" }.joined(separator: " ")
        let source = try edged.directory.write("source", text)
        try server.directory.write("root/file", text)
        let base = "https://127.0.0.1:\(edged.https.port)"
        let authority = ["-y", "-H", ":authority: app.test"]

        let (exit, output, errors) = try RunningProcess.run(
            "nghttp", authority + ["-d", source, "\(base)/echo"])
        let verbose = try RunningProcess.run("nghttp", authority + ["-v", "\(base)/file"])
        let echoes = try ["--http1.1", "--http2"].map {
            try edged.curl($0, "--data-binary", "@\(source)", "https://app.test/echo").output
        }
        let file = try edged.curl("--http1.1", "https://app.test/file")
        let load = try h2load(edged, ["-c4", "-m16", "-d\(source)"], count: 60, path: "/echo")

        #expect(exit == .code(0), "\(errors)")
        #expect(output == text)
        #expect(verbose.output.contains("x-trailer: yes"), "nghttp sees nghttpd's trailer")
        #expect(echoes == [text, text])
        #expect(file.output == text)
        expectClean(load, 60)
    }

    @Test(
        "an upstream that says GOAWAY again and again costs no request",
        arguments: PeerClient.allCases, [false, true])
    func goaway(client: PeerClient, uploads: Bool) throws {
        let server = try PeerServer("http_upstream", ["--goaway", "37"])
        defer { server.stop() }
        let edged = try Edged(oneSite(server.server, settings: PeerUpstream.h2.settings))
        defer { edged.stop() }

        try loadCleanly(
            edged, client, count: 1500, path: "/echo",
            upload: uploads ? String(repeating: "u", count: 2000) : nil)
        let count = try edged.curl("https://app.test/count")

        let report = try JSONSerialization.jsonObject(with: Data(count.output.utf8))
        let goaways = (report as? [String: Any])?["goaways"] as? Int ?? 0
        #expect(goaways >= 20, "\(count.output)")
    }

    @Test("an nginx that ends its connections after 50 requests costs none of them")
    func nginxLeaves() throws {
        let nginx = try Nginx(settings: "keepalive_requests 50;", isHTTP2: true)
        let edged = try Edged(oneSite(nginx.server, settings: PeerUpstream.h2.settings))
        defer { edged.stop() }

        let load = try h2load(edged, ["-c4", "-m16"], count: 4000, path: "/echo")

        expectClean(load, 4000)
    }

    @Test("reloads under load cost no request and no connection", arguments: PeerUpstream.allCases)
    func reloads(upstream: PeerUpstream) throws {
        let mint = try CertificateMint()
        let nginx = try Nginx(
            tls: upstream.isOverTLS ? mint.leaf("app.test") : nil, isHTTP2: upstream != .h1)
        let body = oneSite(nginx.server, settings: upstream.settings)
        let edged = try Edged(body, mint: mint)
        defer { edged.stop() }
        let load = try RunningProcess(
            "h2load",
            [
                "-c8", "-m8", "-D3", "--connect-to=127.0.0.1:\(edged.https.port)",
                "https://app.test/echo",
            ])
        defer { load.stop() }

        for round in 0..<10 {
            try edged.reload(body + "\nlimits: { header_fields: \(100 + round) }")
        }
        let exit = load.waitForExit(within: .seconds(20))

        #expect(exit == .code(0))
        #expect(
            load.standardOutput.contains(" 0 failed, 0 errored, 0 timeout"),
            "\(load.standardOutput)")
        #expect(load.standardOutput.contains("Application protocol: h2"))
        #expect(try edged.metric("edged_snapshot_epoch") >= 11)
    }
}
