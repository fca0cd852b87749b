internal import EdgeCore
internal import Testing

@Suite("Labels of reasons and counters")
struct LabelTests {
    private static func isLabel(_ text: String) -> Bool {
        text.utf8.first.map { (0x61...0x7A).contains($0) } == true
            && text.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F
            } && !text.contains("__") && !text.hasSuffix("_")
    }

    @Test(
        "case names become snake_case words, abbreviations stay whole",
        arguments: [
            ("none", "none"), ("clientClosed", "client_closed"),
            ("upstreamTLSFailed", "upstream_tls_failed"), ("clientTLSError", "client_tls_error"),
            ("responses1xx", "responses1xx"), ("noDNS", "no_dns"), ("", ""),
        ])
    func snake(name: String, label: String) { #expect(snakeCase(name) == label) }

    @Test("every reason has a label of its own, fit for a metric")
    func reasons() {
        let labels = ReasonCode.allCases.map(\.label)

        #expect(labels.allSatisfy(Self.isLabel), "\(labels)")
        #expect(Set(labels).count == labels.count)
    }

    @Test("a reason's first word agrees with whose fault it is")
    func blame() {
        for reason in ReasonCode.allCases {
            switch reason.blame {
            case .client:
                let isRequestFault =
                    reason == .noRoute || reason == .misdirected || reason == .rateLimited
                #expect(reason.label.hasPrefix("client_") || isRequestFault, "\(reason)")
            case .upstream: #expect(reason.label.hasPrefix("upstream_"), "\(reason)")
            case .edge, .nobody:
                #expect(!reason.label.hasPrefix("client_"), "\(reason)")
                #expect(!reason.label.hasPrefix("upstream_"), "\(reason)")
            }
        }
    }

    @Test("reason numbers do not move: they lie in shared memory and in logs")
    func numbers() {
        #expect(ReasonCode.none.rawValue == 0)
        #expect(
            ReasonCode.allCases.map { Int($0.rawValue) } == Array(0..<ReasonCode.allCases.count))
    }

    @Test("every counter has a label of its own, fit for Prometheus")
    func counters() {
        let labels = Counter.allCases.map(\.label)

        #expect(labels.allSatisfy(Self.isLabel), "\(labels)")
        #expect(Set(labels).count == labels.count)
        #expect(Counter.allCases.map(\.rawValue) == Array(0..<labels.count))
    }

    @Test("gauges are those that can fall")
    func gauges() {
        let gauges = Counter.allCases.filter(\.isGauge).map(\.label)

        #expect(gauges.allSatisfy { !$0.hasSuffix("ed") && !$0.hasSuffix("errors") }, "\(gauges)")
        #expect(Counter.connectionsOpen.isGauge && !Counter.requests.isGauge)
    }
}
