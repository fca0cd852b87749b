internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Names of upstreams")
    struct Names {}
}

extension Scenarios.Names {
    /// A server at two loopback addresses with one port: `one` at .1, `two` at .2.
    private struct Twins {
        let one: ScriptedUpstream
        let two: ScriptedUpstream

        init() throws {
            one = try ScriptedUpstream(answering: "one")
            two = try ScriptedUpstream(
                on: SocketAddress(ipv4: 0x7F00_0002, port: one.port), answering: "two")
        }

        func stop() {
            one.stop()
            two.stop()
        }
    }

    private func configuration(_ dns: StandInDNS, port: UInt16) -> String {
        oneSite(
            "\"app.lab.test:\(port)\"",
            more: "resolvers: { lab: { servers: [\"\(dns.address)\"], domains: [lab.test] } }")
    }

    @Test("a name is looked up, and status tells what it is")
    func resolved() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        let dns = try StandInDNS(records: ["app.lab.test": [.address("127.0.0.1")]])
        defer {
            upstream.stop()
            dns.stop()
        }
        let edged = try Edged(configuration(dns, port: upstream.port))
        defer { edged.stop() }

        #expect(try eventually(within: .seconds(2)) { try edged.get().text == "ok" })

        let status = try edged.edgectl("status").output
        #expect(status.contains("app.lab.test"), "\(status)")
        #expect(status.contains("127.0.0.1:\(upstream.port)"), "\(status)")
    }

    @Test("a name that is not known at the start is served as soon as DNS knows it")
    func unresolvedAtStart() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        let dns = try StandInDNS()
        dns.mode = .nameErrorForAll
        defer {
            upstream.stop()
            dns.stop()
        }
        let edged = try Edged(configuration(dns, port: upstream.port))
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        let client = try edged.connect()
        defer { client.close() }

        let early = try client.get("/", host: "app.test")
        dns.set("app.lab.test", addresses: ["127.0.0.1"])
        dns.mode = .normal
        let isServed = try eventually(within: .seconds(5)) {
            try client.get("/", host: "app.test").text == "ok"
        }

        #expect(early.status == 503)
        #expect(early.text == "no_address\n")
        #expect(isServed)
        #expect(try edged.proxyPID() == pid)
    }

    @Test(
        "a DNS server that falls ill costs no request",
        arguments: [
            StandInDNS.Mode.silent, .serverFailure, .refused, .nameErrorForAll, .empty,
        ])
    func ill(mode: StandInDNS.Mode) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        let dns = try StandInDNS(records: ["app.lab.test": [.address("127.0.0.1")]])
        dns.ttl = 1
        defer {
            upstream.stop()
            dns.stop()
        }
        let edged = try Edged(configuration(dns, port: upstream.port))
        defer { edged.stop() }
        #expect(try eventually(within: .seconds(2)) { try edged.get().text == "ok" })

        dns.mode = mode
        dns.clearLog()
        let lane = HTTPLane(
            LaneOptions(edged.http, host: "app.test", pace: .perSecond(50), expectedBody: "ok"))
        let isAsked = eventually(within: .seconds(4)) { dns.log.count >= 2 }
        try edged.reload()
        usleep(200_000)
        let report = lane.stop()

        #expect(isAsked)
        #expect(report.failedCount == 0, "\(report)")
    }

    @Test("a changed address is followed, without a failed request")
    func changed() throws {
        let twins = try Twins()
        let dns = try StandInDNS(records: ["app.lab.test": [.address("127.0.0.1")]])
        dns.ttl = 1
        defer {
            twins.stop()
            dns.stop()
        }
        let edged = try Edged(configuration(dns, port: twins.one.port))
        defer { edged.stop() }
        #expect(try eventually(within: .seconds(2)) { try edged.get().text == "one" })
        let lane = HTTPLane(LaneOptions(edged.http, host: "app.test", pace: .perSecond(50)))

        dns.set("app.lab.test", addresses: ["127.0.0.2"])
        let isFollowed = try eventually(within: .seconds(4)) { try edged.get().text == "two" }
        let report = lane.stop()

        #expect(isFollowed)
        #expect(report.failedCount == 0, "\(report)")
        for _ in 0..<6 { #expect(try edged.get().text == "two") }
    }

    @Test("when the old address fails the new one is asked for at once, whatever the TTL")
    func failedConnect() throws {
        let twins = try Twins()
        let dns = try StandInDNS(records: ["app.lab.test": [.address("127.0.0.1")]])
        dns.ttl = 3600
        defer {
            twins.stop()
            dns.stop()
        }
        let edged = try Edged(configuration(dns, port: twins.one.port))
        defer { edged.stop() }
        #expect(try eventually(within: .seconds(2)) { try edged.get().text == "one" })
        usleep(600_000)

        dns.set("app.lab.test", addresses: ["127.0.0.2"])
        twins.one.stop()
        let begin = Instant.now()
        let isFollowed = try eventually(within: .seconds(3)) { try edged.get().text == "two" }
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))

        #expect(isFollowed)
        #expect(span < .seconds(1), "\(span)")
    }
}
