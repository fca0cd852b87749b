import EdgeControlAPI

enum Samples {
    static let bare = StatusReply(
        version: "0.1.0", state: .serving, since: 900, why: "", now: 1000, pid: 7, started: 800,
        epoch: 3, configPath: "/etc/edged/edged.yaml", configFingerprint: "ab12")

    static let pair = PairStatus(
        state: .linked, since: 930, peer: "lb-02", address: "192.0.2.12:8947",
        ownCertificate: "AB:01", peerCertificate: "CD:02", software: "0.1.0", version: 1,
        clockMilliseconds: -3, roundTripMicroseconds: 210, leadsTickets: false,
        drift: ["configuration: 01 here, 02 there"], counters: [NamedCount("links", 2)])

    static let status: StatusReply = {
        var reply = bare
        reply.workers = [
            WorkerStatus(
                index: 1, epoch: 3, connections: 12, requests: 99, idleMilliseconds: 5, busy: true)
        ]
        reply.listeners = [
            ListenerStatus(name: "https", address: "[::]:443", protocol: "tls", connections: 12),
            ListenerStatus(name: "http", address: "0.0.0.0:80", protocol: "http", connections: 0),
        ]
        reply.upstreams = [
            UpstreamStatus(
                name: "ingress", tls: true,
                members: [
                    MemberStatus(address: "192.0.2.1:443", source: "w1.home.example", state: "up"),
                    MemberStatus(
                        address: "192.0.2.6:443", source: "", state: "down",
                        reason: "no answer within 1s", since: 940, weight: 2, isBackup: true,
                        admin: "ready", checksPassed: 7, checksFailed: 3, ejections: 1,
                        certificateNotAfter: 87_400, connections: 4, latencyMicroseconds: 1_250),
                ],
                policy: ["round-robin", "check http /up"], available: 1, total: 2),
            UpstreamStatus(name: "empty", tls: false),
        ]
        reply.names = [
            NameStatus(
                name: "w1.home.example", state: "stale", addresses: ["192.0.2.1"], age: 70,
                lastError: "name_not_found", resolver: "internal"),
            NameStatus(name: "w2.home.example", state: "unresolved", resolver: "internal"),
        ]
        reply.resolvers = [
            ResolverStatus(group: "internal", server: "192.0.2.53:53", answered: 9, failed: 0),
            ResolverStatus(
                group: "internal", server: "192.0.2.54:53", answered: 8, failed: 2,
                lastError: "timeout",
                degraded: [
                    DegradationStatus(
                        reason: "lost names it knew",
                        names: ["w1.home.example", "w2.home.example"])
                ]),
        ]
        reply.certificates = [CertificateStatus(names: ["*.home.example"], notAfter: 100_000)]
        reply.counters = [NamedCount("requests", 99), NamedCount("connections_open", 12)]
        reply.reasons = [NamedCount("upstream_connect_refused", 4)]
        reply.log = ["edged[7]: notice: serving"]
        reply.pair = pair
        return reply
    }()
}
