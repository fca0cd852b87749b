internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Many sites")
    struct ManySites {}
}

extension Scenarios.ManySites {
    private static let count = 300

    private static func name(_ index: Int) -> String { "s\(index)" }

    private func start(_ upstream: ScriptedUpstream) throws -> Edged {
        var options = Edged.Options()
        for index in 0..<Self.count {
            options.certificates[Self.name(index)] = ["\(Self.name(index)).test"]
        }
        let sites = (0..<Self.count).map { "  - { hosts: s\($0).test, upstream: app }" }
        let body = oneSite(upstream.server)
        let edged = try Edged(
            body.replacing("sites:\n", with: "sites:\n" + sites.joined(separator: "\n") + "\n"),
            options)
        try edged.process.waitForLine(containing: "certificates: 301 checked, 0 unusable")
        return edged
    }

    private func writeOffCurve(_ name: String, _ edged: Edged) throws {
        let path = edged.directory.file("certs/\(name).pem")
        let text = try edged.mint.leaf("\(name).test").offCurve()
        // In place, so that owner and mode stay.
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.truncate(atOffset: 0)
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    @Test("each is served with its certificate, and the status shows a bounded number of them")
    func served() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try start(upstream)
        defer { edged.stop() }

        for index in stride(from: 0, to: Self.count, by: 37) {
            let client = try edged.connectTLS("s\(index).test")
            #expect(try client.get("/", host: "s\(index).test").text == "ok")
            client.close()
        }
        let status = try edged.edgectl("status").output
        #expect(status.contains("and 201 more"), "\(status)")
        #expect(try edged.metric("edged_certificates") == 301)
        #expect(try edged.metric("edged_certificates_unusable") == 0)
    }

    @Test(
        "one changed file that OpenSSL cannot use keeps its old certificate, and a reload says so")
    func kept() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try start(upstream)
        defer { edged.stop() }
        try writeOffCurve("s7", edged)

        let result = try edged.edgectl("reload")

        #expect(result.code == 0)
        #expect(result.errors.contains("certs/s7.pem: OpenSSL cannot use"), "\(result.errors)")
        let client = try edged.connectTLS("s7.test")
        #expect(try client.get("/", host: "s7.test").text == "ok")
        client.close()
    }

    @Test("among hundreds of new files it is found afterwards, told, and answered by an alert")
    func found() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try start(upstream)
        defer { edged.stop() }
        try writeOffCurve("s7", edged)
        let pid = try edged.proxyPID()

        // To a new process all files are new.
        kill(pid, SIGKILL)
        _ = try edged.waitForProxy(otherThan: pid)
        try edged.process.waitForLine(containing: "certificates: 301 checked, 1 unusable")

        #expect(edged.log.contains("certs/s7.pem: OpenSSL cannot use this certificate"))
        #expect(try edged.edgectl("status").output.contains("unusable"))
        #expect(try edged.metric("edged_certificates_unusable") == 1)
        #expect(throws: (any Error).self) { try edged.connectTLS("s7.test") }
        #expect(eventually { (try? edged.failures("certificate_unusable")) == 1 })
        let client = try edged.connectTLS("s8.test")
        #expect(try client.get("/", host: "s8.test").text == "ok")
        client.close()
    }
}
