import Testing

@testable import EdgeConfig

/// One kind of mistake: a small change of a configuration that is fine, and all that is said.
struct Mistake: Sendable, CustomTestStringConvertible {
    struct Finding: Sendable {
        /// `line:column`
        let place: String
        let reason: String
        let hint: String?

        init(_ place: String, _ reason: String, hint: String? = nil) {
            self.place = place
            self.reason = reason
            self.hint = hint
        }

        var text: String { "main.yaml:\(place): \(reason)" + (hint.map { " (\($0))" } ?? "") }
    }

    let name: String
    /// Stands in `base` once.
    let old: String
    let new: String
    let findings: [Finding]
    /// The file is in that encoding.
    let isLatin1: Bool

    init(
        _ name: String, _ old: String, with new: String, says findings: [Finding],
        isLatin1: Bool = false
    ) {
        self.name = name
        self.old = old
        self.new = new
        self.findings = findings
        self.isLatin1 = isLatin1
    }

    var testDescription: String { name }

    static let all = syntax + keys + values + names + references + rules + policies + failover

    var bytes: [UInt8] {
        let text = Self.base.replacing(old, with: new)
        return isLatin1 ? text.unicodeScalars.map { UInt8($0.value & 0xFF) } : Array(text.utf8)
    }

    /// As an operator would write it, one thing per line.
    static let base = """
        version: 1
        user: edged
        workers: 2
        state: /var/lib/edged
        views:
          lan:
            interfaces: [eth0]
            sources: [192.168.1.0/24]
            addresses: { a: 192.168.1.13 }
          public:
            interfaces: [wg0]
            proxy_protocol: required
            trusted_proxies: [172.16.99.3]
            unknown: refuse
        listeners:
          - name: https
            port: 443
            protocol: tls
          - name: http
            port: 80
            protocol: http
            redirect: https
          - name: postgres
            address: 192.168.1.13
            port: 5432
            protocol: tcp
            upstream: postgres
        certificates:
          directory: certs
          default: grafana.example
        sites:
          - hosts: grafana.example
            upstream: grafana
            headers:
              response:
                set: { X-Frame-Options: DENY }
            paths:
              - prefix: /api
                rewrite: /v2
                methods: [GET]
          - hosts: { lan: vault.example }
            passthrough: vault
          - hosts: old.example
            redirect: "https://grafana.example${path}"
        upstreams:
          grafana:
            servers:
              - 10.0.0.5:3000
              - 10.0.0.6:3000
            health:
              type: http
              path: /healthz
            retries:
              attempts: 2
            timeouts:
              connect: 500ms
          vault:
            servers: [vault.internal:8200]
          postgres:
            servers: [10.0.0.21:5432]
            limits:
              connections: 100
        resolvers:
          internal:
            servers: [192.168.1.1]
            domains: [internal]
        timeouts:
          handshake: 10s
        limits:
          header_fields: 100
        admin:
          socket: /run/edged/admin.sock
          http: 127.0.0.1:9464
        access_log:
          path: /var/log/edged/access.log
        nodes:
          lb-01:
            address: 192.168.1.11
            priority: 101
          lb-02:
            address: 192.168.1.12
        failover:
          interface: eth0
          addresses:
            - 192.168.1.13/24
            - 2001:db8:1::13/64
          router_id: 101
          interval: 20ms
          preempt: after 5m
          secret: failover.key
        """
}

@Suite("A mistake of each kind")
struct HundredMistakesTests {
    @Test("The configuration without mistakes is accepted without a word")
    func base() throws {
        let (_, warnings) = try Configuration.load(
            ConfigurationBundle(
                main: .init(path: "main.yaml", bytes: Array(Mistake.base.utf8)), node: "lb-01"))
        #expect(warnings.isEmpty)
    }

    @Test("There are a hundred, each another one")
    func count() {
        #expect(Mistake.all.count >= 100)
        #expect(Set(Mistake.all.map(\.name)).count == Mistake.all.count)
        #expect(Set(Mistake.all.map(\.bytes)).count == Mistake.all.count)
        for mistake in Mistake.all {
            let parts = Mistake.base.replacing(mistake.old, with: "").utf8.count
            #expect(
                Mistake.base.utf8.count - parts == mistake.old.utf8.count,
                "'\(mistake.name)' changes one place")
        }
    }

    @Test("It is told with its line, its column and the way out", arguments: Mistake.all)
    func told(mistake: Mistake) {
        let found = errors(
            ConfigurationBundle(
                main: .init(path: "main.yaml", bytes: mistake.bytes), node: "lb-01.home.example"))
        #expect(found == mistake.findings.map(\.text))
    }
}
