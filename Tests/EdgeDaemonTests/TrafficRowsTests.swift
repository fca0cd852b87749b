import EdgeConfig
import EdgeProxy
import Testing

@testable import EdgeDaemon

@Suite("Where sites are counted") struct TrafficRowsTests {
    private static func build(_ builder: SnapshotBuilder, _ sites: String) throws {
        let text = """
            version: 1
            listeners: [{ name: web, port: 80, protocol: http }]
            views:
              lan: { interfaces: lo }
              public: { interfaces: wg0 }
            sites: [\(sites)]
            upstreams: { app: { servers: ["10.0.0.1:80"] } }
            """
        let bundle = ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)))
        let preparation = try Preparation.prepare(bundle, previous: nil, workers: nil)
        _ = builder.build(preparation, workers: 1) { _ in [] }
    }

    private static func labels(_ builder: SnapshotBuilder) -> [String] {
        builder.traffic.current.map {
            String(decoding: builder.traffic.label($0), as: UTF8.self)
        }
    }

    @Test("A site has a row per view, under its first host there")
    func rows() throws {
        let builder = SnapshotBuilder()

        try Self.build(
            builder,
            "{ hosts: { lan: [a.lan, b.lan], public: a.example }, upstream: app },"
                + "{ hosts: { lan: c.lan }, upstream: app }")

        #expect(
            Set(Self.labels(builder)) == [
                "site=\"other\"", "site=\"a.lan\",view=\"lan\"",
                "site=\"a.example\",view=\"public\"", "site=\"c.lan\",view=\"lan\"",
            ])
        #expect(builder.traffic.current.sorted() == [0, 1, 2, 3])
    }

    @Test("A row stays a site's over reloads; of one that is gone it is not shown, nor another's")
    func reloads() throws {
        let builder = SnapshotBuilder()
        let (one, two) = (
            "{ hosts: { lan: a.lan }, upstream: app }", "{ hosts: { lan: b.lan }, upstream: app }"
        )
        try Self.build(builder, one + ", " + two)
        let before = builder.traffic.current

        try Self.build(builder, two)
        #expect(builder.traffic.current == [0, before[2]])
        try Self.build(builder, "{ hosts: { lan: c.lan }, upstream: app }")
        #expect(builder.traffic.current == [0, 3])
        try Self.build(builder, two + ", " + one)
        #expect(builder.traffic.current == [0, before[2], before[1]])
        #expect(Self.labels(builder).last == "site=\"a.lan\",view=\"lan\"")
    }

    @Test("When all rows are given, others share one")
    func full() {
        var rows = TrafficRows()
        for number in 1..<TrafficTable.sitesMax {
            _ = rows.number(view: "", host: "\(number)")
        }

        #expect(rows.number(view: "", host: "late") == TrafficTable.other)
        #expect(rows.number(view: "", host: "7") == 7)
        #expect(rows.current.count == TrafficTable.sitesMax + 1)
    }
}
