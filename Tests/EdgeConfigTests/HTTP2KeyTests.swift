import EdgeUpstream
import Testing

@testable import EdgeConfig

@Suite("HTTP/2, as configured")
struct HTTP2KeyTests {
    private static func load(_ text: String) throws -> Configuration {
        try Configuration.load(ConfigurationBundle(text)).0
    }

    @Test("What is not written: it is offered, and everything is bounded")
    func defaults() throws {
        let http2 = try Self.load(Sample.minimal).http2

        #expect(
            http2
                == HTTP2Configuration(
                    isEnabled: true, streamsMax: 100, streamWindow: 65536, memoryMax: 2_097_152,
                    continuationsMax: 8, resets: 100, pings: 200, settings: 20, priorities: 500,
                    windowUpdates: 2000, emptyData: 200, unknownFrames: 200))
        #expect(try Self.load(Sample.minimal + "http2: {}\n").http2 == http2)
    }

    @Test("What is written counts, each key for itself")
    func written() throws {
        let configuration = try Self.load(
            Sample.minimal
                + """
                http2:
                  { enabled: no, streams: 1, stream_window: 16KiB, memory: 128KiB,
                    continuations: 2, resets: 3, pings: 4, settings: 5, priorities: 6,
                    window_updates: 7, empty_data: 8, unknown_frames: 1000000 }
                """)

        #expect(
            configuration.http2
                == HTTP2Configuration(
                    isEnabled: false, streamsMax: 1, streamWindow: 16384, memoryMax: 131_072,
                    continuationsMax: 2, resets: 3, pings: 4, settings: 5, priorities: 6,
                    windowUpdates: 7, emptyData: 8, unknownFrames: 1_000_000))
    }

    @Test(
        "What cannot be meant is refused",
        arguments: [
            ("enabled: on", "http2.enabled cannot be 'on' (one of: yes, no)"),
            ("enabled: True", "http2.enabled cannot be 'True' (one of: yes, no)"),
            ("streams: 0", "http2.streams is out of range: '0' (1 to 1000)"),
            ("streams: 1001", "http2.streams is out of range"),
            ("streams: auto", "http2.streams must be a number"),
            ("stream_window: 8KiB", "stream_window is out of range: '8KiB' (16KiB to 16MiB)"),
            ("stream_window: 65535", "has no unit"),
            ("memory: 64KiB", "http2.memory is out of range: '64KiB' (128KiB to 64MiB)"),
            ("memory: 65MiB", "http2.memory is out of range"),
            ("continuations: 0", "http2.continuations is out of range: '0' (1 to 1000)"),
            ("resets: 0", "http2.resets is out of range: '0' (1 to 1000000)"),
            ("pings: 1000001", "http2.pings is out of range"),
            ("unknown_frames: 10s", "http2.unknown_frames must be a number"),
            ("window_update: 1", "did you mean 'window_updates'?"),
            (
                "stream_window: 2049KiB",
                "main.yaml:6:10: http2.stream_window is more than http2.memory (one stream may "
                    + "fill its window: at most 2MiB)"
            ),
            ("stream_window: 256KiB, memory: 128KiB", "is more than http2.memory"),
        ])
    func refused(keys: String, reason: String) {
        let found = errors(Sample.minimal + "http2: { \(keys) }\n")

        #expect(found.count == 1 && found[0].contains(reason), "\(found)")
    }

    @Test("Yes and no may be written true and false, where they are meant, and only there")
    func answers() throws {
        for (word, isEnabled) in [("yes", true), ("true", true), ("no", false), ("false", false)] {
            let text = Sample.minimal + "http2: { enabled: \(word) }\n"
            #expect(try Self.load(text).http2.isEnabled == isEnabled)
        }
        #expect(
            try Self.load(Sample.minimal + "forwarding: { forwarded: true }\n").requests
                .sendsForwarded)
        #expect(errors(Sample.upstream("protocol: true")).count == 1)
    }

    @Test("A request's head within its limits fits into a connection's memory")
    func heads() throws {
        let limits = "limits: { request_head: 120KiB, header_fields: "
        let memory = "http2: { memory: 128KiB }\n"

        #expect(errors(Sample.minimal + limits + "256 }\n" + memory) == [])
        #expect(
            errors(Sample.minimal + limits.replacing("120", with: "121") + "256 }\n" + memory)
                == [
                    "main.yaml:7:10: http2.memory has no room for one request's head "
                        + "(limits.request_head and 32 bytes for each of limits.header_fields: at "
                        + "least 129KiB)"
                ])
        #expect(
            errors(Sample.minimal + "limits: { request_head: 1MiB, header_fields: 256 }\n") == [])
    }

    @Test(
        "An upstream says what is spoken with it",
        arguments: [
            ("protocol: http1", .http1), ("protocol: h2", .http2),
            ("protocol: h2, tls: {}", .http2),
            ("protocol: auto, tls: {}", .auto), ("tls: {}", .http1),
        ] as [(String, UpstreamProtocol)])
    func upstream(keys: String, version: UpstreamProtocol) throws {
        let (configuration, warnings) = try Configuration.load(
            ConfigurationBundle(Sample.upstream(keys)))

        #expect(configuration.upstreams[0].version == version)
        #expect(warnings.isEmpty)
    }

    @Test("Without TLS there is nothing to choose: accepted with a warning")
    func nothingToChoose() throws {
        let (configuration, warnings) = try Configuration.load(
            ConfigurationBundle(Sample.upstream("protocol: auto")))

        #expect(configuration.upstreams[0].version == .auto)
        #expect(
            warnings.map(\.description) == [
                "main.yaml:5:36: upstreams.app.protocol: without 'tls' there is nothing to choose, "
                    + "so it is HTTP/1.1 ('h2' if all servers speak it)"
            ])
    }

    @Test(
        "A protocol that cannot be spoken there is refused",
        arguments: [
            (
                Sample.upstream("protocol: http2"),
                "main.yaml:5:46: upstreams.app.protocol cannot be 'http2' (one of: http1, h2, auto)"
            ),
            (
                Sample.upstream("protocol: h2, proxy_protocol: v2"),
                "main.yaml:5:50: upstreams.app.proxy_protocol does not go with 'protocol: h2' (it "
                    + "makes a connection one client's, and HTTP/2 shares connections)"
            ),
            (
                Sample.upstream("proxy_protocol: v2, protocol: auto, tls: {}"),
                "main.yaml:5:36: upstreams.app.proxy_protocol does not go with 'protocol: auto' "
                    + "(it makes a connection one client's, and HTTP/2 shares connections)"
            ),
            (
                Sample.upstream("protocol: h2").replacing(
                    "protocol: http }", with: "protocol: tcp, upstream: app }"),
                "main.yaml:2:61: listener 'web': upstream 'app' has a 'protocol' (a tcp listener "
                    + "passes bytes on as they are, whatever they mean)"
            ),
        ])
    func misplaced(text: String, expected: String) {
        #expect(errors(text).joined(separator: "\n") == expected)
    }

    @Test("With HTTP/1.1 a PROXY header and a tcp listener are fine")
    func plain() {
        #expect(errors(Sample.upstream("protocol: http1, proxy_protocol: v2")) == [])
        #expect(
            errors(
                Sample.upstream("protocol: http1").replacing(
                    "protocol: http }", with: "protocol: tcp, upstream: app }")) == [])
    }
}
