internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("certs-example/mint.sh")
struct MintScriptTests {
    private let directory: TemporaryDirectory
    private let script = String(
        #filePath.prefix(#filePath.count - "Tests/NetTests/MintScriptTests.swift".count)
            + "certs-example/mint.sh")

    init() throws { directory = try TemporaryDirectory("mint") }

    private func mint(
        _ arguments: String...
    ) throws -> (exit: ProcessExit, output: String, errors: String) {
        try RunningProcess.run(script, [directory.path] + arguments)
    }

    private func verifies(_ file: String, as name: String) throws -> Bool {
        let kind = name.contains(":") || name.first?.isNumber == true ? "ip" : "hostname"
        return try RunningProcess.run(
            "openssl",
            [
                "verify", "-x509_strict", "-CAfile", directory.file("ca.pem"),
                "-verify_\(kind)", name, directory.file(file),
            ]
        ).exit == .code(0)
    }

    @Test("certificates carry the names asked for and verify against the authority")
    func names() throws {
        let result = try mint(
            "--server", "*.example.org,192.0.2.1,2001:db8::1", "--upstream", "in.home.example")

        #expect(result.exit == .code(0), "\(result)")
        for name in ["a.example.org", "192.0.2.1", "2001:db8::1"] {
            #expect(try verifies("server.pem", as: name), "\(name)")
        }
        #expect(try !verifies("server.pem", as: "in.home.example"))
        #expect(try verifies("upstream.pem", as: "in.home.example"))
    }

    @Test("files have mode 0640 and nothing else is left")
    func files() throws {
        #expect(try mint().exit == .code(0))

        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        let modes = try names.map {
            try FileManager.default.attributesOfItem(atPath: directory.file($0))[.posixPermissions]
                as? Int
        }

        #expect(
            names == [
                "ca.key", "ca.pem", "server.crt", "server.key", "server.pem", "upstream.crt",
                "upstream.key", "upstream.pem",
            ])
        #expect(modes.allSatisfy { $0 == 0o640 })
    }

    @Test("a second run keeps the authority and renews the certificates")
    func renewal() throws {
        #expect(try mint().exit == .code(0))
        let authority = try directory.read("ca.pem")
        let server = try directory.read("server.pem")

        #expect(try mint().exit == .code(0))

        #expect(try directory.read("ca.pem") == authority)
        #expect(try directory.read("server.pem") != server)
        #expect(try verifies("server.pem", as: "localhost"))
    }

    @Test(
        "wrong arguments are refused with 64",
        arguments: [
            ["--server"], ["--days", "soon"], ["--other", "x"], ["--server", "a b"],
            ["--server", "a\nkeyUsage=x"],
        ])
    func refusal(arguments: [String]) throws {
        let result = try RunningProcess.run(script, [directory.path] + arguments)

        #expect(result.exit == .code(64), "\(result)")
    }
}
