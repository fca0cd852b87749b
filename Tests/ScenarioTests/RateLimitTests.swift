internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// `rate_limits`, counted in memory that the guardian keeps.
    @Suite("Request limits")
    struct RateLimits {}
}

extension Scenarios.RateLimits {
    /// One site under a limit whose burst comes back far too slowly for a test to see.
    private func body(_ server: String, requests: String, more: String = "") -> String {
        """
        sites:
          - { hosts: app.test, upstream: app, rate_limits: public }
        \(more)
        upstreams:
          app: { servers: [\(server)], health: off }
        rate_limits:
          public: { requests: \(requests) }
        """
    }

    private func statuses(_ edged: Edged, _ count: Int) throws -> [Int] {
        try (0..<count).map { _ in try edged.get().status }
    }

    @Test("What a client has used up outlives a reload, the proxy's death and an upgrade")
    func survives() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(body(upstream.server, requests: "5 per 1h"))
        defer { edged.stop() }
        // New connections: whichever worker takes one counts in the same table.
        #expect(try statuses(edged, 7) == [200, 200, 200, 200, 200, 429, 429])

        try edged.reload(
            body(
                upstream.server, requests: "5 per 1h",
                more: "  - { hosts: other.test, upstream: app }"))
        #expect(try statuses(edged, 1) == [429])

        var old = try edged.proxyPID()
        kill(old, SIGKILL)
        old = try edged.waitForProxy(otherThan: old)
        #expect(try statuses(edged, 1) == [429])

        edged.process.signal(SIGUSR2)
        _ = try edged.waitForProxy(otherThan: old)
        #expect(try statuses(edged, 1) == [429])
        #expect(try edged.get(host: "other.test").status == 200)
    }

    @Test("Another limit takes over what was used up under the one before it")
    func rescaled() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(body(upstream.server, requests: "4 per 1h"))
        defer { edged.stop() }
        #expect(try statuses(edged, 5) == [200, 200, 200, 200, 429])

        try edged.reload(body(upstream.server, requests: "6 per 1h"))

        #expect(try statuses(edged, 3) == [200, 200, 429])
    }

    @Test("A refusal says why in the metrics, and when to come again")
    func told() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(body(upstream.server, requests: "1 per 1h"))
        defer { edged.stop() }
        _ = try edged.get()

        let refusal = try edged.get()

        #expect(refusal.status == 429)
        #expect(refusal.text == "rate_limited\n")
        #expect(refusal["ratelimit-policy"] == "\"public\";q=1;w=3600")
        #expect(try edged.metric("edged_failures_total", "rate_limited") == 1)
    }
}
