import EdgeUpstream
import Testing

@testable import EdgeConfig

@Suite("Checks, as configured")
struct HealthKeyTests {
    private static func upstream(_ keys: String) throws -> UpstreamConfiguration {
        try Configuration.load(ConfigurationBundle(Sample.upstream(keys))).0.upstreams[0]
    }

    private static func kind(_ keys: String) throws -> HealthPolicy.Kind? {
        try upstream(keys).health?.kind
    }

    @Test("What is not written: a connection as traffic makes it, every two seconds")
    func defaults() throws {
        #expect(try Self.upstream("proxy_protocol: off").health == HealthPolicy())
        #expect(try Self.upstream("health: {}").health == HealthPolicy())
        #expect(try Self.upstream("tls: {}").health == HealthPolicy(kind: .tls))
        #expect(try Self.upstream("health: off").health == nil)
    }

    @Test(
        "What is asked follows from the keys that are there",
        arguments: [
            ("health: { path: /up }", .http(.init(path: "/up"))),
            ("protocol: h2, health: { path: /up }", .http2(.init(path: "/up"))),
            ("protocol: h2, health: { type: http }", .http(.init())),
            ("health: { status: 204 }", .http(.init(statuses: [204...204]))),
            ("health: { service: a.B }", .grpc(service: "a.B")),
            ("health: { type: grpc }", .grpc(service: "")),
            ("health: { ca: a.pem }", .tls), ("tls: {}, health: { port: 99 }", .tls),
            ("tls: {}, health: { type: tcp }", .tcp),
            ("health: { preset: kube-apiserver }", .kubeAPIServer),
            ("health: { preset: active-member, path: /ui }", .activeMember(.init(path: "/ui"))),
        ] as [(String, HealthPolicy.Kind)])
    func kinds(keys: String, kind: HealthPolicy.Kind) throws {
        #expect(try Self.kind(keys) == kind)
    }

    @Test("What is written counts, each key for itself")
    func written() throws {
        let health = try Self.upstream(
            """
            health: { type: h2, method: POST, path: "/a?b=c", host: "H.example:8", port: 9,
              headers: ["X-A: b", "X-C:"], status: [200, 300-304], body: "fine", token_file: t,
              ca: ca.pem, name: n.example, certificate: c.pem, key: k.pem,
              interval: 3s, fast_interval: 1s, timeout: 4s, rise: 5, fall: 6 }
            """
        ).health

        let request = HealthPolicy.Request(
            method: "POST", path: "/a?b=c", host: "h.example:8",
            headers: [.init(name: "X-A", value: "b"), .init(name: "X-C", value: "")],
            statuses: [200...200, 300...304], bodyContains: "fine", tokenFile: "t")
        #expect(
            health
                == HealthPolicy(
                    kind: .http2(request),
                    tls: .init(
                        authorityFile: "ca.pem", name: "n.example", verify: .full,
                        identity: .init(certificateFile: "c.pem", keyFile: "k.pem")),
                    port: 9, interval: .seconds(3), fastInterval: .seconds(1),
                    timeout: .seconds(4), rise: 5, fall: 6))
    }

    @Test("A check of kube-apiserver speaks TLS where traffic is passed on as it is")
    func kubernetes() throws {
        let plain = try Self.upstream("health: { preset: kube-apiserver, token_file: t }").health
        let named = try Self.upstream("health: { preset: kube-apiserver, ca: a, name: b.c }").health

        #expect(plain?.tls == .init(authorityFile: nil, name: nil, verify: .full))
        #expect(plain?.tokenFile == "t")
        #expect(named?.tls == .init(authorityFile: "a", name: "b.c", verify: .full))
    }

    @Test("A check says only where it differs from traffic's TLS")
    func inherited() throws {
        let traffic = "tls: { ca: a, name: b.c, certificate: d }, "
        let identity = UpstreamConfiguration.TLS.Identity(certificateFile: "d", keyFile: "d")

        #expect(try Self.upstream(traffic + "health: { path: / }").health?.tls == nil)
        #expect(
            try Self.upstream(traffic + "health: { name: e.f }").health?.tls
                == .init(authorityFile: "a", name: "e.f", verify: .full, identity: identity))
        #expect(
            try Self.upstream(traffic + "health: { ca: g, certificate: h, key: i }").health?.tls
                == .init(
                    authorityFile: "g", name: "b.c", verify: .full,
                    identity: .init(certificateFile: "h", keyFile: "i")))
        #expect(
            try Self.upstream("tls: { verify: none }, health: { ca: g }").health?.tls
                == .init(authorityFile: "g", name: nil, verify: .full))
        #expect(
            try Self.upstream(traffic + "health: { verify: none }").health?.tls
                == .init(authorityFile: nil, name: "b.c", verify: .none, identity: identity))
    }

    @Test("Checks after a change are never rarer than others")
    func fastInterval() throws {
        let health = try Self.upstream("health: { interval: 200ms }").health

        #expect(health?.fastInterval == .milliseconds(200))
    }

    @Test("A token in plaintext, and a certificate that is not checked, are warnings")
    func warnings() throws {
        let (_, token) = try Configuration.load(
            ConfigurationBundle(Sample.upstream("health: { token_file: t }")))
        let (_, verify) = try Configuration.load(
            ConfigurationBundle(Sample.upstream("health: { type: tls, verify: none }")))

        #expect(
            token.map(\.description) == [
                "main.yaml:5:58: upstreams.app.health: the token is sent in plaintext ('ca' makes "
                    + "the check speak TLS)"
            ])
        #expect(
            verify.map(\.description) == [
                "main.yaml:5:57: upstreams.app.health: the servers' certificates are not checked "
                    + "('verify: full' with 'ca')"
            ])
    }

    @Test(
        "What cannot be meant is refused, with its place",
        arguments: [
            ("health: no", "5:44: upstreams.app.health must be a mapping or 'off', not a boolean"),
            ("health:", "upstreams.app.health must be a mapping or 'off', not empty ('{}' is"),
            ("health: []", "upstreams.app.health must be a mapping, not a list"),
            ("health: { type: ping }", "health.type cannot be 'ping' (one of: tcp, tls, http, h2"),
            ("health: { paht: / }", "unknown key 'paht' in upstreams.app.health (did you mean 'pa"),
            (
                "health: { type: tcp, path: / }",
                "5:57: upstreams.app.health.path has no effect with 'type: tcp' (remove it)"
            ),
            (
                "health: { type: tls, status: 200 }",
                "health.status has no effect with 'type: tls' (with it: ca, name, verify,"
            ),
            ("health: { service: a, path: / }", "path has no effect with 'service', which is gRPC"),
            (
                "health: { preset: kube-apiserver, path: / }",
                "path has no effect with 'preset: kube"
            ),
            ("health: { preset: active-member, status: 200 }", "health.status has no effect with"),
            ("health: { preset: active-member, type: tcp }", "has 'type' and 'preset' (the preset"),
            ("health: { type: tcp, ca: a }", "health.ca has no effect with 'type: tcp'"),
            ("health: { fall: 0 }", "health.fall is out of range: '0' (1 to 100)"),
            ("health: { rise: 101 }", "health.rise is out of range: '101' (1 to 100)"),
            ("health: { interval: 10 }", "has no unit"),
            ("health: { fast_interval: 3s }", "fast_interval is more than interval (at most 2s)"),
            ("health: { path: up }", "'up' is not a path (it begins with '/' and has no spaces)"),
            ("health: { path: \"/a b\" }", "'/a b' is not a path"),
            ("health: { path: \"/a#b\" }", "'/a#b' is not a path"),
            ("health: { host: \"a b\" }", "'a b' is not a host name"),
            ("health: { headers: [\"A b: c\"] }", "'A b: c' is not a header field (quoted:"),
            ("health: { headers: [A: b] }", "health.headers[0] must be a string, not a mapping"),
            ("health: { headers: \"Host: b\" }", "the field 'Host' is the check's own (set 'host'"),
            ("health: { headers: \"Connection: b\" }", "the field 'Connection' is the check's own"),
            (
                "health: { type: http, ca: c, token_file: a, headers: \"authorization: b\" }",
                "has a token_file and a field 'Authorization'"
            ),
            ("health: { status: 199 }", "health.status is out of range: '199' (200 to 599)"),
            ("health: { status: [300-200] }", "health.status must be statuses, not '300-200'"),
            ("health: { status: [20x] }", "must be statuses, not '20x' (such as 200 or 200-299)"),
            ("health: { status: [] }", "health.status is an empty list"),
            ("health: { method: HEAD, body: a }", "body has no effect with 'method: HEAD'"),
            ("health: { method: get }", "health.method cannot be 'get' (one of: GET, HEAD"),
            ("health: { service: \"a b\" }", "'a b' is not the name of a gRPC service"),
            ("health: { key: a }", "health.key has no effect without a certificate"),
            ("health: { type: tls, verify: none, ca: a }", "ca has no effect with 'verify: none'"),
            ("health: { port: 0 }", "health.port is out of range: '0' (1 to 65535)"),
        ])
    func refused(keys: String, reason: String) {
        let found = errors(Sample.upstream(keys))

        #expect(found.count == 1 && found[0].contains(reason), "\(found)")
    }
}
