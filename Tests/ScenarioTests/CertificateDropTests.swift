internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Certificate drops")
    struct CertificateDrops {}
}

/// A daemon whose certificates are replaced by files that are dropped, nothing else.
struct DropSite {
    let edged: Edged
    let upstream: ScriptedUpstream

    init(
        _ certificates: [String: [String]] = ["app": ["app.test"]], hosts: String = "app.test",
        more: String = ""
    ) throws {
        upstream = try ScriptedUpstream(answering: "ok")
        var options = Edged.Options()
        options.certificates = certificates
        options.certificateKeys = ["pair_timeout: 300ms"]
        let body = oneSite(upstream.server, more: more)
            .replacing("hosts: app.test", with: "hosts: [\(hosts)]")
        edged = try Edged(body, options)
    }

    func stop() {
        edged.stop()
        upstream.stop()
    }

    func path(_ name: String) -> String { edged.directory.file("certs/" + name) }

    /// Writes a file beside its place and moves it there.
    func drop(_ name: String, _ text: String, mode: UInt32 = 0o640) throws {
        let draft = edged.directory.file("draft")
        try writeFile(draft, text, mode: mode)
        try edged.hand(over: draft)
        guard rename(draft, path(name)) == 0 else { throw KitError.system("rename") }
    }

    /// What a new client is shown.
    func fingerprint(_ name: String = "app.test") throws -> String {
        let client = try edged.connectTLS(name)
        defer { client.close() }
        guard let shown = client.serverFingerprint else { throw KitError("no certificate") }
        return shown
    }

    /// Whether new clients get this certificate within a second from now.
    func isServed(
        _ leaf: MintedCertificate, as name: String = "app.test",
        within span: Duration = .seconds(1)
    ) -> Bool {
        eventually(within: span) { (try? fingerprint(name)) == leaf.fingerprint }
    }

    /// Whether the daemon says so within three seconds.
    func says(_ text: String) -> Bool {
        eventually(within: .seconds(3)) { edged.log.contains(text) }
    }
}

extension Scenarios.CertificateDrops {
    struct Bad: CustomTestStringConvertible, Sendable {
        let name: String
        /// What the reason must contain; `FILE` is the dropped file.
        let expected: [String]
        let drop: @Sendable (DropSite) throws -> Void
        var testDescription: String { name }

        init(
            _ name: String, _ expected: String...,
            drop: @escaping @Sendable (DropSite) throws -> Void
        ) {
            self.name = name
            self.expected = expected
            self.drop = drop
        }

        /// Text in place of app.pem.
        static func text(
            _ name: String, _ expected: String...,
            text: @escaping @Sendable (CertificateMint) throws -> String
        ) -> Bad {
            Bad(name, expected) { try $0.drop("app.pem", text($0.edged.mint)) }
        }

        private init(
            _ name: String, _ expected: [String],
            drop: @escaping @Sendable (DropSite) throws -> Void
        ) {
            self.name = name
            self.expected = expected
            self.drop = drop
        }
    }

    private static let damagedBlock =
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

    static let bad: [Bad] = [
        .text("an empty file", "FILE: no certificate in this file") { _ in "" },
        .text("something else", "FILE: no certificate in this file") { _ in "not a certificate\n" },
        .text("a certificate that is cut off", "FILE:1: the last block: a block has no end line") {
            String(try $0.leaf("app.test").bundlePEM.prefix(300))
        },
        .text("a key that is cut off", "the last block: a block has no end line") {
            String(try $0.leaf("app.test").bundlePEM.dropLast(40))
        },
        .text("a certificate without key", "FILE: no usable private key: there is none") {
            try $0.leaf("app.test").certificatePEM
        },
        .text("a key without certificate", "FILE: no certificate in this file") {
            try $0.leaf("app.test").keyPEM
        },
        .text("the key of another certificate", "FILE: the key belongs to none", "a pair") {
            try $0.leaf("app.test").certificatePEM + $0.leaf("app.test").keyPEM
        },
        .text("a line that is not base64", "FILE:1: certificate 1: a line is not base64") {
            try $0.leaf("app.test").bundlePEM.replacing("\nMII", with: "\nM*I", maxReplacements: 1)
        },
        .text("bytes that are no certificate", "certificate 2: an element is not what") {
            let leaf = try $0.leaf("app.test")
            return leaf.certificatePEM + damagedBlock + leaf.keyPEM
        },
        .text("another authority's chain", "FILE:1: none of the other certificates", "issued") {
            let leaf = try $0.leaf("app.test")
            let other = try CertificateMint(name: "Stranger").intermediate(name: "Other")
            return leaf.certificatePEM + (try other.leaf("x.test").chainPEM) + leaf.keyPEM
        },
        .text("no name", "FILE:1: the certificate has no DNS name") {
            try $0.leaf(names: []).bundlePEM
        },
        .text("a short key", "FILE:1: certificate 1: an RSA key of 1024 bits") {
            try $0.leaf("app.test", key: .rsa1024).bundlePEM
        },
        .text("a signature over SHA-1", "FILE:1: certificate 1: signed with SHA-1") {
            try $0.leaf("app.test", digest: .sha1).bundlePEM
        },
        .text("a signature over MD5", "FILE:1: certificate 1: signed with MD5") { _ in
            try CertificateMint(key: .rsa2048).leaf("app.test", digest: .md5).bundlePEM
        },
        .text("an expired certificate", "FILE: the certificate expired on ", "stays") {
            try $0.leaf("app.test", validity: .expired).bundlePEM
        },
        .text("one that is not valid yet", "FILE: the certificate is not valid before ", "stays") {
            try $0.leaf("app.test", validity: .notYet).bundlePEM
        },
        .text("one for other names", "FILE: no certificate would be left for hosts", "reload") {
            try $0.leaf("elsewhere.test").bundlePEM
        },
        .text("a point off its curve", "FILE: OpenSSL cannot use this certificate") {
            try $0.leaf("app.test").offCurve()
        },
        .text("a huge file", "FILE: not a regular file of at most 1 MiB") {
            try $0.leaf("app.test").bundlePEM + String(repeating: "\n", count: 1 << 20)
        },
        Bad("a key that everybody may read", "FILE: a private key that everybody", "chmod 0640") {
            try $0.drop("app.pem", $0.edged.mint.leaf("app.test").bundlePEM, mode: 0o644)
        },
        Bad("a file that the proxy may not read", "FILE: cannot be read", "chgrp") { site in
            try site.drop("app.pem", site.edged.mint.leaf("app.test").bundlePEM, mode: 0o600)
            chown(site.path("app.pem"), 0, 0)
            chmod(site.path("app.pem"), 0o600)
        },
        Bad("a folder in its place", "FILE: not a regular file") { site in
            unlink(site.path("app.pem"))
            mkdir(site.path("app.pem"), 0o755)
        },
        Bad("a link to nothing", "FILE: cannot be read: No such file") { site in
            unlink(site.path("app.pem"))
            symlink("nowhere.pem", site.path("app.pem"))
        },
        Bad("no file any more", "FILE: the file is gone", "no other certificate covers") {
            unlink($0.path("app.pem"))
        },
    ]

    @Test("a bad drop is told with its reason, and the old certificate serves", arguments: bad)
    func badDrop(item: Bad) throws {
        guard geteuid() == 0 || !item.name.contains("may not read") else { return }
        let site = try DropSite()
        defer { site.stop() }
        let edged = site.edged
        let old = try edged.connectTLS()
        defer { old.close() }
        let wanted = item.expected.map { $0.replacing("FILE", with: site.path("app.pem")) }
        let good = try edged.mint.leaf("other.test")

        try item.drop(site)
        try site.drop("other.pem", good.bundlePEM)

        #expect(site.isServed(good, as: "other.test"), "good ones do not wait for bad ones")
        let lines = { edged.log.split(separator: "\n").filter { $0.contains("quarantined: ") } }
        #expect(eventually(within: .seconds(3)) { !lines().isEmpty })
        let line = lines().first.map(String.init) ?? ""
        for text in wanted { #expect(line.contains(text), "\(line)") }
        #expect(lines().count == 1, "told once")
        #expect(try site.fingerprint() == old.serverFingerprint)
        #expect(try old.get("/", host: "app.test").text == "ok")
        #expect(try edged.metric("edged_certificates_quarantined") == 1)
        let list = try edged.edgectl("cert", "list")
        #expect(list.code == 5 && list.output.contains("quarantined"), "\(list.output)")
        for text in wanted { #expect(list.output.contains(text), "\(list.output)") }

        rmdir(site.path("app.pem"))
        let better = try edged.mint.leaf("app.test")
        try site.drop("app.pem", better.bundlePEM)

        #expect(site.isServed(better))
        #expect(site.says("no longer in quarantine"))
        #expect(try edged.metric("edged_certificates_quarantined") == 0)
        #expect(try edged.edgectl("cert", "list").code == 0)
    }
}

// MARK: - Good drops

extension Scenarios.CertificateDrops {
    struct Good: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let drop: @Sendable (DropSite, MintedCertificate) throws -> Void
    }

    static let good: [Good] = [
        Good(testDescription: "a bundle over the old one") {
            try $0.drop("app.pem", $1.bundlePEM)
        },
        Good(testDescription: "a bundle with the key first") {
            try $0.drop("app.pem", $1.keyPEM + $1.certificatePEM)
        },
        Good(testDescription: "written in place, not renamed") { site, leaf in
            try leaf.bundlePEM.write(
                toFile: site.path("app.pem"), atomically: false, encoding: .utf8)
        },
        Good(testDescription: "certificate first, key appended later") { site, leaf in
            try leaf.certificatePEM.write(
                toFile: site.path("app.pem"), atomically: false, encoding: .utf8)
            usleep(200_000)
            let file = try #require(FileHandle(forWritingAtPath: site.path("app.pem")))
            try file.seekToEnd()
            try file.write(contentsOf: Data(leaf.keyPEM.utf8))
            try file.close()
        },
        Good(testDescription: "key and certificate apart, key first") { site, leaf in
            try site.drop("app.key", leaf.keyPEM)
            usleep(200_000)
            try site.drop("app.crt", leaf.certificatePEM)
            unlink(site.path("app.pem"))
        },
        Good(testDescription: "HAProxy's .pem and .pem.key, certificate first") { site, leaf in
            try site.drop("app.pem", leaf.certificatePEM)
            usleep(200_000)
            try site.drop("app.pem.key", leaf.keyPEM)
        },
        Good(testDescription: "certbot's folder of links") { site, leaf in
            let archive = site.edged.directory.file("archive")
            _ = try site.edged.directory.makeDirectory("archive")
            for (name, text) in [
                ("cert", leaf.certificatePEM), ("fullchain", leaf.certificatePEM),
                ("privkey", leaf.keyPEM),
            ] {
                try writeFile("\(archive)/\(name)1.pem", text, mode: 0o640)
                try site.edged.hand(over: "\(archive)/\(name)1.pem")
            }
            mkdir(site.path("app.test"), 0o755)
            for name in ["privkey", "cert", "fullchain"] {
                symlink("\(archive)/\(name)1.pem", site.path("app.test/\(name).pem"))
            }
            unlink(site.path("app.pem"))
        },
        Good(testDescription: "Kubernetes' secret and its ..data swap") { site, leaf in
            func version(_ number: Int, _ leaf: MintedCertificate) throws {
                for (name, text) in [("tls.crt", leaf.certificatePEM), ("tls.key", leaf.keyPEM)] {
                    let path = "certs/app/..v\(number)/\(name)"
                    try site.edged.directory.write(path, text, mode: 0o640)
                    try site.edged.hand(over: site.edged.directory.file(path))
                }
                symlink("..v\(number)", site.path("app/..tmp"))
                rename(site.path("app/..tmp"), site.path("app/..data"))
            }
            let first = try site.edged.mint.leaf("app.test")
            try version(1, first)
            symlink("..data/tls.key", site.path("app/tls.key"))
            symlink("..data/tls.crt", site.path("app/tls.crt"))
            unlink(site.path("app.pem"))
            #expect(site.isServed(first))
            try version(2, leaf)
        },
    ]

    @Test("a good drop is served within a second, and open connections go on", arguments: good)
    func goodDrop(item: Good) throws {
        let site = try DropSite()
        defer { site.stop() }
        let edged = site.edged
        let old = try edged.connectTLS()
        defer { old.close() }
        let before = old.serverFingerprint
        let leaf = try edged.mint.leaf("app.test")
        let epoch = try edged.metric("edged_snapshot_epoch")

        try item.drop(site, leaf)

        #expect(site.isServed(leaf))
        #expect(try old.get("/", host: "app.test").text == "ok")
        #expect(old.serverFingerprint == before)
        #expect(!edged.log.contains("quarantined"))
        #expect(try edged.metric("edged_snapshot_epoch") > epoch)
        #expect(try edged.metric("edged_certificate_rotations_total") >= 1)
        #expect(try edged.edgectl("cert", "list").code == 0)
    }

    @Test("a view's folder that is made later is served to that view")
    func laterFolder() throws {
        let site = try DropSite()
        defer { site.stop() }
        let leaf = try site.edged.mint.leaf("app.test")

        // No view of that name: a folder that is not read, and nobody minds.
        mkdir(site.path("somebody"), 0o755)
        try site.drop("somebody/app.pem", leaf.bundlePEM)
        try site.drop("new.pem", site.edged.mint.leaf("new.test").bundlePEM)

        #expect(eventually(within: .seconds(1)) { (try? site.fingerprint("new.test")) != nil })
        #expect(try site.fingerprint() != leaf.fingerprint)
    }

    @Test("of a valid and an expired certificate the valid one is served, whichever came last")
    func expired() throws {
        let site = try DropSite()
        defer { site.stop() }
        let served = try site.fingerprint()

        try site.drop(
            "later.pem",
            site.edged.mint.leaf("app.test", validity: .expired).bundlePEM)
        #expect(site.says("later.pem: the certificate expired"))

        #expect(try site.fingerprint() == served)
        #expect(try site.edged.edgectl("cert", "list").output.contains("expired"))
    }

    @Test("a removed file's certificate goes if another covers its hosts")
    func removed() throws {
        let site = try DropSite(["app": ["app.test"], "spare": ["app.test"]])
        defer { site.stop() }
        let spare = try #require(site.edged.certificates["spare"])
        let own = try #require(site.edged.certificates["app"])
        let first = try site.fingerprint()

        unlink(site.path(first == own.fingerprint ? "app.pem" : "spare.pem"))

        #expect(site.isServed(first == own.fingerprint ? spare : own))
        #expect(!site.edged.log.contains("quarantined"))
    }

    @Test("a reload keeps what is in quarantine and says so; a removed file is let go of")
    func reload() throws {
        let site = try DropSite(["app": ["app.test"], "b": ["b.test"]], hosts: "app.test, b.test")
        defer { site.stop() }
        let edged = site.edged
        let served = try site.fingerprint()
        try site.drop("app.pem", "rubbish")
        unlink(site.path("b.pem"))
        #expect(site.says("b.pem: the file is gone"))
        #expect((try? site.fingerprint("b.test")) != nil)

        let result = try edged.edgectl("reload")

        #expect(result.code == 0)
        #expect(result.errors.contains("quarantined: \(site.path("app.pem"))"), "\(result.errors)")
        #expect(try site.fingerprint() == served)
        // Clients with an unknown name get the default certificate, whose name is not theirs.
        #expect((try? site.fingerprint("b.test")) == nil)
    }

    @Test("a proxy that is killed beside a bad drop comes back without it")
    func killed() throws {
        let site = try DropSite(["app": ["app.test"], "b": ["b.test"]], hosts: "app.test, b.test")
        defer { site.stop() }
        try site.drop("b.pem", "rubbish")
        #expect(site.says("quarantined: "))
        let pid = try site.edged.proxyPID()

        kill(pid, SIGKILL)
        _ = try site.edged.waitForProxy(otherThan: pid)

        #expect(try site.edged.get().text == "ok")
        #expect(try site.fingerprint() == site.edged.certificates["app"]?.fingerprint)
    }

    @Test("a start with a bad file is refused, and the file named")
    func start() throws {
        let site = try DropSite()
        defer { site.stop() }
        try site.drop("app.pem", "rubbish")

        let (exit, _, errors) = try RunningProcess.run(
            Edged.program("edged"), ["--check", "-c", site.edged.configPath])

        #expect(exit == .code(78))
        #expect(errors.contains("\(site.path("app.pem")): no certificate in this file"))
    }

    @Test("edgectl cert check judges a file before it is dropped")
    func check() throws {
        let site = try DropSite()
        defer { site.stop() }
        let edged = site.edged
        try edged.directory.write("good.pem", edged.mint.leaf("x.test").bundlePEM, mode: 0o640)
        try edged.directory.write("bad.pem", edged.mint.leaf("x.test").keyPEM, mode: 0o640)

        let good = try edged.edgectl("cert", "check", edged.directory.file("good.pem"))
        let bad = try edged.edgectl("cert", "check", edged.directory.file("bad.pem"), "--json")
        let daemon = try edged.edgectl("cert", "check")

        #expect(good.code == 0 && good.output.contains("x.test"), "\(good)")
        #expect(bad.code == 5 && bad.output.contains("no certificate in this file"), "\(bad)")
        #expect(daemon.code == 0 && daemon.output.contains("nothing to find fault"), "\(daemon)")
    }
}
