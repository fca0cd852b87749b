import Testing

@testable import EdgeConfig

@Suite("What clients may, as configured")
struct ForwardingKeyTests {
    private static func requests(_ text: String) throws -> Configuration.Requests {
        try Configuration.load(ConfigurationBundle(Sample.minimal + text)).0.requests
    }

    @Test("What is not written: nobody is trusted, nothing is limited but heads")
    func defaults() throws {
        let requests = try Self.requests("")

        #expect(requests == Configuration.Requests())
        #expect(requests.trusted.isEmpty && requests.bodyBytes == nil)
    }

    @Test("What is written counts")
    func written() throws {
        let requests = try Self.requests(
            """
            forwarding: { trusted: 10.0.0.0/8, forwarded: yes, underscores: pass, trace: restart }
            error_pages: { directory: errors }
            limits: { request_line: 8000B, request_body: 10MiB, trailers: 1KiB, chunk_extensions: 0B }
            timeouts: { client_hello: 1s, tunnel: 168h }
            """)

        #expect(requests.trusted.map(\.description) == ["10.0.0.0/8"])
        #expect(requests.sendsForwarded && requests.passesUnderscores)
        #expect(requests.trace == .restart)
        #expect(requests.errorPages == "errors")
        #expect(requests.lineBytes == 8000 && requests.bodyBytes == 10 << 20)
        #expect(requests.trailerBytes == 1 << 10 && requests.chunkExtensionBytes == 0)
        #expect(requests.clientHello == .seconds(1) && requests.tunnel == .seconds(604_800))
        #expect(try Self.requests("limits: { request_body: unlimited }").bodyBytes == nil)
    }

    @Test(
        "What cannot be meant is refused",
        arguments: [
            ("forwarding: { trusted: [10.0.0.1/8] }", "bits set behind the first 8"),
            ("forwarding: { trusted: [10.0.0.0/33] }", "more than 32 bits"),
            ("forwarding: { trusted: [\"::/129\"] }", "more than 128 bits"),
            ("forwarding: { trusted: [proxy.example] }", "is not a block of addresses"),
            ("forwarding: { trusted: [] }", "is an empty list"),
            ("forwarding: { forwarded: maybe }", "cannot be 'maybe'"),
            ("forwarding: { underscores: keep }", "cannot be 'keep'"),
            ("forwarding: { trace: yes }", "cannot be 'yes'"),
            ("error_pages: {}", "error_pages has no 'directory'"),
            ("limits: { request_line: 7999B }", "out of range"),
            ("limits: { request_body: 10 }", "has no unit"),
            ("limits: { request_body: infinite }", "is not a size"),
            ("limits: { trailers: 1MiB }", "out of range"),
            ("timeouts: { client_hello: 0s }", "out of range"),
        ])
    func refused(text: String, reason: String) {
        let found = errors(Sample.minimal + text + "\n")

        #expect(found.count == 1 && found[0].contains(reason), "\(found)")
    }

    @Test(
        "An upgrade that would let requests pass unseen is refused",
        arguments: ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.0", "websocket", "a b", "a/b/c", "/"])
    func upgrades(name: String) {
        let text = Sample.minimal.replacing(
            "upstream: app }", with: "upstream: app, upgrade: [\"\(name)\"] }")

        #expect(text != Sample.minimal)
        #expect(errors(text).count == 1)
    }
}
