import EdgeControlAPI

/// Replies about the node as a whole, with something in every member.
enum OperationSamples {
    static let plan = ReloadPlanReply(
        outcome: .planned, epoch: 3, drainSeconds: 30,
        changes: [
            PlannedChange(kind: .listener, name: "extra", action: .added, connections: 0),
            PlannedChange(
                kind: .site, name: "old.example.org", action: .removed, connections: 3,
                fate: .drained),
            PlannedChange(
                kind: .upstream, name: "app", action: .changed,
                values: [
                    PlannedValue(
                        key: "servers", before: ["10.0.0.1:80", "10.0.0.2:80"],
                        after: ["10.0.0.1:80", "10.0.0.3:80"]),
                    PlannedValue(key: "timeouts.response", before: ["1m"], after: ["5m"]),
                    PlannedValue(
                        key: "health.status", before: ["200", "204"], after: ["204", "200"]),
                ],
                connections: 1),
            PlannedChange(
                kind: .setting, name: "workers", action: .changed,
                values: [PlannedValue(key: "workers", before: ["auto"], after: ["3"])],
                needsRestart: true),
        ])

    static let figures = FiguresReply(
        nowMilliseconds: 1_000_500, started: 800, connections: 12, bounds: [250, 500, 1000],
        node: FigureRow(
            name: "", requests: 99,
            results: [NamedCount("2xx", 90), NamedCount("5xx", 4), NamedCount("failed", 5)],
            active: 2, durations: [50, 40, 8, 1]),
        sites: [
            FigureRow(
                name: "a.example.org", view: "lan", requests: 60,
                results: [NamedCount("2xx", 60)], durations: [50, 10, 0, 0])
        ],
        upstreams: [FigureRow(name: "app", requests: 60, durations: [60, 0, 0, 0])],
        workers: Samples.status.workers)

    static let incidents = IncidentsReply(
        now: 1000, since: 800, dropped: 2,
        incidents: [
            Incident(
                kind: .resolverDegraded, subject: "192.0.2.54:53", text: "lost names it knew",
                begun: 900, ended: 960, requests: 7200, failures: 0),
            Incident(
                kind: .reloadRefused, subject: "", text: "a.yaml:1:2: error: a | b", begun: 970,
                ended: 970),
            Incident(
                kind: .memberDown, subject: "app 10.0.0.2:80", text: "no answer within 1s",
                begun: 990),
        ])

    static let yielded = VIPYieldReply(
        isMoved: true, lines: ["the addresses are on another node"], milliseconds: 140)

    static let vip = VIPReply(
        now: 1000, node: "lb-01", fitness: "fit", scheduling: "real-time priority 20",
        instances: [
            VIPInstance(
                name: "lan", routerID: 101, interface: "eth0", link: "up",
                addresses: ["192.168.1.13/24", "fd00::13/64"], state: .master, since: 940,
                cause: "the master is silent", priority: 101, intervalMilliseconds: 20,
                heardMaster: "192.168.1.12", heardPriority: 100,
                transitions: [
                    VIPTransition(
                        from: .backup, to: .master, cause: "the master is silent",
                        atMilliseconds: 940_125)
                ], counters: [NamedCount("take_overs", 1)]),
            VIPInstance(
                name: "storage", routerID: 102, interface: "eth1", link: "no_carrier",
                addresses: ["10.0.9.13/24"], state: .fault, since: 990, cause: "link is down",
                priority: 101, intervalMilliseconds: 100, waitsFor: "link_down"),
        ],
        peers: [
            VIPPeer(
                name: "lb-02", address: "192.168.1.12", fitness: "degraded (upstreams)",
                isInMaintenance: false, heard: 999, isLive: true, version: "0.1.0",
                hasSameFiles: false, clockMilliseconds: -2500,
                states: [
                    VIPPeerState(instance: "lan", state: .backup, priority: 100, isReady: true)
                ])
        ], counters: [NamedCount("packets_sent", 3000)])

    static let doctor = DoctorReply(checks: [
        DoctorCheck("descriptors", .fine, "65536 allowed, 40 open"),
        DoctorCheck(
            "state", .problem, "/var/lib/edged: read-only file system",
            remedy: "mount it read-write"),
    ])
}
