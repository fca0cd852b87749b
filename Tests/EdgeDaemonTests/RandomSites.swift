import EdgeTesting

/// Configurations at random, as text: two views with their names, wildcards, passthroughs, paths
/// and rules. Some are refused; a test counts those that are not.
struct RandomSites {
    static let names = ["a", "b", "c", "d", "w"]
    static let paths = [
        "/", "/api", "/api/x?q=1", "/apix", "/%61pi/x", "//api", "/x/../api", "/api%2Fx",
        "/old/page?q=1", "/api/v2/deep", "/.well-known/acme-challenge/token",
    ]
    static let upstreams = 4

    var random: SeededRandom

    private mutating func pick<Value>(_ values: [Value]) -> Value {
        values[Int.random(in: 0..<values.count, using: &random)]
    }

    private mutating func upstream() -> String { "u\(pick(Array(0..<Self.upstreams)))" }

    mutating func rules(_ chance: Int) -> String {
        var text = ""
        if random.chance(1, of: chance) {
            text += ", allow: [\(pick(["192.0.2.0/24", "198.51.100.0/24", "192.0.2.7"]))]"
        } else if random.chance(1, of: chance) {
            text += ", deny: [\(pick(["192.0.2.7", "198.51.100.0/25"]))]"
        }
        if random.chance(1, of: chance) { text += ", methods: [GET, HEAD]" }
        if random.chance(1, of: chance * 2) { text += ", maintenance: yes" }
        if random.chance(1, of: chance) {
            text += ", headers: { request: { set: { X-From: \"${view} ${host}\" } } }"
        }
        return text
    }

    private mutating func redirect() -> String {
        pick([
            "\"https://other.example/?back=${path}\"",
            "{ to: \"https://${host}.other.example${path}${query}\", status: 308 }",
        ])
    }

    private mutating func paths() -> String {
        var entries: [String] = []
        for prefix in ["/api", "/api/v2", "/old", "/x"] where random.chance(1, of: 2) {
            var entry = "prefix: \(prefix)"
            if random.chance(1, of: 4) {
                entry += ", redirect: \(redirect())"
            } else {
                if random.chance(1, of: 2) { entry += ", upstream: \(upstream())" }
                if random.chance(1, of: 4) {
                    entry += ", strip: yes"
                } else if random.chance(1, of: 4) {
                    entry += ", rewrite: \(pick(["/new", "/api/v1", "/n/m"]))"
                }
            }
            entries.append("{ \(entry)\(rules(5)) }")
        }
        return entries.isEmpty ? "" : ", paths: [\(entries.joined(separator: ", "))]"
    }

    private mutating func site(_ name: String) -> String {
        let label = name == "w" ? "*" : name
        let hosts = pick([
            "{ lan: \"\(label).lan.example\", public: \"\(label).open.example\" }",
            "{ lan: \"\(label).lan.example\" }", "{ public: \"\(label).open.example\" }",
        ])
        if random.chance(1, of: 5) { return "{ hosts: \(hosts), passthrough: \(upstream()) }" }
        if random.chance(1, of: 8) { return "{ hosts: \(hosts), redirect: \(redirect()) }" }
        return "{ hosts: \(hosts), upstream: \(upstream())\(paths())\(rules(6)) }"
    }

    /// - Parameter certificates: their folder.
    mutating func text(certificates: String) -> String {
        let unknown = ["not_found", "refuse", "all.lan.example"]
        let known = ["not_found", "refuse", "all.open.example"]
        var sites = Self.names.filter { _ in random.chance(4, of: 5) }.map { site($0) }
        // Every upstream has to be used.
        let rest = (0..<Self.upstreams).map { "{ prefix: /u\($0), upstream: u\($0) }" }
        sites.append(
            "{ hosts: { lan: all.lan.example, public: all.open.example }, upstream: u0, paths: ["
                + rest.joined(separator: ", ") + "] }")
        let servers = (0..<Self.upstreams).map {
            "  u\($0): { servers: [\"10.0.0.\($0 + 1):80\"] }"
        }
        let fallback = random.chance(1, of: 2) ? ", default: a.lan.example" : ""
        return """
            version: 1
            listeners:
              - { name: web, port: 80, protocol: http }
              - { name: secure, port: 443, protocol: tls\(pick(["", ", views: [lan]"])) }
              - { name: old, port: 8080, protocol: http, redirect: secure\
            \(pick(["", ", acme: u1"])) }
            certificates: { directory: \(certificates)\(fallback) }
            views:
              lan: { interfaces: [eth0], unknown: \(pick(unknown))\(rules(12)) }
              public: { interfaces: [wg0], unknown: \(pick(known))\(rules(12)) }
            sites:
            \(sites.map { "  - \($0)" }.joined(separator: "\n"))
            upstreams:
            \(servers.joined(separator: "\n"))
            """
    }
}
