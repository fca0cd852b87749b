import EdgeHealth
import EdgeTesting
import EdgeUpstream
import Testing

@Suite("Presets of checks") struct PresetTests {
    private func credential(_ text: String?, certificate: Bool = false) throws -> CheckCredential {
        guard let text else {
            return CheckCredential(tokenFile: nil, showsCertificate: certificate)
        }
        let folder = try TemporaryDirectory()
        return CheckCredential(
            tokenFile: try folder.write("token", text), showsCertificate: certificate)
    }

    // MARK: - kube-apiserver

    @Test("kube-apiserver is asked for /readyz, and 200 is ready")
    func ready() {
        let interview = Interview(.kubeAPIServer, isTLS: true).begin().answer(respond(200, "ok"))

        #expect(interview.outcomes == [.passed])
        #expect(interview.words.hasPrefix("GET /readyz HTTP/1.1\r\n"))
        #expect(!interview.words.contains("Authorization"))
    }

    @Test("kube-apiserver is not asked over plaintext")
    func plaintext() {
        let interview = Interview(.kubeAPIServer).begin()

        #expect(interview.outcome == failed("the check needs TLS"))
        #expect(interview.said.isEmpty)
    }

    @Test(
        "kube-apiserver that refuses to say is alive, and the remedy is named",
        arguments: [401, 403])
    func refused(status: Int) throws {
        let remedy = try #require(
            asked(.kubeAPIServer, isTLS: true, respond(status))?.remedy)

        #expect(remedy.hasPrefix("/readyz answers \(status): "))
        #expect(remedy.contains("system:public-info-viewer"))
        #expect(remedy.contains("client certificate") && remedy.contains("token_file"))
    }

    @Test("with a credential the remedy is about the credential")
    func refusedCredential() throws {
        func remedy(_ status: Int, _ credential: CheckCredential) -> String? {
            asked(.kubeAPIServer, isTLS: true, credential: credential, respond(status))?.remedy
        }

        #expect(
            remedy(401, try credential("t0ken\n"))
                == "/readyz answers 401: its token is not accepted, renew it")
        #expect(
            remedy(401, try credential(nil, certificate: true))
                == "/readyz answers 401: its client certificate is not accepted, renew it")
        #expect(
            remedy(403, try credential("t0ken"))
                == "/readyz answers 403: bind the user of the token to the cluster role "
                + "system:public-info-viewer")
        #expect(
            remedy(401, try credential("")) == "/readyz answers 401: token file is empty")
    }

    @Test("any other status of kube-apiserver fails", arguments: [204, 302, 404, 429, 500, 503])
    func unready(status: Int) {
        #expect(
            asked(.kubeAPIServer, isTLS: true, respond(status)) == failed("status \(status)"))
    }

    // MARK: - active-member

    @Test(
        "the member that answers 200 has the traffic, a redirect or 503 is a standby",
        arguments: [
            (200, CheckOutcome.passed), (301, .standby), (302, .standby), (303, .standby),
            (307, .standby), (503, .standby), (204, failed("status 204")),
            (404, failed("status 404")), (500, failed("status 500")), (502, failed("status 502")),
        ])
    func activeMember(status: Int, outcome: CheckOutcome) {
        let kind = HealthPolicy.Kind.activeMember(HealthPolicy.Request())

        #expect(asked(kind, respond(status, fields: "Location: http://b/\r\n")) == outcome)
    }

    // MARK: - Credentials

    @Test("the first line of the token file is sent, read anew for each check")
    func token() throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write("token", "first \r\nsecond\n")
        func words() -> String {
            Interview(
                .kubeAPIServer, isTLS: true,
                credential: CheckCredential(tokenFile: path, showsCertificate: false)
            ).begin().words
        }

        #expect(words().contains("\r\nAuthorization: Bearer first\r\n"))
        try folder.write("token", "renewed")

        #expect(words().contains("\r\nAuthorization: Bearer renewed\r\n"))
    }

    @Test("a token file that can't be used is named where it matters, and no content of it is")
    func badTokenFile() throws {
        let folder = try TemporaryDirectory()
        let files: [(String, String)] = [
            (folder.file("missing"), "token file cannot be read (ENOENT)"),
            (folder.path, "token file is no file"),
            (try folder.write("empty", "\nsecret"), "token file is empty"),
            (try folder.write("odd", "se cret\nx"), "token file holds no token"),
            (
                try folder.write("long", String(repeating: "x", count: 70_000)),
                "token file is too long"
            ),
        ]
        for (path, trouble) in files {
            let credential = CheckCredential(tokenFile: path, showsCertificate: false)
            let interview = Interview(
                .http(HealthPolicy.Request()), credential: credential
            ).begin().answer(respond(401))

            #expect(interview.outcome == failed("status 401, \(trouble)"))
            #expect(!interview.words.contains("Authorization"))
        }
        let credential = CheckCredential(tokenFile: files[0].0, showsCertificate: false)
        #expect(
            asked(.http(HealthPolicy.Request()), credential: credential, respond(500))
                == failed("status 500"))
    }

    @Test("a credential prints as one word")
    func unspoken() throws {
        let credential = try credential("secret-token")

        #expect("\(credential)" == "credential")
        #expect(String(reflecting: credential) == "credential")
        #expect("\(Optional(credential) as Any)".contains("secret") == false)
    }
}
