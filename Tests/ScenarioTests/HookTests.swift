internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Renewal hooks")
    struct Hooks {}
}

extension Scenarios.Hooks {
    /// The scripts of `deploy/hooks`, with a folder of certificates of their own.
    private struct Bench {
        let folder: TemporaryDirectory
        let leaf: MintedCertificate
        let hooks: String

        init() throws {
            folder = try TemporaryDirectory("hooks")
            leaf = try CertificateMint().intermediate().leaf("app.test")
            // Tests/ScenarioTests/HookTests.swift
            let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
            hooks = root.appendingPathComponent("deploy/hooks").path
            _ = try folder.makeDirectory("certs")
            try folder.write("live/app.test/fullchain.pem", leaf.certificatePEM + leaf.chainPEM)
            try folder.write("live/app.test/privkey.pem", leaf.keyPEM, mode: 0o600)
        }

        func run(
            _ script: String, _ words: [String] = [], _ environment: [String: String] = [:]
        ) throws -> (code: Int32, errors: String) {
            var all = [
                "EDGED_CERTS": folder.file("certs"), "EDGED_GROUP": Edged.group,
                "EDGED_DROP": hooks + "/edged-drop.sh", "EDGED": try Edged.program("edged"),
                "PATH": folder.file("bin") + ":/usr/bin:/bin",
            ]
            all.merge(environment) { _, new in new }
            let list = all.map { "\($0.key)=\($0.value)" }
            let (exit, _, errors) = try RunningProcess.run(
                "/usr/bin/env", ["-i"] + list + ["sh", "\(hooks)/\(script)"] + words)
            guard case .code(let code) = exit else { throw KitError("ended by \(exit)") }
            return (code, errors)
        }

        var live: String { folder.file("live/app.test") }

        /// What is in the folder, drafts too.
        func names() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: folder.file("certs")).sorted()
        }

        func mode(_ name: String) throws -> Int {
            let found = try FileManager.default.attributesOfItem(
                atPath: folder.file("certs/" + name))
            return (found[.posixPermissions] as? Int) ?? 0
        }

        func expectDropped(_ name: String) throws {
            #expect(try names() == [name])
            #expect(try mode(name) == 0o640)
            let text = try folder.read("certs/" + name)
            #expect(text.contains(leaf.certificatePEM) && text.contains(leaf.keyPEM))
        }
    }

    @Test("certbot's hook drops what was renewed")
    func certbot() throws {
        let bench = try Bench()

        let result = try bench.run("certbot.sh", [], ["RENEWED_LINEAGE": bench.live])

        #expect(result.code == 0, "\(result.errors)")
        try bench.expectDropped("app.test.pem")
    }

    @Test("acme.sh's reload command drops what was installed")
    func acme() throws {
        let bench = try Bench()
        rename(bench.live + "/privkey.pem", bench.live + "/key.pem")

        let result = try bench.run("acme.sh", ["app.test", bench.live])

        #expect(result.code == 0, "\(result.errors)")
        try bench.expectDropped("app.test.pem")
    }

    @Test("lego's hook drops what was renewed, a wildcard under a name that is one")
    func lego() throws {
        let bench = try Bench()

        let result = try bench.run(
            "lego.sh", [],
            [
                "LEGO_CERT_DOMAIN": "*.app.test",
                "LEGO_CERT_PATH": bench.live + "/fullchain.pem",
                "LEGO_CERT_KEY_PATH": bench.live + "/privkey.pem",
            ])

        #expect(result.code == 0, "\(result.errors)")
        try bench.expectDropped("_.app.test.pem")
    }

    @Test("cert-manager's script fetches a secret, once, and leaves the old one if it cannot")
    func certManager() throws {
        let bench = try Bench()
        func encoded(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
        let answer =
            encoded(bench.leaf.certificatePEM + bench.leaf.chainPEM) + "\\n"
            + encoded(bench.leaf.keyPEM) + "\\n"
        try bench.folder.write(
            "bin/kubectl",
            """
            #!/bin/sh
            echo "$*" >> "\(bench.folder.file("asked"))"
            case "$*" in *wildcard-tls*) printf '\(answer)' ;; *) exit 1 ;; esac
            """, mode: 0o755)

        let result = try bench.run("cert-manager.sh", ["ingress/wildcard-tls"])
        #expect(result.code == 0, "\(result.errors)")
        try bench.expectDropped("ingress.wildcard-tls.pem")
        let asked = try bench.folder.read("asked")
        #expect(asked.hasPrefix("--namespace ingress get secret wildcard-tls -o jsonpath="))

        let again = try bench.run("cert-manager.sh", ["ingress/gone", "ingress/wildcard-tls"])
        #expect(again.code == 1 && again.errors.contains("ingress/gone cannot be read"))
        #expect(!again.errors.contains("edged-drop"), "nothing has changed")
        try bench.expectDropped("ingress.wildcard-tls.pem")
    }

    @Test("what edged would not use is not dropped, and the reason is told")
    func refused() throws {
        let bench = try Bench()
        let other = try CertificateMint().leaf("app.test")
        try bench.folder.write("live/app.test/privkey.pem", other.keyPEM, mode: 0o600)

        let result = try bench.run("certbot.sh", [], ["RENEWED_LINEAGE": bench.live])

        #expect(result.code == 1)
        #expect(result.errors.contains("the key belongs to none"), "\(result.errors)")
        #expect(try bench.names().isEmpty)
    }

    @Test(
        "a name that would leave the folder, or be hidden in it, is refused",
        arguments: ["../app", ".app", "a/b", "", "a b", "*"])
    func names(name: String) throws {
        let bench = try Bench()

        let result = try bench.run(
            "edged-drop.sh",
            [name, bench.live + "/fullchain.pem", bench.live + "/privkey.pem"])

        #expect(result.code == 2, "\(result.errors)")
        #expect(try bench.names().isEmpty)
    }
}
