import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("Certificates over the admin socket") struct CertificateRouteTests {
    private static let day: Int64 = 86_400
    private static let now: Int64 = 1_800_000_000

    static let reply = CertificatesReply(
        now: now, clock: "synchronised",
        certificates: [
            CertificateRow(
                file: "/c/app.pem", view: "", names: ["app.test", "a.test", "b.test", "c.test"],
                key: "ecdsa", notBefore: now - day, notAfter: now + 20 * day, state: .serving,
                isServed: true),
            CertificateRow(
                file: "/c/lan/nas.pem", view: "lan", names: ["nas.test"], key: "rsa",
                notBefore: now - day, notAfter: now + 60 * day, state: .quarantined,
                isServed: true, reason: "/c/lan/nas.pem: no certificate in this file (why)"),
            CertificateRow(
                file: "/c/new.pem", view: "", state: .waiting, isServed: false,
                reason: "/c/new.pem: no usable private key: there is none (put it there)"),
        ])

    @Test("The reply is the same after JSON")
    func json() throws {
        #expect(try CertificatesReply(json: Self.reply.json) == Self.reply)
    }

    @Test("Every word of a state can be read back")
    func states() throws {
        for state in CertificateRow.State.allCases {
            let row = CertificateRow(file: "f", view: "", state: state, isServed: false)
            #expect(try CertificateRow(json: row.json).state == state)
        }
    }

    @Test("GET /certificates is answered over the admin socket and not over TCP")
    func route() throws {
        let site = AdminSite()
        defer { site.stop() }

        #expect(try ControlClient(path: site.path).certificates() == Self.reply)
        let overTCP = shell(
            "curl -s -m 10 -o /dev/null -w '%{http_code}' "
                + "http://127.0.0.1:\(site.port)/certificates")
        #expect(overTCP.output == "404")
    }

    @Test("For a person, what needs one comes first, with its reason")
    func text() {
        let lines = Self.reply.text.split(separator: "\n").map(String.init)
        #expect(lines[1].hasPrefix("/c/lan/nas.pem  lan   rsa    60 d"))
        #expect(lines[1].contains("quarantined, old one serves"))
        #expect(lines[2].hasPrefix("/c/new.pem      all   -      -"))
        #expect(lines[3].hasSuffix("app.test a.test b.test and 1 more"))
        #expect(lines[4] == "/c/lan/nas.pem: no certificate in this file (why)")
        #expect(Self.reply.findings.map(\.file) == ["/c/lan/nas.pem"])
    }

    @Test("Metrics have those that are served, the soonest hundred")
    func metrics() {
        var rows = Self.reply.certificates
        for index in 0..<150 {
            var row = rows[0]
            row.file = "/c/\(index).pem"
            row.notAfter = Self.now + 30 * Self.day + Int64(index)
            rows.append(row)
        }
        var metrics = MetricsText()
        metrics.certificates(
            rows,
            CertificateFigures(
                quarantined: 1, rotations: 7, failures: [("weak", 2)], isClockSynchronised: false))

        let lines = metrics.text.split(separator: "\n").map(String.init)
        let series = lines.filter { $0.hasPrefix("edged_certificate_expiry_seconds{") }
        #expect(series.count == 100)
        #expect(
            series[0]
                == "edged_certificate_expiry_seconds{file=\"/c/app.pem\",view=\"\","
                + "name=\"app.test\",key=\"ecdsa\"} \(Self.now + 20 * Self.day)")
        #expect(lines.contains("edged_certificates_quarantined 1"))
        #expect(lines.contains("edged_certificate_rotations_total 7"))
        #expect(lines.contains("edged_certificate_failures_total{reason=\"weak\"} 2"))
        #expect(lines.contains("edged_clock_synchronised 0"))
    }
}
