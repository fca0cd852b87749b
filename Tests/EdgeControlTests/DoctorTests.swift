import EdgeControlAPI
import Glibc
import Testing

@Suite("What a doctor sees") struct DoctorTests {
    private static func verdicts(_ change: (inout StatusReply) -> Void) -> [String: String] {
        var reply = Samples.bare
        reply.now = 1000
        reply.workers = [
            WorkerStatus(
                index: 1, epoch: 3, connections: 1, requests: 1, idleMilliseconds: 5, busy: false)
        ]
        change(&reply)
        let checks = StatusDoctor(reply).checks
        return Dictionary(uniqueKeysWithValues: checks.map { ($0.name, $0.verdict.rawValue) })
    }

    @Test("A node without trouble has none")
    func healthy() {
        let found = Self.verdicts { _ in }

        #expect(found.count == 9 && found.values.allSatisfy { $0 == "fine" }, "\(found)")
    }

    static let troubles: [(String, String, @Sendable (inout StatusReply) -> Void)] = [
        ("state", "problem", { $0.state = .notServing }),
        ("state", "warning", { $0.drainedSince = 990 }),
        ("state", "warning", { $0.confirmUntil = 1060 }),
        (
            "workers", "problem",
            {
                $0.workers[0].busy = true; $0.workers[0].idleMilliseconds = 1500
            }
        ),
        ("workers", "warning", { $0.workers[0].epoch = 2 }),
        ("workers", "warning", { $0.overloadedSince = 990 }),
        (
            "memory", "warning",
            {
                $0.counters = [
                    NamedCount("memory_bytes", 900 << 20),
                    NamedCount("memory_limit_bytes", 1000 << 20),
                ]
            }
        ),
        (
            "memory", "problem",
            {
                $0.counters = [
                    NamedCount("memory_bytes", 1000 << 20),
                    NamedCount("memory_limit_bytes", 1000 << 20),
                ]
            }
        ),
        (
            "upstreams", "problem",
            { $0.upstreams = [UpstreamStatus(name: "a", tls: false, available: 0)] }
        ),
        (
            "members", "warning",
            {
                $0.upstreams = [
                    UpstreamStatus(
                        name: "a", tls: false,
                        members: [MemberStatus(address: "x:1", source: "", state: "ejected")],
                        available: 1)
                ]
            }
        ),
        ("resolvers", "warning", { $0.resolvers = Samples.status.resolvers }),
        ("names", "warning", { $0.names = Samples.status.names }),
        (
            "certificates", "problem",
            { $0.certificates = [CertificateStatus(names: ["a"], notAfter: 999)] }
        ),
        (
            "certificates", "problem",
            {
                $0.certificates = [
                    CertificateStatus(names: [], notAfter: 99_000_000, isUnusable: true)
                ]
            }
        ),
        (
            "certificates", "warning",
            { $0.certificates = [CertificateStatus(names: ["a"], notAfter: 90_000)] }
        ),
        ("access log", "warning", { $0.counters = [NamedCount("access_log_dropped", 3)] }),
    ]

    @Test("Each trouble is one finding, with what to do", arguments: 0..<troubles.count)
    func trouble(index: Int) {
        let (name, verdict, change) = Self.troubles[index]

        let found = Self.verdicts(change)

        #expect(found[name] == verdict)
        #expect(found.values.count { $0 != "fine" } == 1, "\(found)")
        var reply = Samples.bare
        reply.workers = Samples.status.workers
        change(&reply)
        #expect(
            StatusDoctor(reply).checks.allSatisfy { $0.verdict == .fine || !$0.remedy.isEmpty })
    }

    @Test("A host as it should be, and one that is not")
    func host() {
        var facts = HostFacts()
        #expect(facts.checks.filter { $0.verdict == .unknown }.count == 4)
        facts.ringDisabled = 0
        facts.migratesRequests = 1
        facts.acceptQueueMax = 4096
        facts.isClockSynchronised = true
        facts.descriptorsMax = 1_048_576
        #expect(facts.checks.allSatisfy { $0.verdict == .fine })

        facts.ringDisabled = 2
        facts.migratesRequests = 0
        facts.acceptQueueMax = 128
        facts.isClockSynchronised = false
        facts.descriptorsMax = 1024
        #expect(
            facts.checks.map(\.verdict) == [.problem, .warning, .warning, .warning, .warning])
        #expect(facts.checks.allSatisfy { !$0.remedy.isEmpty })
    }

    @Test("Facts come from /proc; what is not there is not known")
    func proc() {
        let own = HostFacts(process: Int64(getpid()))
        #expect(own.descriptorsMax ?? 0 > 0 && own.acceptQueueMax ?? 0 > 0)
        #expect(own.isClockSynchronised != nil)

        let none = HostFacts(process: 1, root: "/nonexistent")
        #expect(none.descriptorsMax == nil && none.ringDisabled == nil)
    }

    @Test("Problems stand before warnings, with their remedies; what is fine only if asked for")
    func text() {
        let reply = DoctorReply(checks: [
            DoctorCheck("a", .fine, "good"),
            DoctorCheck("b", .warning, "so so", remedy: "mend it"),
            DoctorCheck("c", .problem, "bad\u{1B}[m", remedy: "repair it"),
        ])

        #expect(
            reply.text(all: false) == """
                problem  c: bad\\u{1b}[m
                         -> repair it
                warning  b: so so
                         -> mend it
                3 checks, 1 fine, 2 findings

                """)
        #expect(reply.text(all: true).contains("ok       a: good\n"))
    }
}

@Suite("Incidents, as they are shown") struct IncidentTextTests {
    @Test("As lines")
    func lines() {
        #expect(
            OperationSamples.incidents.text == """
                begun                took         what               affected         cause                     requests
                1970-01-01 00:15:00  1 min        resolver degraded  192.0.2.54:53    lost names it knew        0 of 7200 failed
                1970-01-01 00:16:10               reload refused                      a.yaml:1:2: error: a | b
                1970-01-01 00:16:30  10 s so far  member down        app 10.0.0.2:80  no answer within 1s
                2 older ones were dropped

                """)
        #expect(IncidentsReply(now: 100, since: 40).text == "no incidents for 1 min\n")
    }

    @Test("As a table whose cells stay cells")
    func markdown() {
        let text = OperationSamples.incidents.markdown
        let rows = text.split(separator: "\n")

        #expect(
            rows[3].hasSuffix("| reload refused |  | a.yaml:1:2: error: a \\| b |  |"), "\(text)")
        #expect(rows[0] == "| Date (UTC) | Duration | What | Affected | Cause | Behaviour |")
        #expect(rows[2].hasSuffix("| lost names it knew | 0 of 7200 failed |"))
        #expect(rows.prefix(5).allSatisfy { $0.hasPrefix("|") && $0.hasSuffix("|") })
        #expect(text.hasSuffix("as of 1970-01-01 00:16:40; 2 older ones were dropped.\n"))
    }

    static let moments: [(Int64, String)] = [
        (0, "1970-01-01 00:00:00"), (951_782_400, "2000-02-29 00:00:00"),
        (1_795_435_657, "2026-11-23 12:07:37"), (4_107_542_399, "2100-02-28 23:59:59"),
        (4_107_542_400, "2100-03-01 00:00:00"), (-1, "1969-12-31 23:59:59"),
    ]

    @Test("Moments are dates", arguments: moments)
    func dates(seconds: Int64, text: String) {
        #expect(UTCTime.text(seconds) == text)
    }
}
