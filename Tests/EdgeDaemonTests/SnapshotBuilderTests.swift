import EdgeConfig
import EdgeProxy
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeDaemon

@Suite("What workers are told") struct SnapshotBuilderTests {
    /// What `builder` makes of one upstream with these keys.
    private static func snapshot(
        _ builder: SnapshotBuilder, _ upstream: String = "", _ more: String = ""
    ) throws -> RuntimeSnapshot {
        let text = """
            version: 1
            listeners: [{ name: web, port: 80, protocol: http }]
            sites: [{ hosts: a.example, upstream: app }]
            upstreams: { app: { servers: ["10.0.0.1:80"], \(upstream) } }
            \(more)
            """
        let bundle = ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)))
        let preparation = try Preparation.prepare(bundle, previous: nil, workers: nil)
        return builder.build(preparation, workers: 1) { _ in [] }
    }

    @Test("An upstream's protocol is part of what makes a pool: another one, another pool")
    func pools() throws {
        let builder = SnapshotBuilder(servesHTTP2: true)
        func pool(_ keys: String) throws -> RuntimeSnapshot.Pool {
            let pools = try Self.snapshot(builder, keys).pools
            #expect(pools.count == 1)
            return try #require(pools.first)
        }

        let plain = try ["http1", "h2"].map { try pool("protocol: \($0)") }
        let secure = try ["http1", "h2", "auto"].map { try pool("tls: {}, protocol: \($0)") }

        #expect(plain.map(\.version) == [.http1, .http2])
        #expect(secure.map(\.version) == [.http1, .http2, .auto])
        #expect(Set((plain + secure).map(\.id)).count == 5)
        #expect(try pool("protocol: http1").id == plain[0].id)
        #expect(try pool("protocol: h2").id == plain[1].id)
        #expect(try pool("tls: {}, protocol: auto").id == secure[2].id)
    }

    @Test("Over plaintext nothing can be chosen: `auto` is the pool of HTTP/1.1")
    func automatic() throws {
        let builder = SnapshotBuilder(servesHTTP2: true)

        let usual = try #require(Self.snapshot(builder).pools.first)
        let chosen = try #require(Self.snapshot(builder, "protocol: auto").pools.first)

        #expect(chosen.version == .http1)
        #expect(chosen.id == usual.id)
    }

    @Test("Every limit of HTTP/2 reaches the workers as it is configured")
    func limits() throws {
        let builder = SnapshotBuilder(servesHTTP2: true)
        var expected = HTTP2Settings()

        #expect(try Self.snapshot(builder).http2 == expected)

        expected.streamsMax = 10
        expected.streamWindow = 1 << 20
        expected.memoryMax = 3 << 20
        expected.continuationsMax = 1
        expected.resets = 2
        expected.pings = 3
        expected.settings = 4
        expected.priorities = 5
        expected.windowUpdates = 6
        expected.emptyData = 7
        expected.unknownFrames = 8
        let http2 = """
            http2: { streams: 10, stream_window: 1MiB, memory: 3MiB, continuations: 1, resets: 2,
              pings: 3, settings: 4, priorities: 5, window_updates: 6, empty_data: 7,
              unknown_frames: 8 }
            """
        #expect(try Self.snapshot(builder, "", http2).http2 == expected)
    }

    @Test("Clients are offered HTTP/2 where it is enabled and workers speak it")
    func offer() throws {
        for (serves, word, isOffered) in [
            (true, "yes", true), (true, "no", false), (false, "yes", false),
        ] {
            let snapshot = try Self.snapshot(
                SnapshotBuilder(servesHTTP2: serves), "", "http2: { enabled: \(word) }")

            #expect(snapshot.tls.offersHTTP2 == isOffered)
            #expect(snapshot.http2.isEnabled == isOffered)
        }
    }

    @Test("As long as workers do not speak it, every upstream is spoken HTTP/1.1 with")
    func unserved() throws {
        let builder = SnapshotBuilder(servesHTTP2: false)

        for keys in ["protocol: h2", "tls: {}, protocol: h2", "tls: {}, protocol: auto"] {
            #expect(try Self.snapshot(builder, keys).pools.map(\.version) == [.http1])
        }
    }

    @Test("Pools under different authorities never have one number, however many reloads it takes")
    func authorities() throws {
        let folder = try TemporaryDirectory("snapshots")
        defer { folder.remove() }
        let authority = try folder.write("ca.pem", CertificateMint().rootPEM)
        let builder = SnapshotBuilder(servesHTTP2: true)
        var numbers: Set<Int32> = []
        var lineages: Set<Int32> = []

        for _ in 0..<50 {
            // Nothing of the reload before is kept: what is new may lie where the old one lay.
            let pools = try Self.snapshot(builder, "tls: { ca: \(authority) }").pools
            numbers.formUnion(pools.map(\.id))
            lineages.formUnion(pools.map(\.lineage))
        }

        #expect(numbers.count == 50)
        #expect(lineages.count == 1, "each takes over what waits in the one before")
    }
}
