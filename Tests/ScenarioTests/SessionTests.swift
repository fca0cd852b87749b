internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("TLS sessions")
    struct Sessions {}
}

extension Scenarios.Sessions {
    /// openssl s_client with one request, as text: what it says and what it got.
    private func client(_ edged: Edged, _ words: String) throws -> String {
        let request = #"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"#
        let command =
            "printf '\(request)' | timeout 5 openssl s_client -ign_eof -servername app.test"
            + " -connect 127.0.0.1:\(edged.https.port) \(words) 2>&1"
        return try RunningProcess.run("sh", ["-c", command]).output
    }

    private func isResumed(_ output: String) -> Bool {
        #expect(output.contains("HTTP/1.1 200 "), "\(output)")
        return output.contains("Reused, TLSv1.")
    }

    @Test("sessions are resumed after the proxy was killed", arguments: ["1_2", "1_3"])
    func killedProxy(version: String) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let file = edged.directory.file("session")
        #expect(try !isResumed(client(edged, "-tls\(version) -sess_out \(file)")))
        let rotations = try edged.metric("edged_ticket_key_rotations_total")

        let old = try edged.proxyPID()
        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)

        for _ in 0..<4 { #expect(try isResumed(client(edged, "-tls\(version) -sess_in \(file)"))) }
        #expect(try edged.metric("edged_ticket_key_rotations_total") == rotations)
        #expect(try edged.metric("edged_ticket_keys") == 1)
    }

    @Test(
        "sessions are resumed after a reload, also with new certificates",
        arguments: [
            "1_2", "1_3",
        ])
    func reload(version: String) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let file = edged.directory.file("session")
        #expect(try !isResumed(client(edged, "-tls\(version) -sess_out \(file)")))

        try edged.writeCertificate("app", edged.mint.leaf("app.test"))
        try edged.reload(oneSite(upstream.server) + "timeouts: { keep_alive: 33s }\n")

        #expect(try isResumed(client(edged, "-tls\(version) -sess_in \(file)")))
    }

    @Test("keys rotate while sessions go on: an old ticket is taken, and a new one given")
    func rotation() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        // A new key every second, each known for four.
        let edged = try Edged(oneSite(upstream.server) + "tls: { ticket_lifetime: 3s }\n")
        defer { edged.stop() }
        let file = edged.directory.file("session")
        for version in ["1_2", "1_3"] {
            #expect(try !isResumed(client(edged, "-tls\(version) -sess_out \(file)")))
            let start = try edged.metric("edged_ticket_key_rotations_total")
            #expect(
                eventually {
                    (try? edged.metric("edged_ticket_key_rotations_total")) ?? 0 > start
                })
            #expect(
                try isResumed(
                    client(edged, "-tls\(version) -sess_in \(file) -sess_out \(file)")))
        }
        #expect(
            eventually(within: .seconds(6)) { (try? edged.metric("edged_ticket_keys")) == 4 })
        // Its key is gone by now, and its time is over anyway.
        #expect(
            eventually(within: .seconds(6)) {
                (try? isResumed(client(edged, "-tls1_3 -sess_in \(file)"))) == false
            })
        #expect(try edged.failures("client_handshake_failed") == 0)
    }

    @Test("TLS 1.2 is refused where the configuration says so, from one reload to the next")
    func lowestVersion() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        #expect(try client(edged, "-tls1_2").contains("HTTP/1.1 200 "))

        try edged.reload(oneSite(upstream.server) + "tls: { min_version: 1.3 }\n")
        #expect(try client(edged, "-tls1_2").contains("alert protocol version"))
        #expect(try client(edged, "-tls1_3").contains("HTTP/1.1 200 "))

        try edged.reload(oneSite(upstream.server))
        #expect(try client(edged, "-tls1_2").contains("HTTP/1.1 200 "))
    }
}
